"""Being at a job as at a foreground command: its whole output, its input, its signals and its ending."""

from __future__ import annotations

import asyncio

from cloudrouter.guest import commands, jobs
from cloudrouter.guest.jobcontrol import signal_foreground
from cloudrouter.guest.joblogs import Wanted, send_output
from cloudrouter.guest.tasks import cancel_all
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloudrouter.guest.jobs import Job
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `job.attach`: to a job that is there, or to one that it starts. The job outlives the stream."""
    wanted, root = Wanted(request), jobs.jobs_folder(guest.settings.state)
    stdin = stream.input.wanted = request.get("stdin") is True  # before anything is awaited: input may come at once
    if "line" in request or "argv" in request:
        if request.get("job") is not None:
            raise UsageError("A request has a job or a command, not both.")
        command = commands.read_command(request, guest.settings, guest.config)
        job = await jobs.start_job(guest, command, stdin=stdin)
    else:
        job = jobs.find_job(root, request.get("job"))
    feeding: list[asyncio.Future[None]] = []
    try:
        await _begin(stream, guest, root, job, wanted, feeding, stdin=stdin)
        job = await send_output(stream, root, job, wanted, follow=True, enough=asyncio.Event())
    finally:
        await cancel_all(*feeding)
    if job.state != jobs.RUNNING:
        guest.inputs.end(job.id)
    body: dict[str, Any] = {"job": job.id, "state": job.state, "code": job.code, "signal": job.signal}
    # A job that nobody saw end has no code, and `exit` always has one.
    await stream.finish("end" if job.code is None else "exit", body)


async def _begin(
    stream: Stream,
    guest: Guest,
    root: str,
    job: Job,
    wanted: Wanted,
    feeding: list[asyncio.Future[None]],
    *,
    stdin: bool,
) -> None:
    """Say what this is, and begin to carry signals and input; the work that carries input goes into `feeding`."""

    def send_signal(name: str) -> None:
        signal_foreground(root, job.id, name)

    stream.on_signal = send_signal
    taken = None
    if job.state != jobs.RUNNING:
        guest.inputs.end(job.id)  # it may have ended before anybody took it
    elif stdin and job.stdin:
        taken = guest.inputs.take(job.id)
    if stdin and taken is None:
        stream.input.abandon()  # it may be on its way already
    body: dict[str, Any] = {"job": job.id, "pid": job.pid, "position": wanted.start or 0, "stdin": taken is not None}
    if taken is not None:
        body["input"] = taken.written
        feeding.append(guest.inputs.begin(job.id, taken, stream.input))
    await stream.send("started", body)
