"""A person's Dockerfile on its way to the engine: which images it begins with, before anything is built of it."""

from __future__ import annotations

import re
import tarfile
from collections.abc import AsyncIterator, Mapping

from cloudrouter.images import references
from cloudrouter.images.engine import Engine
from cloudrouter.wire.errors import InvalidSpec

TEXT_LIMIT = 1 << 20
"""Longer Dockerfiles are read so far."""
_BLOCK = tarfile.BLOCKSIZE
_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
"""Entries that only say more of the next one."""
_EMPTY = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_OUT_OF = re.compile(r"(?:COPY|ADD|RUN)\s.*?--(?:from=|mount=\S*?\bfrom=)([^\s,]+)", re.IGNORECASE)
_ARG = re.compile(r"ARG\s+(.*)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?([-+])([^}]*))?\})")


class Watched:
    """A folder's tar that passes through, while the Dockerfile in it is read; names of ours that are not there end it.

    Engines fetch by themselves what a Dockerfile names and they do not have, and would keep it under our own name.
    """

    def __init__(self, engine: Engine, tar: AsyncIterator[bytes], path: str, buildargs: Mapping[str, str]) -> None:
        self._engine = engine
        self._tar = tar
        self._buildargs = buildargs
        self._member = _Member(path)
        self.fault: InvalidSpec | None = None
        """Why it ended; the engine's client tells only that its input broke off."""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The tar as it comes; raises `fault`. An engine begins only with a whole tar, so nothing was built then."""
        async for piece in self._tar:
            for text in self._member.feed(piece):
                await self._check(text)
            yield piece

    async def _check(self, text: str) -> None:
        for name in images(text, self._buildargs):
            if references.is_own(name) and await self._engine.inspect_image(name) is None:
                self.fault = InvalidSpec(
                    f"The Dockerfile names {name[:100]}, which is not in the engine: images of that name are "
                    "built, and never fetched.",
                    fix=f"Build it first, or name the newest build: {references.OWN}core:latest.",
                    next="cloudrouter image build core",
                    field="build",
                )
                raise self.fault


def images(dockerfile: str, buildargs: Mapping[str, str]) -> list[str]:
    """The images that a Dockerfile takes from outside, in order; its own stages left out."""
    stages: set[str] = set()
    values: dict[str, str] = {}
    found = []
    for line in _instructions(dockerfile):
        if argument := _ARG.fullmatch(line):
            for word in argument[1].split():
                name, _, default = word.partition("=")
                values[name] = buildargs.get(name, _substitute(default.strip("\"'"), values))
        elif begins := _FROM.match(line):
            name = _substitute(begins[1].strip("\"'"), values)
            found += [] if name.lower() in stages else [name]
            if begins[2]:
                stages.add(begins[2].lower())
        elif out_of := _OUT_OF.match(line):
            name = _substitute(out_of[1].strip("\"'"), values)
            if name.lower() not in stages and not name.isdigit():
                found.append(name)
    return found


def _instructions(dockerfile: str) -> list[str]:
    """Instructions on one line each, without comments."""
    lines = [line.strip() for line in dockerfile.splitlines()]
    text = "\n".join(line for line in lines if line and not line.startswith("#"))
    return text.replace("\\\n", " ").split("\n")


def _substitute(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        known = values.get(match[1] or match[2], "")
        if match[3] == "+":
            return match[4] if known else ""
        return known or (match[4] or "")

    return _VARIABLE.sub(value, text)


class _Member:
    """Finds one file in a tar that comes in pieces; what is no tar is let through, for the engine to refuse."""

    def __init__(self, path: str) -> None:
        self._path = _plain(path)
        self._data = bytearray()
        self._name = ""
        """The next entry's name, where it stands in an entry of its own."""
        self._skip = 0
        self._ended = False

    def feed(self, piece: bytes) -> list[str]:
        """The next bytes; the texts of the files of that name that are whole now."""
        texts: list[str] = []
        if self._ended:
            return texts
        self._data += piece
        while self._step(texts):
            continue
        return texts

    def _step(self, texts: list[str]) -> bool:
        """One entry further; False when more bytes are needed."""
        passed = min(self._skip, len(self._data))
        del self._data[:passed]
        self._skip -= passed
        if self._ended or self._skip or len(self._data) < _BLOCK:
            return False
        if not any(self._data[:_BLOCK]):
            self._skip = _BLOCK  # an archive's end, behind which another may come
            return True
        try:
            entry = tarfile.TarInfo.frombuf(bytes(self._data[:_BLOCK]), "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            self._ended = True
            return False
        return self._take(entry, texts)

    def _take(self, entry: tarfile.TarInfo, texts: list[str]) -> bool:
        size = 0 if entry.type in _EMPTY else entry.size
        is_name = entry.type in _NAMES
        wanted = entry.isreg() and _plain(self._name or entry.name) == self._path
        if is_name or wanted:
            length = min(size, TEXT_LIMIT)
            if len(self._data) < _BLOCK + length:
                return False
            text = bytes(self._data[_BLOCK : _BLOCK + length])
            if wanted:
                texts.append(text.decode("utf-8", "replace"))
            else:
                self._name = _long_name(entry, text) or self._name
        if not is_name:
            self._name = ""
        self._skip = _BLOCK + -(-size // _BLOCK) * _BLOCK
        return True


def _long_name(entry: tarfile.TarInfo, data: bytes) -> str:
    if entry.type == tarfile.GNUTYPE_LONGLINK:
        return ""
    if entry.type == tarfile.GNUTYPE_LONGNAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    found = re.search(rb"(?:^|\n)\d+ path=([^\n]*)\n", data)
    return found[1].decode("utf-8", "surrogateescape") if found else ""


def _plain(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))
