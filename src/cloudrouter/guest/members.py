"""The processes that belong to a job, an app or a terminal, wherever they have gone, and signals to all of them."""

from __future__ import annotations

import asyncio
import os
import signal

from cloudrouter.guest import rights
from cloudrouter.guest.process import stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Optional

    from cloudrouter.guest.environment import Account

_POLL_S = 0.04
_KILL_S = 10.0
"""So long is waited for killed processes; one that the kernel holds in a disk's or a device's wait may take longer."""


def find(mark: bytes, account: Account, *, holder: int = 0, session: int = 0) -> dict[int, int]:
    """Living processes, pid -> start time: those of the session, the holder's descendants, and those with the mark.

    A daemon that has left its session and its parents still carries the mark, `NAME=value`, in its first environment.
    The holder itself is none of them, unless it is left out here and carries the mark. Account: whose rights commands
    have.
    """
    parents, sessions, started = {}, {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or (fields := stat_fields(int(name))) is None or fields[0] in (b"Z", b"X"):
            continue
        pid = int(name)
        parents[pid], sessions[pid], started[pid] = int(fields[1]), int(fields[3]), int(fields[19])
    marked, found = _marked(started, mark, account), set()
    for pid in started:
        if pid in marked or (session and sessions[pid] == session) or _descends(pid, holder, parents):
            found.add(pid)
    return {pid: started[pid] for pid in found - {holder, os.getpid()}}


def send_all(pids: dict[int, int], name: str) -> int:
    """Send the signal to all of them; returns how many got it."""
    sent = sum(_send(pid, ticks, getattr(signal, "SIG" + name)) for pid, ticks in pids.items())
    if name in ("TERM", "HUP"):
        # One that is stopped would see it only when somebody wakes it.
        for pid, ticks in pids.items():
            _send(pid, ticks, signal.SIGCONT)
    return sent


async def end_all(mark: bytes, account: Account, *, holder: int = 0, session: int = 0, grace_s: float = 0.0) -> bool:
    """End all of them: TERM and the grace, then KILL until none is left; False when some could not be killed."""
    if grace_s > 0:
        send_all(find(mark, account, holder=holder, session=session), "TERM")
        limit = asyncio.get_running_loop().time() + grace_s
        while find(mark, account, holder=holder, session=session) and asyncio.get_running_loop().time() < limit:
            await asyncio.sleep(_POLL_S)
    deadline = asyncio.get_running_loop().time() + _KILL_S
    while left := find(mark, account, holder=holder, session=session):
        if not send_all(left, "KILL") or asyncio.get_running_loop().time() > deadline:
            return not find(mark, account, holder=holder, session=session)
        await asyncio.sleep(_POLL_S)
    return True


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    for _ in range(len(parents)):
        pid = parents.get(pid, 0)
        if pid == ancestor:
            return bool(ancestor)
        if pid <= 1:
            return False
    return False


def _marked(pids: Iterable[int], mark: bytes, account: Account) -> set[int]:
    """Those whose first environment has the mark. The kernel shows it to a process's own user, and to root only
    with a right that containers do not have: so we look as both.
    """
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
