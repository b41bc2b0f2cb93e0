"""Certificates say exactly what they are for, as OpenSSH itself reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import SSHCertificate, SSHCertificateType
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.auth import sshcerts
from cloudrouter.wire.errors import UsageError

AUTHORITY = Ed25519PrivateKey.generate()
KEY = Ed25519PrivateKey.generate().public_key()
NOW = 1_800_000_000.5


def read(line: str) -> SSHCertificate:
    found = serialization.load_ssh_public_identity(line.encode())
    assert isinstance(found, SSHCertificate)
    found.verify_cert_signature()
    assert found.signature_key() == AUTHORITY.public_key()
    assert found.public_key() == KEY
    return found


def user(**changes: object) -> str:
    words = {"owner": "local", "serial": 7, "now": NOW, "life_s": 600.0, **changes}
    return sshcerts.sign_user(AUTHORITY, KEY, "cr_7k2m9xqd", **words)  # type: ignore[arg-type]


def test_a_user_certificate_is_for_one_machine_and_minutes_and_little_else() -> None:
    found = read(user())
    assert found.type is SSHCertificateType.USER
    assert found.valid_principals == [b"cr_7k2m9xqd"]
    assert (found.valid_after, found.valid_before) == (1_800_000_000 - 60, 1_800_000_600)
    assert found.extensions == {b"permit-port-forwarding": b"", b"permit-pty": b""}
    assert found.critical_options == {}
    assert (found.serial, found.key_id) == (7, b"local at cr_7k2m9xqd")


def test_a_host_certificate_is_for_the_names_that_it_is_given() -> None:
    names = ["cr_7k2m9xqd", "my-project.cr"]
    found = read(sshcerts.sign_host(AUTHORITY, KEY, names, serial=1, now=NOW, life_s=600.0))
    assert found.type is SSHCertificateType.HOST
    assert found.valid_principals == [b"cr_7k2m9xqd", b"my-project.cr"]
    assert found.valid_before == 1_800_000_600
    assert found.extensions == {}


@pytest.mark.parametrize("names", [[], [""], ["cr_7k2m9xqd", ""]])
def test_a_certificate_for_everything_is_never_signed(names: list[str]) -> None:
    with pytest.raises(UsageError, match="good for everything"):
        sshcerts.sign_host(AUTHORITY, KEY, names, serial=1, now=NOW, life_s=600.0)


def test_openssh_reads_what_is_signed(tmp_path: Path) -> None:
    (tmp_path / "cert.pub").write_text(user() + "\n")
    words = ["ssh-keygen", "-L", "-f", str(tmp_path / "cert.pub")]
    told = subprocess.run(words, capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"})
    assert "ssh-ed25519-cert-v01@openssh.com user certificate" in told.stdout
    assert f"Signing CA: ED25519 {sshcerts.fingerprint(AUTHORITY.public_key())} (using ssh-ed25519)" in told.stdout
    assert told.stdout.split("Principals:")[1].split("Critical")[0].split() == ["cr_7k2m9xqd"]
    assert told.stdout.split("Extensions:")[1].split() == ["permit-port-forwarding", "permit-pty"]


def test_a_public_key_survives_being_read() -> None:
    line = sshcerts.write_public_key(KEY)
    for text in (line, f"{line} a comment", f"  {line}\n"):
        assert sshcerts.read_public_key(text) == KEY


def other_kinds() -> list[str]:
    public = serialization.PublicFormat.OpenSSH
    keys = [
        rsa.generate_private_key(65537, 2048).public_key().public_bytes(serialization.Encoding.OpenSSH, public),
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(serialization.Encoding.OpenSSH, public),
    ]
    return [key.decode() for key in keys]


@pytest.mark.parametrize(
    "text",
    [
        "", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 !!!!", *other_kinds(), user(),
        sshcerts.write_public_key(KEY) + "\n" + sshcerts.write_public_key(KEY),
        sshcerts.write_public_key(KEY) + " \x1b[2J", sshcerts.write_public_key(KEY) + "x" * 1024,
        "command=\"sh\" " + sshcerts.write_public_key(KEY),
        "ssh-ed25519 " + other_kinds()[0].split()[1],
    ],
    ids=[
        "empty", "no key", "short", "not base64", "rsa", "ecdsa", "certificate", "two lines", "escape", "long",
        "options", "another kind inside",
    ],
)  # fmt: skip
def test_what_is_no_ed25519_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no Ed25519 public key"):
        sshcerts.read_public_key(text)


@given(st.text())
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with pytest.raises(UsageError):
        sshcerts.read_public_key("ssh-ed25519 " + text)
