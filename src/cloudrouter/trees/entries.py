"""A hostile tar stream as a sequence of entries: long names and pax records resolved, lengths bounded."""

from __future__ import annotations

from cloudrouter.trees import headers
from cloudrouter.trees.headers import BLOCK
from cloudrouter.wire.errors import TransferFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from cloudrouter.trees.reader import Source

_MAX_EXTENSION = 1 << 20
_MAX_EXTENSIONS_IN_A_ROW = 16
_MAX_SECONDS = 1 << 40
_ZEROS = bytes(BLOCK)


class Entry:
    """One thing in the stream; `size` bytes of data wait in the Entries it came from."""

    __slots__ = ("fault", "kind", "link", "mode", "mtime_ns", "name", "size")

    def __init__(self, header: headers.Header) -> None:
        self.name = header.name
        self.kind = header.kind
        self.mode = header.mode & 0o777
        self.size = header.size
        self.mtime_ns = _bounded(header.mtime) * 10**9
        self.link = header.link
        self.fault = ""
        """Why this reader cannot understand the entry; empty when it can."""


class Entries:
    """Reads entry after entry; data that was not taken is passed over. Anything malformed is TransferFailed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0
        self._padding = 0

    def next(self) -> Optional[Entry]:
        """The next entry, or None at the end mark."""
        self._source.skip(self._left + self._padding)
        self._left = self._padding = 0
        extra: dict[str, bytes] = {}
        for _ in range(_MAX_EXTENSIONS_IN_A_ROW):
            header = self._header()
            if header is None:
                return None
            if header.kind == headers.LONG_NAME:
                extra["path"] = self._extension(header).partition(b"\0")[0]
            elif header.kind == headers.LONG_LINK:
                extra["linkpath"] = self._extension(header).partition(b"\0")[0]
            elif header.kind == headers.PAX:
                extra.update(_pax(self._extension(header)))
            elif header.kind == headers.PAX_GLOBAL:
                _pax(self._extension(header))  # checked only: nothing that holds for all files matters here
            else:
                return self._entry(header, extra)
        raise _damaged("too many extension headers follow each other")

    def data(self) -> bytes:
        """The next piece of the current entry's data; b"" when all of it has been read."""
        if not self._left:
            return b""
        piece = self._source.some(self._left)
        self._left -= len(piece)
        return piece

    def _header(self) -> Optional[headers.Header]:
        block = self._source.take(BLOCK)
        if block == _ZEROS:
            if not self._source.at_end() and self._source.take(BLOCK) != _ZEROS:
                raise _damaged("data follows its end mark")
            return None
        try:
            return headers.decode(block)
        except headers.BadHeader as error:
            raise _damaged(str(error)) from None

    def _extension(self, header: headers.Header) -> bytes:
        if header.size > _MAX_EXTENSION:
            raise _damaged(f"an extension header of {header.size} bytes")
        body = self._source.take(header.size)
        self._source.skip(-header.size % BLOCK)
        return body

    def _entry(self, header: headers.Header, extra: dict[str, bytes]) -> Entry:
        entry = Entry(header)
        entry.name = extra.get("path", entry.name)
        entry.link = extra.get("linkpath", entry.link)
        if "size" in extra and header.kind == headers.FILE:
            entry.size = _whole(extra["size"])
        if "mtime" in extra:
            entry.mtime_ns = _nanoseconds(extra["mtime"], entry.mtime_ns)
        if header.kind == headers.SPARSE:
            entry.fault = "it is a sparse file in a form that is not known here"
            more = header.goes_on
            while more:
                more = bool(self._source.take(BLOCK)[504])
        if any(key.startswith("GNU.sparse") for key in extra):
            entry.fault = "it is a sparse file in a form that is not known here"
        self._left, self._padding = entry.size, -entry.size % BLOCK
        return entry


def _pax(body: bytes) -> dict[str, bytes]:
    """The records `LENGTH KEY=VALUE\\n` of a pax header."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(body):
        space = body.find(b" ", at, at + 21)
        digits = body[at:space] if space > 0 else b""
        if not digits.isdigit():
            raise _damaged("a pax record has no length")
        end = at + int(digits)
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if end > len(body) or end <= space + 1 or body[end - 1 : end] != b"\n" or not equals:
            raise _damaged("a pax record has a wrong length")
        records[key.decode("utf-8", "replace")] = value
        at = end
    return records


def _whole(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise _damaged("a pax size is not a number")
    return int(text)


def _nanoseconds(text: bytes, otherwise: int) -> int:
    """`1700000000.25` without the rounding of a float; what is no number leaves the header's time."""
    negative = text.startswith(b"-")
    seconds, _, fraction = text[negative:].partition(b".")
    if not seconds.isdigit() or len(seconds) > 20 or (fraction and not fraction.isdigit()):
        return otherwise
    value = int(seconds) * 10**9 + int((fraction + b"000000000")[:9])
    limit = _MAX_SECONDS * 10**9
    return max(-limit, min(limit, -value if negative else value))


def _bounded(seconds: int) -> int:
    return max(-_MAX_SECONDS, min(_MAX_SECONDS, seconds))


def _damaged(what: str) -> TransferFailed:
    return TransferFailed(f"The stream of files is damaged: {what}.")
