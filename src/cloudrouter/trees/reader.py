"""Adapters between pieces of bytes as they arrive and reads of a wanted length."""

from __future__ import annotations

from cloudrouter.wire.errors import TransferFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 256 * 1024


class Reader:
    """`read(n)` over an iterator of chunks: between 1 and n bytes, and b"" only at the end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""
        self._at = 0

    def read(self, n: int) -> bytes:
        """The next bytes, as many as are there without asking for another chunk, at most n."""
        while self._at >= len(self._rest):
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest, self._at = chunk, 0
        start = self._at
        self._at = min(len(self._rest), start + n)
        return self._rest[start : self._at]


class Source:
    """A stream of bytes behind a `read`, taken in exact lengths; its early end is TransferFailed."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._rest = b""
        self._at = 0

    def take(self, n: int) -> bytes:
        """Exactly n bytes; n is small enough to be held in memory."""
        end = self._at + n
        if end <= len(self._rest):
            piece = self._rest[self._at : end]
            self._at = end
            return piece
        parts, left = [], n
        while left:
            part = self.some(left)
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def some(self, limit: int) -> bytes:
        """Between 1 and limit bytes, and no more than PIECE."""
        if self._at >= len(self._rest):
            self._rest, self._at = self._read(PIECE), 0
            if not self._rest:
                raise TransferFailed("The stream of files ended before its end mark.")
        start = self._at
        self._at = min(len(self._rest), start + limit)
        return self._rest[start : self._at]

    def skip(self, n: int) -> None:
        """Let n bytes pass."""
        while n:
            n -= len(self.some(n))

    def at_end(self) -> bool:
        """Whether nothing more comes; waits for the next byte or the end."""
        if self._at >= len(self._rest):
            self._rest, self._at = self._read(PIECE), 0
        return not self._rest
