"""The router's SSH authority on its disk: one Ed25519 key, made when first needed, and what it signs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloudrouter.auth import sshcerts
from cloudrouter.server.ssh.keyfile import key_fault, key_path
from cloudrouter.wire.errors import NotConfigured
from cloudrouter.wire.ssh import CERTIFICATE_S


@dataclass(frozen=True)
class Held:
    """The key as it is used now."""

    key: Ed25519PrivateKey
    public_key: str
    fingerprint: str
    created_at: float
    """Seconds since the epoch, by the key's file."""


class Authority:
    """Signs; its key is read once and never told."""

    def __init__(self, folder: str, clock: Callable[[], float]) -> None:
        self.path = key_path(folder)
        self._folder = folder
        self._clock = clock
        self._held: Held | None = None

    def held(self) -> Held:
        """The key; made when there is none. NotConfigured when its file is not one of ours."""
        if self._held is None:
            self._held = self._load() or self._make()
        return self._held

    def rotate(self) -> Held:
        """Another key in place of the one there is: what that has signed is worth nothing from now on."""
        self._held = self._make()
        return self._held

    def certify_host(self, public_key: str, names: Sequence[str]) -> str:
        """A certificate for a machine's host key; UsageError when that is no key."""
        key, now = sshcerts.read_public_key(public_key), self._clock()
        return sshcerts.sign_host(self.held().key, key, names, serial=_serial(), now=now, life_s=CERTIFICATE_S)

    def certify_user(self, public_key: str, machine_id: str, owner: str) -> tuple[str, float]:
        """(a certificate for a person's key, until when it is good); UsageError when that is no key."""
        key, now = sshcerts.read_public_key(public_key), self._clock()
        line = sshcerts.sign_user(
            *(self.held().key, key, machine_id), owner=owner, serial=_serial(), now=now, life_s=CERTIFICATE_S
        )
        return line, float(int(now + CERTIFICATE_S))

    def _load(self) -> Held | None:
        try:
            with open(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                found, content = os.fstat(file.fileno()), file.read(16384)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._broken((error.strerror or "unknown error").lower()) from None
        fault = key_fault(found)
        if fault:
            raise self._broken(fault)
        try:
            key = serialization.load_ssh_private_key(content, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise self._broken("it holds no Ed25519 key")
        return _hold(key, found.st_mtime)

    def _make(self) -> Held:
        key = Ed25519PrivateKey.generate()
        content = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        part = f"{self.path}.{secrets.token_hex(4)}"
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(content)
                os.fsync(file.fileno())
                made_at = os.fstat(file.fileno()).st_mtime
            os.replace(part, self.path)
        except OSError as error:
            raise self._broken((error.strerror or "unknown error").lower()) from None
        return _hold(key, made_at)

    def _broken(self, why: str) -> NotConfigured:
        return NotConfigured(
            f"The SSH authority's key {self.path} cannot be used: {why}.",
            fix="Correct that, or have another key made: what the old one signed is then refused.",
            next="cloudrouter ssh-ca rotate",
        )


def _hold(key: Ed25519PrivateKey, created_at: float) -> Held:
    public = key.public_key()
    return Held(key, sshcerts.write_public_key(public), sshcerts.fingerprint(public), created_at)


def _serial() -> int:
    return secrets.randbits(63)
