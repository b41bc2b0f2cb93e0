"""The API of doors, as clients call it, on a whole router with a real guest."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.server.conftest import start, wait

from cloudrouter.client.transport import Transport
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.settings import Settings
from cloudrouter.server.store.machines import Row
from cloudrouter.testing.live_router import live_router
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotConfigured, NotFound, NotRunning, UsageError


@pytest.fixture
def gateway(settings: Settings, tmp_path: Path) -> Iterator[Transport]:
    """A router with a gateway on a free port."""

    def make(router_id: str) -> dict[str, Any]:
        config = {"root": str(tmp_path / "machines")}
        return {"memory": MemoryProvider(router_id=router_id, clock=time.time, config=config)}

    with live_router(replace(settings, gateway_ports=(0,)), make) as transport:
        yield transport
        for machine in transport.call("GET", routes.MACHINES)["machines"]:
            transport.call("DELETE", routes.machine(machine["id"]))


def running(router: Transport) -> str:
    made = start(router)
    wait(router, made["id"])
    return str(made["id"])


def test_open_and_close_over_the_api(gateway: Transport) -> None:
    machine = running(gateway)
    door = gateway.call("POST", routes.machine(machine, "open"), {"target": "3000", "path": "/a#b"})
    facts = gateway.call("GET", routes.SERVER)
    port = facts["gateway_url"].rpartition(":")[2]
    lasting = f"http://3000--{machine.replace('_', '-')}.localhost:{port}/a#b"
    assert (door["target"], door["lasting_url"]) == ("3000", lasting)
    assert door["url"].startswith(lasting.partition("#")[0] + "?cloudrouter-ticket=")
    assert door["url"].endswith("#b")
    assert set(door) == {"target", "url", "lasting_url", "expires_at"}
    assert facts["gateway_reason"] == ""
    assert gateway.call("POST", routes.machine(machine, "close")) == {"closed": 1}
    assert gateway.call("POST", routes.machine(machine, "close")) == {"closed": 0}


def test_open_is_strict_about_its_body(gateway: Transport) -> None:
    machine = running(gateway)
    for body in (
        {},
        {"target": 3000},
        {"target": "3000", "extra": 1},
        {"target": "0"},
        {"target": "3000", "path": "x"},
    ):
        with pytest.raises(UsageError):
            gateway.call("POST", routes.machine(machine, "open"), body)
    with pytest.raises(NotFound):
        gateway.call("POST", routes.machine(machine, "open"), {"target": "nothing"})
    gateway.call("POST", routes.machine(machine, "stop"))
    with pytest.raises(NotRunning):
        gateway.call("POST", routes.machine(machine, "open"), {"target": "3000"})


def test_ports_and_apps_have_their_addresses(gateway: Transport) -> None:
    machine = running(gateway)
    assert gateway.call("GET", routes.machine(machine, "apps")) == {"apps": []}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = {one["port"]: one for one in gateway.call("GET", routes.machine(machine, "ports"))["ports"]}
        assert found[port]["addresses"] == ["127.0.0.1"]
        assert found[port]["url"].startswith(f"http://{port}--{machine.replace('_', '-')}.localhost:")
    for verb in ("start", "stop"):
        with pytest.raises(NotFound):
            gateway.call("POST", routes.machine(machine, "apps", "nothing", verb))


def test_without_a_gateway_everything_else_works(router: Transport) -> None:
    facts = router.call("GET", routes.SERVER)
    assert (facts["gateway_url"], facts["gateway_reason"]) == (None, "it is switched off")
    machine = running(router)
    with pytest.raises(NotConfigured, match="switched off"):
        router.call("POST", routes.machine(machine, "open"), {"target": "3000"})
    assert router.call("GET", routes.machine(machine))["urls"] == {}


def test_machines_know_the_apps_of_their_image_and_where_they_are_seen() -> None:
    from tests.unit.server.test_store import row

    from cloudrouter.auth.hosts import Address
    from cloudrouter.server.services.views import machine_view

    features = MemoryProvider(router_id="x", clock=time.time, config={"root": "/nowhere"}).features()
    machine: Row = row(id="cr_7k2m9xqd", apps=["desktop", "browser", "vscode"])
    shown = machine_view(machine, features, Address(7080))
    assert shown.apps == ["desktop", "browser", "vscode"]
    assert shown.urls == {
        "desktop": "http://desktop--cr-7k2m9xqd.localhost:7080/",
        "vscode": "http://vscode--cr-7k2m9xqd.localhost:7080/",
    }
    assert machine_view(machine, features, None).urls == {}
