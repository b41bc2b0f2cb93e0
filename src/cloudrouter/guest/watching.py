"""Waiting for the end of a process that may be anybody's child."""

from __future__ import annotations

import asyncio
import os

from cloudrouter.guest.process import stat_fields

_LOOK_S = 0.25


async def until_ended(pid: int, ticks: int) -> None:
    """Wait until the process of that number and start time has ended; a zombie has."""
    watch = _watch(pid)
    try:
        if watch >= 0 and _runs(pid, ticks):  # looked at after the descriptor was made: it is of that process then
            await _readable(watch)
            return
    finally:
        if watch >= 0:
            os.close(watch)
    while _runs(pid, ticks):
        await asyncio.sleep(_LOOK_S)


def _watch(pid: int) -> int:
    """A descriptor that becomes readable when the process ends; -1 where there is none."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return -1


def _runs(pid: int, ticks: int) -> bool:
    fields = stat_fields(pid)
    return fields is not None and fields[0] not in (b"Z", b"X") and int(fields[19]) == ticks


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, settle)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
