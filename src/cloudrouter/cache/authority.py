"""The router's own certificate authority for the five registries, and the certificates that it signs for them.

Machines trust it, so it is bound: by name constraints to these five names, by its folder to this router.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloudrouter.cache.log import log
from cloudrouter.wire.packages import HOSTS

AUTHORITY_DAYS = 3650
AUTHORITY_LEAST_DAYS = 365
"""One that ends sooner is replaced when the process starts: machines may live long."""
LEAF_DAYS = 60
KEY_FILE = "authority.key"
PUBLIC_FILE = "authority.json"


@dataclass(frozen=True)
class Authority:
    """The authority's certificate and key; `name_hash` is the name under which OpenSSL looks for it in a folder."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    pem: str
    name_hash: str


def load_or_make(folder: str, now: Callable[[], float]) -> Authority:
    """The authority kept in a folder; made when there is none, when it is broken, or when it ends too soon."""
    moment = datetime.fromtimestamp(now(), UTC)
    try:
        found = _load(folder)
        if _replace_at(found) > moment:
            _tell(folder, found)
            return found
    except (OSError, ValueError, KeyError, TypeError):
        # None yet, or one that cannot be read: machines get the new one when they are next configured.
        pass
    made = _make(moment)
    _save(folder, made)
    return made


def _load(folder: str) -> Authority:
    with open(f"{folder}/{PUBLIC_FILE}", encoding="ascii") as file:
        public = json.load(file)
    if not isinstance(public, dict) or not all(isinstance(public.get(name), str) for name in ("pem", "name_hash")):
        raise ValueError("the public part is not one")
    with open(f"{folder}/{KEY_FILE}", "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    certificate = x509.load_pem_x509_certificate(public["pem"].encode())
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("key and certificate do not belong together")
    return Authority(certificate, key, public["pem"], public["name_hash"])


def _save(folder: str, made: Authority) -> None:
    key = made.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The public part is what others look for, so it comes last.
    _put(folder, KEY_FILE, key)
    _put(folder, PUBLIC_FILE, _public(made))


def _public(one: Authority) -> bytes:
    told = {"pem": one.pem, "name_hash": one.name_hash, "replace_at": _replace_at(one).timestamp()}
    return json.dumps(told).encode()


def _tell(folder: str, found: Authority) -> None:
    """Bring the public part up to date: one that was written before may tell less."""
    with open(f"{folder}/{PUBLIC_FILE}", "rb") as file:
        if file.read() == _public(found):
            return
    try:
        _put(folder, PUBLIC_FILE, _public(found))
    except OSError as error:
        log(f"the authority's public part cannot be written: {error.strerror}")


def _put(folder: str, name: str, content: bytes) -> None:
    part = f"{folder}/{name}.{secrets.token_hex(4)}"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    os.replace(part, f"{folder}/{name}")


def _replace_at(one: Authority) -> datetime:
    """From when on the process replaces it; the router reads that from the public part while the process begins."""
    return one.certificate.not_valid_after_utc - timedelta(days=AUTHORITY_LEAST_DAYS)


def _make(moment: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    common_name = f"CloudRouter package cache {secrets.token_hex(4)}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    names = [x509.DNSName(host) for host in HOSTS]
    certificate = (
        _builder(name, name, key, moment, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=names, excluded_subtrees=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return Authority(certificate, key, pem, name_hash(common_name))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, moment: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def name_hash(common_name: str) -> str:
    """What `openssl x509 -subject_hash` prints for a subject that is this common name alone."""
    text = " ".join(common_name.lower().split()).encode()
    oid = bytes.fromhex("0603550403")
    pair = oid + _der(0x0C, text)
    canonical = _der(0x31, _der(0x30, pair))
    return f"{int.from_bytes(hashlib.sha1(canonical, usedforsecurity=False).digest()[:4], 'little'):08x}"


def _der(tag: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes((tag, len(content))) + content


class Certificates:
    """TLS for each of the five names; `door` is the context that a connection begins with."""

    def __init__(self, authority: Authority, now: Callable[[], float]) -> None:
        self._authority = authority
        self._now = now
        self._hosts: dict[int, str] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._renew_at = 0.0
        self.renew()
        self.door = self._new_context()
        self.door.sni_callback = self._choose

    def renew(self) -> None:
        """Sign new certificates when half the life of the present ones is over."""
        if self._now() < self._renew_at:
            return
        moment = datetime.fromtimestamp(self._now(), UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ) + sign_leaf(self._authority, key, moment)
        if not self._contexts:
            self._contexts = {host: self._new_context() for host in HOSTS}
            self._hosts = {id(context): host for host, context in self._contexts.items()}
        for context in self._contexts.values():
            _load_chain(context, pem)
        self._renew_at = self._now() + LEAF_DAYS * 43200.0

    def host_of(self, context: object) -> str:
        """The name that a connection asked for; empty when it asked for none of ours."""
        return self._hosts.get(id(context), "")

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        context = self._contexts.get((name or "").lower())
        if context is None:
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        connection.context = context
        return None


def sign_leaf(authority: Authority, key: ec.EllipticCurvePrivateKey, moment: datetime) -> bytes:
    """A certificate for the five names, PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTS[0])])
    certificate = (
        _builder(subject, authority.certificate.subject, key, moment, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """The ssl module takes certificates from files alone; this one never touches a disk."""
    descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
