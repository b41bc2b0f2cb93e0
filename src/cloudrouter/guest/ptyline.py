"""What the guest and the holder of a terminal say to each other: frames of one kind byte, a length, and data."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

HELLO, TYPED, END, SIZE, SIGNAL = b"H", b"T", b"E", b"S", b"G"
"""To the holder. HELLO begins and tells (columns, rows, kind): NEW, JOINS, LOOKS or TOLD; the last two only ask."""
INFO, SHOWN, EXIT = b"I", b"O", b"X"
"""From the holder: INFO answers HELLO. After EXIT nothing comes."""
NEW, JOINS, LOOKS, TOLD = 0, 1, 2, 3
PIECE = 64 * 1024
"""The most data of one frame."""
_HEADER = 5


def frame(kind: bytes, data: bytes = b"") -> bytes:
    """One frame."""
    return kind + len(data).to_bytes(4, "big") + data


class Frames:
    """Puts frames together from what comes in pieces; ValueError for one that nobody would send."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._buffer += data

    def next(self) -> Optional[tuple[bytes, bytes]]:
        """(kind, data) of the next whole frame; None until there is one."""
        if len(self._buffer) < _HEADER:
            return None
        size = int.from_bytes(self._buffer[1:_HEADER], "big")
        if size > PIECE:
            raise ValueError(size)
        if len(self._buffer) < _HEADER + size:
            return None
        kind, data = bytes(self._buffer[:1]), bytes(self._buffer[_HEADER : _HEADER + size])
        del self._buffer[: _HEADER + size]
        return kind, data
