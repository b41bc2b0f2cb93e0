"""The engine's way of putting stdout and stderr on one stream: eight bytes of header before each piece."""

from __future__ import annotations

import struct

STDOUT = 1
HEADER = struct.Struct(">BxxxL")


def join_output(data: bytes) -> bytes:
    """Both streams in the order in which they were written; a piece that was cut off at the end is left out."""
    pieces, at = [], 0
    while at + HEADER.size <= len(data):
        _number, length = HEADER.unpack_from(data, at)
        at += HEADER.size
        pieces.append(data[at : at + length])
        at += length
    return b"".join(pieces)


def split_output(data: bytes) -> tuple[bytes, bytes]:
    """stdout and stderr of a finished program's log; a piece that was cut off at the end is left out."""
    streams = {1: b"", 2: b""}
    at = 0
    while at + HEADER.size <= len(data):
        number, length = HEADER.unpack_from(data, at)
        at += HEADER.size
        streams[number] = streams.get(number, b"") + data[at : at + length]
        at += length
    return streams[1], streams[2]
