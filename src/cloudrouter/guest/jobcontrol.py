"""Waiting for a job's end, and signals to all that belongs to it."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from cloudrouter.guest import jobs, rights
from cloudrouter.guest.environment import find_account
from cloudrouter.guest.exec import read_timeout
from cloudrouter.guest.process import stat_fields
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.streams import SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
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
    number = getattr(signal, "SIG" + name)
    members = members_of(root, job, account)
    sent = sum(_send(pid, ticks, number) for pid, ticks in members.items())
    if name in ("TERM", "HUP"):
        # One that is stopped would see it only when somebody wakes it.
        for pid, ticks in members.items():
            _send(pid, ticks, signal.SIGCONT)
    return sent


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


def members_of(root: str, job: Job, account: Account) -> dict[int, int]:
    """The job's living processes, pid -> start time: its session, its holder's descendants, and those it marked.

    A daemon that has left its session and its parents still carries the job's id in its first environment.
    """
    holder = jobs.holder_of(root, job.id)
    parents, sessions, started = {}, {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or (fields := stat_fields(int(name))) is None or fields[0] in (b"Z", b"X"):
            continue
        pid = int(name)
        parents[pid], sessions[pid], started[pid] = int(fields[1]), int(fields[3]), int(fields[19])
    kept = {holder, os.getpid()}
    marked, found = _marked(started, job, account), set()
    for pid in started:
        if pid in marked or (job.state == jobs.RUNNING and sessions[pid] == job.pid) or _descends(pid, holder, parents):
            found.add(pid)
    return {pid: started[pid] for pid in found - kept}


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    for _ in range(len(parents)):
        pid = parents.get(pid, 0)
        if pid == ancestor:
            return bool(ancestor)
        if pid <= 1:
            return False
    return False


def _marked(pids: Iterable[int], job: Job, account: Account) -> set[int]:
    """Those whose first environment names the job. The kernel shows it to a process's own user, and to root only
    with a right that containers do not have: so we look as both.
    """
    mark = b"%b=%b" % (jobs.JOB_VARIABLE, job.id.encode())
    seen = {pid: _environment(pid) for pid in pids}
    with rights.of(account):
        seen.update((pid, _environment(pid)) for pid, found in list(seen.items()) if found is None)
    return {pid for pid, found in seen.items() if found is not None and mark in found.split(b"\0")}


def _environment(pid: int) -> Optional[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return None  # it has ended, or it is not ours to look at


def _send(pid: int, ticks: int, number: int) -> bool:
    """Signal one process, unless its number belongs to another meanwhile."""
    fields = stat_fields(pid)
    if fields is None or int(fields[19]) != ticks:
        return False
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
