"""How the machine is: the answer that tells the router that it lives."""

from __future__ import annotations

import hashlib
import time

import cloudrouter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `health`."""
    from cloudrouter.guest.jobs import count_running

    await stream.finish(
        "health",
        {
            "version": cloudrouter.__version__,
            "machine_id": guest.settings.machine_id,
            "uptime_s": round(time.monotonic() - guest.started, 3),
            "boot_id": boot_id(guest.settings.machine_id),
            "jobs_running": count_running(guest.settings.state),
            "execs_running": len(guest.execs),
        },
    )


def boot_id(machine_id: str) -> str:
    """A word that stays the same while the machine runs and differs after each of its boots.

    The kernel's own boot id is the host's in a container, so the start of the first process counts too.
    """
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        kernel = file.read()
    with open("/proc/1/stat", "rb") as file:
        start_ticks = file.read().rpartition(b")")[2].split()[19]
    return hashlib.sha256(b"\n".join((kernel, start_ticks, machine_id.encode()))).hexdigest()[:32]
