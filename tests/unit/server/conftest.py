"""A router of this process with machines that are local processes, for the tests that speak to it as clients do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.client.transport import Transport
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.settings import Settings
from cloudrouter.testing.live_router import live_router
from cloudrouter.wire import routes


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        state_dir=str(tmp_path / "state"),
        runtime_dir=str(tmp_path / "run"),
        default_provider="memory",
        ready_deadline_s=20.0,
    )


@pytest.fixture
def router(settings: Settings, tmp_path: Path) -> Iterator[Transport]:
    def make(router_id: str) -> dict[str, Any]:
        return {
            "memory": MemoryProvider(router_id=router_id, clock=time.time, config={"root": str(tmp_path / "machines")})
        }

    with live_router(settings, make) as transport:
        yield transport
        for machine in transport.call("GET", routes.MACHINES)["machines"]:
            transport.call("DELETE", routes.machine(machine["id"]))


def wait(router: Transport, machine: str) -> dict[str, Any]:
    *_, last = router.lines("GET", routes.machine(machine, "wait"))
    return dict(last)


def start(router: Transport, key: str | None = None, **wanted: Any) -> dict[str, Any]:
    headers = {routes.IDEMPOTENCY_HEADER: key} if key else {}
    body = {"cpu": 1, "memory_bytes": 2**28, **wanted}
    made: dict[str, Any] = router.call("POST", routes.MACHINES, body, headers=headers)
    return made
