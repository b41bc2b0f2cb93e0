"""Stopping the router and waiting until its process is gone; machines go on."""

from __future__ import annotations

import os
import select

from cloudrouter.wire import routes
from cloudrouter.wire.errors import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.client.transport import Transport

STOP_DEADLINE_S = 30.0


def stop_router(transport: Transport) -> int:
    """Stop the router behind the transport; its pid. TimedOut when it does not end."""
    pid = int(transport.call("GET", routes.SERVER)["pid"])
    watch = _watch(pid)
    transport.call("POST", routes.SERVER_STOP)
    transport.close()
    if watch is not None and not _has_ended(watch):
        raise TimedOut(
            f"The router (pid {pid}) has not ended after {STOP_DEADLINE_S:g} s.",
            fix="See what it does, or end it by force.",
            next=f"kill -9 {pid}",
        )
    return pid


def _watch(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None when it is gone already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _has_ended(watch: int) -> bool:
    try:
        return bool(select.select([watch], [], [], STOP_DEADLINE_S)[0])
    finally:
        os.close(watch)
