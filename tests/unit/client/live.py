"""A real router with machines that are local processes, for tests of the SDK; nothing of it is left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cloudrouter.client.transport import Transport
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.settings import Settings
from cloudrouter.testing.live_router import live_router
from cloudrouter.wire import routes


@contextmanager
def memory_router(base: str, *, keep: bool = False) -> Iterator[Transport]:
    """A transport to it; its folders lie below base. keep: its machines go on for the next router in this place."""
    settings = Settings(
        state_dir=f"{base}/state", runtime_dir=f"{base}/run", default_provider="memory", ready_deadline_s=20.0
    )

    def make(router_id: str) -> dict[str, Any]:
        config = {"root": f"{base}/machines"}
        return {"memory": MemoryProvider(router_id=router_id, clock=time.time, config=config)}

    with live_router(settings, make) as transport:
        yield transport
        if keep:
            return
        for machine in transport.call("GET", routes.MACHINES)["machines"]:
            transport.call("DELETE", routes.machine(machine["id"]))
