"""Whether a server in the machine is up: asked again and again from inside until it is, or until the time is over."""

from __future__ import annotations

import asyncio
import os
import socket
import time

from cloudrouter.guest import jobs, logfile
from cloudrouter.guest.exec import read_timeout
from cloudrouter.guest.tasks import cancel_all, surely
from cloudrouter.guest.tunnels import HOSTS
from cloudrouter.wire.targets import read_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from cloudrouter.guest.jobs import Job
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream

_PAUSE_S = 0.05
_DEFAULT_TIMEOUT_S = 60.0
_TRY_S = 30.0
"""One attempt may take so long: a development server builds its page at the first request."""
_LOG_LINES, _LOG_BYTES = 20, 16384


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `ready`: {"ready", "last", "waited_ms", "job", "log"}; not ready is an answer, too."""
    port, path = read_target(request.get("port"), request.get("path"))
    timeout_s = read_timeout(request.get("timeout_s")) or _DEFAULT_TIMEOUT_S
    root = jobs.jobs_folder(guest.settings.state)
    job = jobs.find_job(root, request["job"]) if request.get("job") is not None else None
    started = time.monotonic()
    probes = [_Probe(host, port, path) for host in HOSTS]
    up, job = await _wait(probes, root, job, timeout_s)
    body: dict[str, Any] = {
        "ready": up,
        "last": next((probe.last for probe in probes if probe.answered), probes[0].last),
        "waited_ms": round((time.monotonic() - started) * 1000),
        "job": job.to_json() if job else None,
        "log": "" if job is None or up else _last_lines(root, job),
    }
    await stream.finish("ready", body)


async def _wait(probes: list[_Probe], root: str, job: Optional[Job], timeout_s: float) -> tuple[bool, Optional[Job]]:
    """Until one probe has succeeded, the job has ended, or the time is over: (whether one has, the job as it is)."""
    tasks = [asyncio.ensure_future(probe.run()) for probe in probes]
    deadline = time.monotonic() + timeout_s
    try:
        while (left := deadline - time.monotonic()) > 0:
            done, _ = await asyncio.wait(tasks, timeout=min(left, _PAUSE_S), return_when=asyncio.FIRST_COMPLETED)
            if done:
                for task in done:
                    task.result()
                return True, job
            job = (jobs.read_job(root, job.id) or job) if job else None
            if job and job.state != jobs.RUNNING:
                break
    finally:
        await surely(cancel_all(*tasks))
    return False, job


class _Probe:
    """One address of the server."""

    def __init__(self, host: str, port: int, path: Optional[str]) -> None:
        self._host, self._port, self._path = host, port, path
        self.last = "no answer"
        """What the last attempt came to, in words."""
        self.answered = False
        """Whether anybody has answered here, if not as wanted."""

    async def run(self) -> None:
        """Return when the server is up."""
        while not await self._try():
            await asyncio.sleep(_PAUSE_S)

    async def _try(self) -> bool:
        asking = asyncio.ensure_future(self._ask())
        try:
            # Not `wait_for`, which loses a cancellation that comes when the try has just ended.
            await asyncio.wait({asking}, timeout=_TRY_S)
            if asking.done():
                return asking.result()
            self.last = f"no answer within {_TRY_S:g} s"
        except OSError as error:
            self.last = os.strerror(error.errno).lower() if error.errno else "no connection"
        finally:
            await cancel_all(asking)
        return False

    async def _ask(self) -> bool:
        loop = asyncio.get_running_loop()
        with socket.socket(HOSTS[self._host], socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock:
            await loop.sock_connect(sock, (self._host, self._port))
            self.answered = True
            if self._path is None:
                self.last = "connected"
                return True
            self.last = "connected, no answer yet"
            lines = (f"GET {self._path} HTTP/1.1", f"Host: localhost:{self._port}", "Accept: */*", "Connection: close")
            await loop.sock_sendall(sock, "\r\n".join((*lines, "", "")).encode())
            return self._read_status(await first_line(sock))

    def _read_status(self, line: bytes) -> bool:
        words = line.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not (words[1].isdigit() and len(words[1]) == 3):
            self.last = "an answer that is not HTTP"
            return False
        self.last = f"HTTP {int(words[1])}"
        return int(words[1]) < 400


async def first_line(sock: socket.socket) -> bytes:
    """The answer's first line, as far as it goes; informational answers (1xx) count as what they are."""
    found = b""
    while b"\n" not in found and len(found) < 4096:
        data = await asyncio.get_running_loop().sock_recv(sock, 4096)
        if not data:
            break
        found += data
    return found.partition(b"\n")[0]


def _last_lines(root: str, job: Job) -> str:
    """The end of what the job has written, both channels as they came."""
    folder = f"{root}/{job.id}"
    reader, found = logfile.LogReader(folder, logfile.find_tail(folder, _LOG_LINES)), b""
    try:
        while entries := reader.read():
            for kind, _time, data, _position in entries:
                if kind != logfile.GONE:
                    found = (found + data)[-_LOG_BYTES:]
    finally:
        reader.close()
    return b"".join(found.splitlines(keepends=True)[-_LOG_LINES:]).decode("utf-8", "replace")
