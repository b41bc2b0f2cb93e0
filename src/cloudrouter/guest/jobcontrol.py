"""Waiting for a job's end, and signals to all that belongs to it."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from cloudrouter.guest import jobs, members
from cloudrouter.guest.environment import find_account
from cloudrouter.guest.exec import read_timeout
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.streams import SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.jobs import Job
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream

_LOOK_SHORT_S, _LOOK_LONG_S = 0.01, 0.1


async def wait(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `job.wait`: answers when the job has ended, or with a running one when timeout_s is over."""
    root = jobs.jobs_folder(guest.settings.state)
    job = jobs.find_job(root, request.get("job"))
    timeout_s = read_timeout(request.get("timeout_s"))
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    await stream.finish("job", (await wait_for(root, job, deadline)).to_json())


async def wait_for(root: str, job: Job, deadline: Optional[float]) -> Job:
    """The job once it has ended, or as it is when the deadline (of the monotonic clock) is over."""
    pause = _LOOK_SHORT_S
    while job.state == jobs.RUNNING and (deadline is None or time.monotonic() < deadline):
        left = pause if deadline is None else min(pause, max(0.0, deadline - time.monotonic()))
        await asyncio.sleep(left)
        pause = min(pause * 1.5, _LOOK_LONG_S)
        job = jobs.read_job(root, job.id) or job
    return job


async def kill(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `job.kill`: a signal to every process of the job, also to those it left behind."""
    root = jobs.jobs_folder(guest.settings.state)
    name = request.get("signal", "TERM")
    if name not in SIGNALS:
        raise UsageError(f"There is no signal {str(name)[:20]!r} to send.", fix=f"One of {', '.join(SIGNALS)}.")
    job = jobs.find_job(root, request.get("job"))
    signalled = signal_job(root, job, name, find_account(guest.settings.user))
    await stream.finish("job", {**(jobs.read_job(root, job.id) or job).to_json(), "signalled": signalled})


def signal_job(root: str, job: Job, name: str, account: Account) -> int:
    """Send the signal to all the job's processes; returns how many got it. Account: whose rights commands have."""
    mark = b"%b=%b" % (jobs.JOB_VARIABLE, job.id.encode())
    session = job.pid or 0 if job.state == jobs.RUNNING else 0
    return members.send_all(members.find(mark, account, holder=jobs.holder_of(root, job.id), session=session), name)


def signal_foreground(root: str, job_id: str, name: str) -> None:
    """Send the signal as a terminal's keys do: to the process group of the command itself.

    A program that holds its children apart from that group knows what it does with an INT.
    """
    job = jobs.read_job(root, job_id)
    if job is None or job.pid is None or job.state != jobs.RUNNING:
        return
    try:
        os.killpg(job.pid, getattr(signal, "SIG" + name))
    except (ProcessLookupError, PermissionError):
        return
