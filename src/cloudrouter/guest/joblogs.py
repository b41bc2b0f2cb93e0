"""What a job wrote: read from its segments, the last lines of it, and on until it ends."""

from __future__ import annotations

import asyncio
import os

from cloudrouter.guest import holder, jobs
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.streams import CHUNK, STDERR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Optional

    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream

_LOOK_S = 0.1


class LogReader:
    """Reads a log that may still be written, from its oldest byte on."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._number = 0
        self._fd = -1
        self._rest = bytearray()
        self._position = 0

    def read(self) -> list[tuple[int, bytes]]:
        """The next few records as (stream, data); nothing where the log ends at present.

        (POSITION, digits) stands where so many bytes are gone.
        """
        while True:
            # Looked up before reading: the writer adds nothing to a segment once the next one is there.
            following = self._next_number()
            if self._fd >= 0:
                data = os.read(self._fd, CHUNK)
                if data:
                    self._rest += data
                    found = list(self._records())
                    if found:
                        return found
                    continue
            if following is None or not self._open(following):
                return []

    def close(self) -> None:
        """Let go of the log."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _next_number(self) -> Optional[int]:
        prefix = holder.SEGMENT
        names = (name[len(prefix) :] for name in os.listdir(self._folder) if name.startswith(prefix))
        return min((int(name) for name in names if name.isdigit() and int(name) > self._number), default=None)

    def _open(self, number: int) -> bool:
        try:
            fd = os.open(f"{self._folder}/{holder.SEGMENT}{number}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return True  # dropped meanwhile: look again for the next one
        self.close()
        self._fd, self._number = fd, number
        self._rest.clear()
        return True

    def _records(self) -> Iterator[tuple[int, bytes]]:
        """The whole records among what was read."""
        at, rest = 0, self._rest
        while len(rest) - at >= holder.HEADER:
            size = int.from_bytes(rest[at + 9 : at + 13], "big")
            end = at + holder.HEADER + size
            if end > len(rest):
                break
            stream, data = rest[at], bytes(rest[at + holder.HEADER : end])
            at = end
            if stream == holder.POSITION:
                position = int.from_bytes(data, "big")
                if position > self._position:
                    yield holder.POSITION, b"%d" % (position - self._position)
                self._position = position
            else:
                self._position += size
                yield stream, data
        del rest[:at]


class _Tail:
    """Leaves out all but the last lines of what is there at the start."""

    def __init__(self, skip: int) -> None:
        self._skip = skip

    def cut(self, stream: int, data: bytes) -> bytes:
        """The part of a record that is to be shown."""
        if not self._skip:
            return data
        if stream == holder.POSITION:
            return b""
        count = data.count(b"\n")
        if count < self._skip:
            self._skip -= count
            return b""
        at = 0
        while self._skip:
            at = data.index(b"\n", at) + 1
            self._skip -= 1
        return data[at:]


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `job.logs`."""
    follow, tail = request.get("follow", False), request.get("tail")
    if not isinstance(follow, bool):
        raise UsageError("follow must be true or false.")
    if tail is not None and (type(tail) is not int or tail < 0):
        raise UsageError("tail must be a number of lines.")
    root = jobs.jobs_folder(guest.settings.state)
    job = jobs.find_job(root, request.get("job"))
    enough = asyncio.Event()
    stream.on_signal = lambda _name: enough.set()
    await stream.send("started", {"job": job.id})
    folder = f"{root}/{job.id}"
    skip = _Tail(0 if tail is None else max(0, await _count_lines(folder) - tail))
    reader = LogReader(folder)
    try:
        while True:
            job = jobs.read_job(root, job.id) or job  # before reading: then an ended job's log is read whole
            await _send_all(stream, reader, skip)
            if job.state != jobs.RUNNING or not follow or enough.is_set():
                break
            await asyncio.sleep(_LOOK_S)
    finally:
        reader.close()
    await stream.finish("end", {"job": job.id, "state": job.state, "code": job.code, "signal": job.signal})


async def _send_all(stream: Stream, reader: LogReader, skip: _Tail) -> None:
    """Send all that is there at present, neighbours of one channel in one message."""
    while records := reader.read():
        channel, parts = 0, bytearray()
        for kind, raw in records:
            data = skip.cut(kind, raw)
            if kind == holder.POSITION and data:
                kind, data = STDERR, b"\ncloudrouter: %b bytes of older output are gone here\n" % data
            if kind != channel and parts:
                await stream.send_data(channel, bytes(parts))
                parts.clear()
            channel = kind
            parts += data
        if parts:
            await stream.send_data(channel, bytes(parts))


async def _count_lines(folder: str) -> int:
    """Lines that are there at present; an unfinished last one counts."""
    reader, lines, last = LogReader(folder), 0, b"\n"
    try:
        while records := reader.read():
            for kind, data in records:
                if kind != holder.POSITION:
                    lines += data.count(b"\n")
                    last = data[-1:] or last
            await asyncio.sleep(0)
    finally:
        reader.close()
    return lines + (last != b"\n")
