"""SSH certificates: what the router's authority signs for machines and for people. Keys and times come from outside."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType

from cloudrouter.wire.errors import UsageError

KEY_LIMIT = 1024
SKEW_S = 60.0
"""Certificates begin so much before now: clocks differ."""
_KIND = "ssh-ed25519"
_EXTENSIONS = (b"permit-port-forwarding", b"permit-pty")
"""All that a user may; no agent, no X11 and no rc files."""


def read_public_key(text: str) -> Ed25519PublicKey:
    """An Ed25519 key from `ssh-ed25519 AAAA... comment`; UsageError for everything else."""
    text = text.strip()
    words = text.split()
    if len(text) <= KEY_LIMIT and text.isascii() and text.isprintable() and len(words) >= 2 and words[0] == _KIND:
        try:
            found = serialization.load_ssh_public_key(f"{words[0]} {words[1]}".encode())
        except (ValueError, UnsupportedAlgorithm):
            found = None
        if isinstance(found, Ed25519PublicKey):
            return found
    raise UsageError(
        "This is no Ed25519 public key in OpenSSH's form.", fix="It looks like: ssh-ed25519 AAAA... and is one line."
    )


def write_public_key(key: Ed25519PublicKey) -> str:
    """A key as one line in OpenSSH's form, without a comment."""
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def fingerprint(key: Ed25519PublicKey) -> str:
    """`SHA256:...`, as ssh-keygen shows it."""
    digest = hashlib.sha256(binascii.a2b_base64(write_public_key(key).split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def sign_host(
    authority: Ed25519PrivateKey, key: Ed25519PublicKey, names: Sequence[str], *, serial: int, now: float, life_s: float
) -> str:
    """The certificate of a machine's host key, for exactly these host names, as one line."""
    builder = _builder(key, names, key_id=f"host {''.join(names[:1])}", serial=serial, now=now, life_s=life_s)
    return _sign(authority, builder.type(SSHCertificateType.HOST))


def sign_user(
    authority: Ed25519PrivateKey,
    key: Ed25519PublicKey,
    machine_id: str,
    *,
    owner: str,
    serial: int,
    now: float,
    life_s: float,
) -> str:
    """The certificate of a person's key for one machine, as one line: its one principal is the machine's id."""
    key_id = f"{owner} at {machine_id}"
    builder = _builder(key, [machine_id], key_id=key_id, serial=serial, now=now, life_s=life_s)
    for name in _EXTENSIONS:
        builder = builder.add_extension(name, b"")
    return _sign(authority, builder.type(SSHCertificateType.USER))


def _builder(
    key: Ed25519PublicKey, principals: Sequence[str], *, key_id: str, serial: int, now: float, life_s: float
) -> SSHCertificateBuilder:
    if not principals or not all(principals):
        raise UsageError("A certificate without principals would be good for everything.")
    return (
        SSHCertificateBuilder()
        .public_key(key)
        .serial(serial)
        .key_id(key_id.encode())
        .valid_principals([name.encode() for name in principals])
        .valid_after(int(now - SKEW_S))
        .valid_before(int(now + life_s))
    )


def _sign(authority: Ed25519PrivateKey, builder: SSHCertificateBuilder) -> str:
    return builder.sign(authority).public_bytes().decode()
