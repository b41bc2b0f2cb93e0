"""How much memory processes take together."""

from __future__ import annotations

import asyncio
import os

from cloudrouter.guest import rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Optional

    from cloudrouter.guest.environment import Account

_PAGE = os.sysconf("SC_PAGE_SIZE")


async def measure(pids: Iterable[int], account: Account) -> int:
    """Bytes: what pages are shared is divided among who shares them, where the kernel tells; else all counts.

    The kernel tells it of a process to its own user, and to root only with a right that containers do not have.
    """
    total = 0
    for pid in pids:
        found = _shares(pid)
        if found is None:
            with rights.of(account):
                found = _shares(pid)
        total += _resident(pid) if found is None else found
        await asyncio.sleep(0)  # the kernel walks through all pages of a process, and there may be many
    return total


def _shares(pid: int) -> Optional[int]:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None  # it has ended, or it is not ours to look at, or the kernel has no such file
    return None


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
