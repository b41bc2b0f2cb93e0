"""Whether a download is what it should be: digests from its own URL, or from metadata that is kept."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import itertools
import json
import re
import zlib
from typing import Any

from cloudrouter.cache.policy import Wanted, crate_version
from cloudrouter.wire.packages import NPM

METADATA_LIMIT = 64 * 1024 * 1024
"""The largest metadata, unpacked, that is looked into: anybody may publish some, and it is held in memory."""
_AROUND = 16 * 1024
"""Bytes of a packument before and behind a tarball's name in which its description lies."""
_PLACES = 16
"""So many places that may be the right one are looked at; the true metadata of a package has one or two."""
_BUDGET = 4 * 1024 * 1024
"""Bytes that are read as JSON for one file at most: whoever publishes a package writes what stands in its metadata."""
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

    def add_named(self, name: str, digest: bytes) -> None:
        """The same, with a hash by its name."""
        self.add(hashlib.new(name, usedforsecurity=False), digest)

    def update(self, data: bytes) -> None:
        """The next bytes of the content."""
        for running, _digest in self._wanted:
            running.update(data)

    def check(self) -> None:
        """At the end: raises Mismatch."""
        for running, digest in self._wanted:
            if running.digest() != digest:
                raise Mismatch(running.name)


class TooOdd(Exception):
    """Metadata that would take too long to understand."""


class _Reader:
    """Reads JSON out of a larger text, until its budget is spent: then it raises TooOdd."""

    def __init__(self) -> None:
        self._left = _BUDGET
        self._decoder = json.JSONDecoder()

    def read(self, text: bytes) -> Any:
        """The value that a text begins with."""
        if len(text) > self._left:
            raise TooOdd
        self._left -= len(text)
        return self._decoder.raw_decode(text.decode("utf-8", "replace"))[0]


def find_described(wanted: Wanted, metadata: bytes, *, packed: bool) -> tuple[str, bytes] | None:
    """Hash and digest that the metadata tells of this artifact; metadata that cannot be read, or is odd, tells none."""
    try:
        text = _unpack(metadata) if packed else metadata[: METADATA_LIMIT + 1]
        if len(text) > METADATA_LIMIT:
            return None
        return _npm_integrity(text, wanted.path) if wanted.host == NPM else _crate_checksum(text, wanted.path)
    except (TooOdd, RecursionError, ValueError, TypeError, AttributeError, KeyError, OSError, EOFError, zlib.error):
        return None


def _unpack(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(METADATA_LIMIT + 1)


def _npm_integrity(text: bytes, path: str) -> tuple[str, bytes] | None:
    """The strongest digest that a packument tells of the tarball with this path."""
    needle, reader, at = path.encode() + b'"', _Reader(), -1
    for _ in range(_PLACES):
        at = text.find(needle, at + 1)
        if at < 0:
            return None
        dist = _object_around(text, at, reader)
        if dist is not None and str(dist["tarball"]).endswith(path):
            return _strongest(dist)
    return None


def _object_around(text: bytes, at: int, reader: _Reader) -> dict[str, Any] | None:
    """The object with a `tarball` around a place. Packuments have megabytes, and all of one is never needed."""
    start = at
    for _ in range(32):
        start = text.rfind(b"{", max(0, at - _AROUND), start)
        if start < 0:
            return None
        try:
            found = reader.read(text[start : at + _AROUND])
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
    reader = _Reader()
    places = re.finditer(rb'"vers"\s*:\s*"' + re.escape(version.encode()) + b'"', text)
    for place in itertools.islice(places, _PLACES):
        end = text.find(b"\n", place.end())
        line = text[text.rfind(b"\n", 0, place.start()) + 1 : len(text) if end < 0 else end]
        entry = reader.read(line.lstrip())
        if entry["vers"] == version:
            return "sha256", bytes.fromhex(entry["cksum"])
    return None
