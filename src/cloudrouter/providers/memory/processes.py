"""Processes of this host as /proc shows them: identity that survives pid reuse, trees, sure endings."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

POLL_S = 0.01


@dataclass(frozen=True)
class Process:
    """One process; its start time tells it from a later one with the same number."""

    pid: int
    start_ticks: int


@dataclass(frozen=True)
class Status:
    """What /proc says of a process."""

    process: Process
    parent: int
    letter: str
    """R, S, D, T (stopped), Z (zombie) ..."""


def read_status(pid: int) -> Status | None:
    """The status of a process; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets and may hold anything, also brackets and spaces.
    fields = text[text.rindex(b")") + 2 :].split()
    return Status(Process(pid, int(fields[19])), int(fields[1]), fields[0].decode())


def look(process: Process) -> Status | None:
    """The status of exactly this process; None when it ended, also when only its zombie is left."""
    status = read_status(process.pid)
    if status is None or status.process != process or status.letter in "ZX":
        return None
    return status


def find_tree(root: Process | None, *, marker: bytes) -> list[Process]:
    """The root with all its descendants, and every process whose environment holds the marker (`NAME=value`)."""
    everything = [status for pid in _pids() if (status := read_status(pid)) is not None]
    alive = {status.process.pid: status for status in everything if status.letter not in "ZX"}
    found = {pid for pid in alive if marker in _environment(pid)}
    if root is not None and root.pid in alive and alive[root.pid].process == root:
        found.add(root.pid)
    while True:
        more = {pid for pid, status in alive.items() if status.parent in found} - found
        if not more:
            return [alive[pid].process for pid in sorted(found)]
        found |= more


def send(process: Process, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone already."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The descriptor holds on to one process, so what is true of it now stays true.
        if look(process) is None:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def send_all(processes: Iterable[Process], number: signal.Signals) -> int:
    """Signal each; how many were still there."""
    return sum(send(process, number) for process in processes)


async def wait_gone(process: Process, *, timeout_s: float) -> bool:
    """Whether the process ended within the time."""
    try:
        async with asyncio.timeout(timeout_s):
            while look(process) is not None:
                reap(process)
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        return False
    reap(process)
    return True


async def wait_stopped(process: Process, *, timeout_s: float) -> bool:
    """Whether a process that was sent SIGSTOP is stopped, or gone, within the time."""
    ends_at = time.monotonic() + timeout_s
    while True:
        status = look(process)
        if status is None or status.letter in "Tt":
            return True
        if time.monotonic() > ends_at:
            return False
        await asyncio.sleep(POLL_S)


def reap(process: Process) -> None:
    """Take the exit status of a child of ours, so that no zombie stays; others' children are left alone."""
    try:
        os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []  # ended meanwhile, or another user's: not ours
