"""A job's log as it lies on disk: read from any place on, in large pieces, while its holder may still write it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cloudrouter.guest import holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Optional

GONE = holder.POSITION
"""Kind of an entry that stands where output is gone; its data is the number of bytes."""
_PIECE = 1024 * 1024


@dataclass(frozen=True)
class Place:
    """Where a reader may begin: at a record of a segment."""

    segment: int
    offset: int
    position: int
    """Bytes of output before this place."""
    lines: int = 0
    """Lines of output: those before this place while counting, those to be left out behind it in an answer."""


class LogReader:
    """Reads entries as (kind, time in ms, data, position behind it), from its oldest byte or a place on."""

    def __init__(self, folder: str, place: Optional[Place] = None) -> None:
        self._folder = folder
        self._number = place.segment - 1 if place else 0
        self._offset = place.offset if place else 0
        self._fd = -1
        self._rest = b""
        self._position = place.position if place else 0

    def read(self) -> list[tuple[int, int, bytes, int]]:
        """The next entries; none where the log ends at present."""
        while True:
            # Looked up before reading: the writer adds nothing to a segment once the next one is there.
            data = os.read(self._fd, _PIECE) if self._fd >= 0 else b""
            if not data:
                following = self._next_number()
                data = os.read(self._fd, _PIECE) if self._fd >= 0 and following is not None else b""
                if not data:
                    if following is None or not self._open(following):
                        return []
                    continue
            found = list(self._entries(self._rest + data if self._rest else data))
            if found:
                return found

    def close(self) -> None:
        """Let go of the log."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _next_number(self) -> Optional[int]:
        return min((number for number in segment_numbers(self._folder) if number > self._number), default=None)

    def _open(self, number: int) -> bool:
        try:
            fd = os.open(_segment(self._folder, number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return True  # dropped meanwhile: look again for the next one
        self.close()
        if self._offset and number == self._number + 1:
            os.lseek(fd, self._offset, os.SEEK_SET)
        self._offset = 0
        self._fd, self._number, self._rest = fd, number, b""
        return True

    def _entries(self, data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
        """The whole records of what was read; the beginning of another one waits for its rest."""
        end = 0
        for kind, time_ms, start, end in _records(data):
            content = data[start:end]
            if kind == holder.POSITION:
                told = int.from_bytes(content, "big")
                gone, self._position = told - self._position, told
                if gone > 0:
                    yield GONE, time_ms, b"%d" % gone, told
            else:
                self._position += end - start
                yield kind, time_ms, content, self._position
        self._rest = data[end:]


def _records(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(kind, time, start, end of its data) of each whole record."""
    at, size = 0, len(data)
    while size - at >= holder.HEADER:
        start = at + holder.HEADER
        end = start + int.from_bytes(data[at + 9 : start], "big")
        if end > size:
            return
        yield data[at], int.from_bytes(data[at + 1 : at + 9], "big"), start, end
        at = end


def segment_numbers(folder: str) -> list[int]:
    """The numbers of the log's files, in order."""
    prefix = holder.SEGMENT
    names = (name[len(prefix) :] for name in os.listdir(folder) if name.startswith(prefix))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def find_position(folder: str, position: int) -> Optional[Place]:
    """A place well before the byte at a position, so that the beginning of its line is read, too; None: the oldest."""
    return _nth_last([start for start in _starts(folder) if start[1] <= position], 2)


def find_time(folder: str, time_ms: int) -> Optional[Place]:
    """A place before everything that was written from a time on; None: the oldest."""
    return _nth_last([start for start in _starts(folder) if start[2] < time_ms], 1)


def find_tail(folder: str, wanted: int) -> Optional[Place]:
    """A place near the last lines, with the lines to be left out from there on; None when there are not so many.

    Files are looked at from the newest on, each once, and nothing before them is read at all. An unfinished last
    line counts.
    """
    behind, last = 0, b""
    for number, position, _time in reversed(_starts(folder)):
        places, lines, its_last = _count(folder, number, position)
        if not last:
            last = its_last
            lines += its_last not in (b"", b"\n")
        behind += lines
        if behind > wanted:  # else the first wanted line may begin in the file before this one
            spare = behind - wanted
            place = [one for one in places if one.lines < spare][-1]
            return Place(number, place.offset, place.position, spare - place.lines)
    return None


def _starts(folder: str) -> list[tuple[int, int, int]]:
    """(number, position, time) of the beginning of each file that tells it, in order."""
    found = []
    for number in segment_numbers(folder):
        try:
            fd = os.open(_segment(folder, number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # dropped meanwhile
        try:
            head = os.read(fd, holder.HEADER + 8)
        finally:
            os.close(fd)
        for kind, time_ms, start, end in _records(head):
            if kind == holder.POSITION:
                found.append((number, int.from_bytes(head[start:end], "big"), time_ms))
    return found


def _nth_last(starts: list[tuple[int, int, int]], count: int) -> Optional[Place]:
    return Place(starts[-count][0], 0, starts[-count][1]) if len(starts) >= count else None


def _count(folder: str, number: int, position: int) -> tuple[list[Place], int, bytes]:
    """Places in one file with the lines before each; its lines; its last byte of output, if it has any."""
    places, lines, offset, last, rest = [Place(number, 0, position)], 0, 0, b"", b""
    try:
        fd = os.open(_segment(folder, number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return places, 0, b""
    try:
        while data := os.read(fd, _PIECE):
            data, consumed = rest + data, 0
            for kind, _time, start, end in _records(data):
                consumed = end
                if kind == holder.POSITION:
                    position = int.from_bytes(data[start:end], "big")
                    continue
                position += end - start
                lines += data.count(b"\n", start, end)
                last = data[end - 1 : end] if end > start else last
            rest, offset = data[consumed:], offset + consumed
            places.append(Place(number, offset, position, lines))
    finally:
        os.close(fd)
    return places, lines, last


def _segment(folder: str, number: int) -> str:
    return f"{folder}/{holder.SEGMENT}{number}"
