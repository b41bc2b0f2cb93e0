"""The authority: worth nothing beyond five names, kept private, made again when it is broken."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cloudrouter.cache import authority
from cloudrouter.cache.authority import Authority, Certificates, load_or_make, name_hash
from cloudrouter.wire.packages import HOSTS


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, bytes]:
    """A handshake in memory: the server's side, and the certificate; raises what the client says of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return other, one.getpeercert(binary_form=True) or b""


def issue(made: Authority, name: str) -> ssl.SSLContext:
    """A server whose certificate this authority signed for some name, as a thief of its key would."""
    key = ec.generate_private_key(ec.SECP256R1())
    moment = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = (
        authority._builder(subject, made.certificate.subject, key, moment, 1)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(made.key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority._load_chain(context, pem)
    return context


def test_a_stolen_key_when_used_for_another_name_then_is_not_believed(tmp_path: Path) -> None:
    made = load_or_make(str(tmp_path), time.time)
    client = ssl.create_default_context(cadata=made.pem)
    shake(issue(made, HOSTS[0]), client, HOSTS[0])
    for name in ("github.com", "evil.org", "npmjs.org", f"x{HOSTS[1]}"):
        with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
            shake(issue(made, name), client, name)


def test_each_of_the_five_names_when_asked_for_then_is_certified_and_known(tmp_path: Path) -> None:
    made = load_or_make(str(tmp_path), time.time)
    certificates = Certificates(made, time.time)
    client = ssl.create_default_context(cadata=made.pem)
    client.set_alpn_protocols(["h2", "http/1.1"])
    for host in HOSTS:
        connection, _ = shake(certificates.door, client, host)
        assert certificates.host_of(connection.context) == host
        assert connection.selected_alpn_protocol() == "http/1.1"
    assert certificates.host_of(certificates.door) == ""


def test_certificates_when_half_their_life_is_over_then_are_new_and_the_authority_stays(tmp_path: Path) -> None:
    now = time.time()
    made = load_or_make(str(tmp_path), lambda: now)
    certificates = Certificates(made, lambda: now)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE  # the future is not valid yet
    _, before = shake(certificates.door, client, HOSTS[0])
    certificates.renew()
    assert shake(certificates.door, client, HOSTS[0])[1] == before
    now += authority.LEAF_DAYS * 43200 + 1
    certificates.renew()
    _, after = shake(certificates.door, client, HOSTS[0])
    assert after != before
    ends = x509.load_der_x509_certificate(after).not_valid_after_utc.timestamp()
    assert ends == pytest.approx(now + authority.LEAF_DAYS * 86400, abs=2)
    assert load_or_make(str(tmp_path), lambda: now).pem == made.pem


def test_the_authority_when_made_then_is_found_again_and_its_key_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = load_or_make(str(tmp_path), time.time)
    finally:
        os.umask(before)
    assert load_or_make(str(tmp_path), time.time).pem == made.pem
    for name in (authority.KEY_FILE, authority.PUBLIC_FILE):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in (tmp_path / authority.PUBLIC_FILE).read_text()
    assert (
        sorted(os.listdir(tmp_path)) == [authority.PUBLIC_FILE, authority.KEY_FILE][::-1]
        or len(os.listdir(tmp_path)) == 2
    )


@pytest.mark.parametrize("spoiled", [authority.KEY_FILE, authority.PUBLIC_FILE])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"pem": 1, "name_hash": 2}'])
def test_the_authority_when_a_part_is_broken_then_both_are_made_anew(
    tmp_path: Path, spoiled: str, content: bytes | None
) -> None:
    made = load_or_make(str(tmp_path), time.time)
    if content is None:
        (tmp_path / spoiled).unlink()
    else:
        (tmp_path / spoiled).write_bytes(content)
    again = load_or_make(str(tmp_path), time.time)
    assert again.pem != made.pem
    assert load_or_make(str(tmp_path), time.time).pem == again.pem


def test_the_authority_when_key_and_certificate_are_of_two_then_is_made_anew(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        load_or_make(str(tmp_path / name), time.time)
    other = (tmp_path / "b" / authority.KEY_FILE).read_bytes()
    old = (tmp_path / "a" / authority.PUBLIC_FILE).read_text()
    (tmp_path / "a" / authority.KEY_FILE).write_bytes(other)
    load_or_make(str(tmp_path / "a"), time.time)
    assert (tmp_path / "a" / authority.PUBLIC_FILE).read_text() != old


def test_the_authority_when_its_last_year_has_begun_then_is_made_anew(tmp_path: Path) -> None:
    made = load_or_make(str(tmp_path), time.time)
    later = time.time() + (authority.AUTHORITY_DAYS - authority.AUTHORITY_LEAST_DAYS + 1) * 86400
    assert load_or_make(str(tmp_path), lambda: later).pem != made.pem


def test_the_public_part_when_an_older_process_wrote_it_then_tells_when_it_is_replaced(tmp_path: Path) -> None:
    made = load_or_make(str(tmp_path), time.time)
    public = tmp_path / authority.PUBLIC_FILE
    told = json.loads(public.read_text())
    days = authority.AUTHORITY_DAYS - authority.AUTHORITY_LEAST_DAYS
    assert told["replace_at"] == pytest.approx(time.time() + days * 86400, abs=86400)
    public.write_text(json.dumps({name: told[name] for name in ("pem", "name_hash")}))
    assert load_or_make(str(tmp_path), time.time).pem == made.pem
    assert json.loads(public.read_text()) == told
    assert load_or_make(str(tmp_path), lambda: told["replace_at"] - 1).pem == made.pem
    assert load_or_make(str(tmp_path), lambda: told["replace_at"] + 1).pem != made.pem


def test_the_hash_of_a_name_when_openssl_counts_it_then_is_the_same(tmp_path: Path) -> None:
    made = load_or_make(str(tmp_path), time.time)
    path = tmp_path / "ca.pem"
    path.write_text(made.pem)
    words = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(path)]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip() == made.name_hash
    assert name_hash("A  b") == name_hash("a b")
