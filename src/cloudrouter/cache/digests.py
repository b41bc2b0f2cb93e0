"""Whether a download is what it should be: digests from its own URL, or from metadata that is kept."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import io
import json
import zlib
from typing import Any

from cloudrouter.cache.policy import Wanted, crate_version
from cloudrouter.wire.packages import NPM

METADATA_LIMIT = 64 * 1024 * 1024
"""The largest metadata, unpacked, that is looked into: anybody may publish some, and it is held in memory."""
_AROUND = 16 * 1024
"""Bytes of a packument before and behind a tarball's name in which its description lies."""
_ALGORITHMS = ("sha512", "sha384", "sha256", "sha1")
"""Strongest first, as npm's integrity names them."""


class Mismatch(Exception):
    """The content is not what its digest promised."""


class Expected:
    """The digests that one content must have, fed piece by piece; nothing expected is nothing refused."""

    def __init__(self) -> None:
        self._wanted: list[tuple[Any, bytes]] = []

    @classmethod
    def of_url(cls, wanted: Wanted) -> Expected:
        """What the URL itself tells."""
        made = cls()
        if wanted.blake2b_256:
            made.add(hashlib.blake2b(digest_size=32), bytes.fromhex(wanted.blake2b_256))
        return made

    def add(self, running: Any, digest: bytes) -> None:
        """One more digest that has to come out; before the first byte."""
        self._wanted.append((running, digest))

    def update(self, data: bytes) -> None:
        """The next bytes of the content."""
        for running, _digest in self._wanted:
            running.update(data)

    def check(self) -> None:
        """At the end: raises Mismatch."""
        for running, digest in self._wanted:
            if running.digest() != digest:
                raise Mismatch(running.name)


def add_described(expected: Expected, wanted: Wanted, metadata: bytes, *, packed: bool) -> None:
    """Expect what the metadata says of this artifact; metadata that cannot be read says nothing."""
    try:
        text = _unpack(metadata) if packed else metadata[: METADATA_LIMIT + 1]
        if len(text) > METADATA_LIMIT:
            return
        found = _npm_integrity(text, wanted.path) if wanted.host == NPM else _crate_checksum(text, wanted.path)
    except (ValueError, TypeError, AttributeError, KeyError, OSError, EOFError, zlib.error, binascii.Error):
        return
    if found is not None:
        name, digest = found
        expected.add(hashlib.new(name, usedforsecurity=False), digest)


def _unpack(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(METADATA_LIMIT + 1)


def _npm_integrity(text: bytes, path: str) -> tuple[str, bytes] | None:
    """The strongest digest that a packument tells of the tarball with this path."""
    needle = path.encode() + b'"'
    at = text.find(needle)
    while at >= 0:
        dist = _object_around(text, at)
        if dist is not None and str(dist["tarball"]).endswith(path):
            return _strongest(dist)
        at = text.find(needle, at + 1)
    return None


def _object_around(text: bytes, at: int) -> dict[str, Any] | None:
    """The object with a `tarball` around a place. Packuments have megabytes, and all of one is never needed."""
    decoder = json.JSONDecoder()
    start = at
    for _ in range(32):
        start = text.rfind(b"{", max(0, at - _AROUND), start)
        if start < 0:
            return None
        try:
            found, _end = decoder.raw_decode(text[start : at + _AROUND].decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        if "tarball" in found:
            return dict(found)
    return None


def _strongest(dist: dict[str, Any]) -> tuple[str, bytes] | None:
    given = dict(word.split("-", 1) for word in str(dist.get("integrity") or "").split() if "-" in word)
    for name in _ALGORITHMS:
        if name in given:
            return name, base64.b64decode(given[name].partition("?")[0], validate=True)
    return ("sha1", bytes.fromhex(dist["shasum"])) if dist.get("shasum") else None


def _crate_checksum(text: bytes, path: str) -> tuple[str, bytes] | None:
    """The checksum that the sparse index tells of a crate's version."""
    version = crate_version(path)
    for line in text.splitlines():
        if line.strip():
            entry = json.loads(line)
            if entry["vers"] == version:
                return "sha256", bytes.fromhex(entry["cksum"])
    return None
