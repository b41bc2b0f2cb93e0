"""What a job wrote: all of it, the last lines, or from a time or position on, and on until the job ends.

Before each piece of output the stream says which position of the log it leads to, so that one who lost the stream
can go on there: nothing comes twice, and what is gone is told with its size.
"""

from __future__ import annotations

import asyncio
import time

from cloudrouter.guest import jobs, logfile
from cloudrouter.guest.environment import rfc3339
from cloudrouter.guest.logfile import GONE, LogReader
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from cloudrouter.guest.jobs import Job
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream

_LOOK_SHORT_S, _LOOK_LONG_S = 0.01, 0.1
_STAMPED = 16 * 1024
"""Output is stamped in pieces of this size: each byte may be a line, and a message has its limit."""
_MESSAGE = 512 * 1024
"""Neighbours of one channel are put together up to about this size, since each message costs three programs time."""


class Wanted:
    """Which part of a log a request asks for, checked."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.tail: Optional[int] = _number(request, "tail")
        self.start: Optional[int] = _number(request, "from")
        since_s = request.get("since_s")
        if since_s is not None and (type(since_s) not in (int, float) or not 0 <= since_s < 1e10):
            raise UsageError("since_s must be a number of seconds.")
        self.since_ms = 0 if since_s is None else int((time.time() - since_s) * 1000)
        self.timestamps = request.get("timestamps", False)
        if not isinstance(self.timestamps, bool):
            raise UsageError("timestamps must be true or false.")


def _number(request: dict[str, Any], field: str) -> Optional[int]:
    value = request.get(field)
    if value is not None and (type(value) is not int or value < 0):
        raise UsageError(f"{field} must be a whole number that is not negative.")
    return value


class Output:
    """The wanted part of a log on its way into a stream."""

    def __init__(self, stream: Stream, folder: str, wanted: Wanted) -> None:
        self._stream = stream
        self._from = wanted.start or 0
        self._since_ms = wanted.since_ms
        place = None
        if wanted.start is not None:
            place = logfile.find_position(folder, wanted.start)
        elif wanted.tail is not None:
            place = logfile.find_tail(folder, wanted.tail)
        elif wanted.since_ms:
            place = logfile.find_time(folder, wanted.since_ms)
        self._skip_lines = place.lines if place else 0
        self._reader = LogReader(folder, place)
        self._stamps = _Stamps() if wanted.timestamps else None
        self._channel = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._position = 0

    async def send_all(self) -> bool:
        """Send all that is there at present; False when nothing new was."""
        found = False
        while entries := self._reader.read():
            found = True
            for kind, time_ms, data, position in entries:
                if kind == GONE:
                    if time_ms >= self._since_ms:
                        await self._tell_gone(int(data), position)
                elif rest := self._cut(kind, time_ms, data, position):
                    await self._put(kind, time_ms, rest, position)
            await asyncio.sleep(0)
        await self._flush()
        return found

    def close(self) -> None:
        """Let go of the log."""
        self._reader.close()

    def _cut(self, kind: int, time_ms: int, data: bytes, position: int) -> bytes:
        """The part of an entry that is to be shown."""
        if position <= self._from or time_ms < self._since_ms:
            if self._stamps:
                self._stamps.pass_by(kind, data)
            return b""
        before = self._from - (position - len(data))
        if before > 0:
            if self._stamps:
                self._stamps.pass_by(kind, data[:before])
            data = data[before:]
        if not self._skip_lines:
            return data
        count = data.count(b"\n")
        if count < self._skip_lines:
            self._skip_lines -= count
            return b""
        at = 0
        while self._skip_lines:
            at = data.index(b"\n", at) + 1
            self._skip_lines -= 1
        return data[at:]

    async def _put(self, channel: int, time_ms: int, data: bytes, position: int) -> None:
        if channel != self._channel or self._size >= _MESSAGE:
            await self._flush()
        self._channel, self._position = channel, position
        if self._stamps:
            if len(data) > _STAMPED:  # of empty lines only stamps remain
                head, data = data[:_STAMPED], data[_STAMPED:]
                await self._put(channel, time_ms, head, position - len(data))
                return await self._put(channel, time_ms, data, position)
            data = self._stamps.stamp(channel, time_ms, data)
        self._parts.append(data)
        self._size += len(data)
        return None

    async def _flush(self) -> None:
        """Send what has come together."""
        if not self._parts:
            return
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        await self._stream.send("position", self._position)
        await self._stream.send_data(self._channel, data)

    async def _tell_gone(self, count: int, position: int) -> None:
        """Bytes that the reader has seen already, or never wanted to see, are not missed."""
        if position <= self._from or self._skip_lines:
            return
        await self._flush()
        missing = min(count, position - self._from)
        await self._stream.send("gone", {"bytes": missing, "position": position})


class _Stamps:
    """Puts the time before each line of both channels, which begin and end their lines apart."""

    def __init__(self) -> None:
        self._in_line: set[int] = set()

    def pass_by(self, channel: int, data: bytes) -> None:
        """Output that is not shown; what comes next may go on in its line."""
        (self._in_line.discard if data.endswith(b"\n") else self._in_line.add)(channel)

    def stamp(self, channel: int, time_ms: int, data: bytes) -> bytes:
        """The same output with the time before each line that begins in it."""
        stamp = rfc3339(time_ms).encode() + b" "
        first = b"" if channel in self._in_line else stamp
        self.pass_by(channel, data)
        return b"%b%b%b" % (first, data[:-1].replace(b"\n", b"\n" + stamp), data[-1:])


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `job.logs`."""
    follow, wanted = request.get("follow", False), Wanted(request)
    if not isinstance(follow, bool):
        raise UsageError("follow must be true or false.")
    root = jobs.jobs_folder(guest.settings.state)
    job = jobs.find_job(root, request.get("job"))
    enough = asyncio.Event()
    stream.on_signal = lambda _name: enough.set()
    await stream.send("started", {"job": job.id, "position": wanted.start or 0})
    job = await send_output(stream, root, job, wanted, follow=follow, enough=enough)
    await stream.finish("end", {"job": job.id, "state": job.state, "code": job.code, "signal": job.signal})


async def send_output(
    stream: Stream, root: str, job: Job, wanted: Wanted, *, follow: bool, enough: asyncio.Event
) -> Job:
    """Send the wanted output, with `follow` until the job has ended; the job as it was at the end of that."""
    output = Output(stream, f"{root}/{job.id}", wanted)
    pause = _LOOK_SHORT_S
    try:
        while True:
            job = jobs.read_job(root, job.id) or job  # before reading: then an ended job's log is read whole
            found = await output.send_all()
            if job.state != jobs.RUNNING or not follow or enough.is_set():
                return job
            # Somebody watches: what comes in a dialogue is shown at once, a quiet job is looked at less often.
            pause = _LOOK_SHORT_S if found else min(pause * 1.5, _LOOK_LONG_S)
            await asyncio.sleep(pause)
    finally:
        output.close()
