"""Volumes through the real client, the real router, and machines that are local processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.client.transport import Transport
from cloudrouter.providers.base import Features, Handle, MachineSpec, Volume
from cloudrouter.providers.errors import Conflict, NoCapacity
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.settings import Settings
from cloudrouter.testing.live_router import live_router
from cloudrouter.wire import routes
from cloudrouter.wire.errors import InvalidSpec, NotFound, Unsupported, UsageError

DATA = {"volume": "data", "path": "/data", "read_only": False}


class WithVolumes(MemoryProvider):
    """Local processes beside volumes that are names alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.volumes: dict[tuple[str, str], float] = {("stranger", "theirs"): 1.0}
        self.specs: list[MachineSpec] = []
        self.measured = 0
        self.is_full = False

    def features(self) -> Features:
        return replace(super().features(), volumes=True)

    async def create(self, spec: MachineSpec) -> Handle:
        self.specs.append(spec)
        if self.is_full:
            raise NoCapacity("There is no room.")
        return await super().create(replace(spec, mounts=()))

    async def ensure_volume(self, name: str, *, owner: str) -> bool:
        is_new = (owner, name) not in self.volumes
        self.volumes.setdefault((owner, name), time.time())
        return is_new

    async def list_volumes(self, *, owner: str | None = None) -> list[Volume]:  # type: ignore[override]
        return [Volume(name, own, at) for (own, name), at in self.volumes.items() if owner in (None, own)]

    async def measure_volumes(self, *, owner: str) -> Mapping[str, int]:
        self.measured += 1
        return {name: 4096 for own, name in self.volumes if own == owner}

    async def remove_volume(self, name: str, *, owner: str) -> None:
        if name == "held":
            raise Conflict("The volume held is used by a container.")
        self.volumes.pop((owner, name), None)


class House:
    """A router and its two providers."""

    def __init__(self, transport: Transport, provider: WithVolumes) -> None:
        self.transport = transport
        self.provider = provider

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.transport.call(method, path, body)

    def start(self, *mounts: dict[str, Any], **wanted: Any) -> dict[str, Any]:
        """A machine, ready or failed."""
        body = {"cpu": 1, "memory_bytes": 2**28, "mounts": list(mounts), **wanted}
        made = self.call("POST", routes.MACHINES, body)
        *_, last = self.transport.lines("GET", routes.machine(made["id"], "wait"))
        shown: dict[str, Any] = self.call("GET", routes.machine(made["id"]))
        assert last
        return shown

    def names(self) -> list[str]:
        return [one["name"] for one in self.call("GET", routes.VOLUMES)["volumes"]]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings = Settings(
        state_dir=str(tmp_path / "state"),
        runtime_dir=str(tmp_path / "run"),
        default_provider="memory",
        ready_deadline_s=20.0,
    )
    made: list[WithVolumes] = []

    def make(router_id: str) -> dict[str, Any]:
        config = {"root": str(tmp_path / "machines")}
        made.append(WithVolumes(router_id=router_id, clock=time.time, config=config))
        bare = MemoryProvider(router_id=router_id, clock=time.time, config={"root": str(tmp_path / "bare")})
        bare.name = "bare"
        return {"memory": made[0], "bare": bare}

    with live_router(settings, make) as transport:
        yield House(transport, made[0])
        for machine in transport.call("GET", routes.MACHINES)["machines"]:
            transport.call("DELETE", routes.machine(machine["id"]))


def test_volume_when_a_machine_wants_it_then_is_made_shown_and_outlives_it(house: House) -> None:
    machine = house.start(DATA, {**DATA, "path": "/again", "read_only": True}, name="web")
    assert machine["mounts"] == [DATA, {**DATA, "path": "/again", "read_only": True}]
    assert [(one.volume, one.path, one.read_only) for one in house.provider.specs[0].mounts] == [
        ("data", "/data", False),
        ("data", "/again", True),
    ]
    (volume,) = house.call("GET", routes.VOLUMES)["volumes"]
    use = {"id": machine["id"], "name": "web", "state": "running"}
    assert volume["machines"] == [
        {**use, "path": "/data", "read_only": False},
        {**use, "path": "/again", "read_only": True},
    ]
    assert (volume["name"], volume["provider"], volume["size_bytes"]) == ("data", "memory", None)
    assert volume["created_at"] >= machine["created_at"]
    house.call("DELETE", routes.machine("web"))
    assert house.call("GET", routes.volume("data"))["machines"] == []
    kinds = [event["kind"] for event in house.call("GET", f"{routes.EVENTS}?machine={machine['id']}")["events"]]
    assert kinds.count("volume.made") == 1


def test_volume_when_listed_then_is_measured_on_demand_alone(house: House) -> None:
    house.call("POST", routes.VOLUMES, {"name": "data"})
    assert house.call("GET", routes.VOLUMES)["volumes"][0]["size_bytes"] is None
    assert house.provider.measured == 0
    assert house.call("GET", routes.VOLUMES + "?size=true")["volumes"][0]["size_bytes"] == 4096
    assert house.call("GET", routes.volume("data"))["size_bytes"] == 4096


def test_volume_when_made_twice_then_says_that_it_was_there(house: House) -> None:
    assert house.call("POST", routes.VOLUMES, {"name": "data"})["made"] is True
    assert house.call("POST", routes.VOLUMES, {"name": "data", "provider": "memory"})["made"] is False
    assert house.names() == ["data"]


def test_volume_when_used_also_by_a_stopped_machine_then_is_not_removed(house: House) -> None:
    house.start(DATA, name="web")
    house.call("POST", routes.machine("web", "stop"))
    with pytest.raises(Conflict, match="used by a machine: web") as caught:
        house.call("DELETE", routes.volume("data"))
    assert caught.value.next == "cloudrouter delete web"
    house.start(DATA, name="api")
    with pytest.raises(Conflict, match="used by 2 machines: web, api"):
        house.call("DELETE", routes.volume("data"))
    for name in ("web", "api"):
        house.call("DELETE", routes.machine(name))
    assert house.call("DELETE", routes.volume("data")) == {"removed": "data"}
    assert house.names() == []


def test_volume_when_its_machine_failed_and_left_nothing_then_is_removed(house: House) -> None:
    house.provider.is_full = True
    machine = house.start(DATA)
    assert machine["state"] == "failed"
    assert house.names() == ["data"]
    house.call("DELETE", routes.volume("data"))
    assert house.names() == []


def test_volume_when_the_backend_holds_it_then_its_refusal_is_passed_on(house: House) -> None:
    house.call("POST", routes.VOLUMES, {"name": "held"})
    with pytest.raises(Conflict, match="used by a container"):
        house.call("DELETE", routes.volume("held"))


def test_volume_when_another_owners_then_is_not_there(house: House) -> None:
    assert house.names() == []
    for method in ("GET", "DELETE"):
        with pytest.raises(NotFound, match="There is no volume 'theirs'"):
            house.call(method, routes.volume("theirs"))
    assert ("stranger", "theirs") in house.provider.volumes
    assert house.call("POST", routes.VOLUMES, {"name": "theirs"})["made"] is True


def test_volume_when_misspelt_then_the_near_one_is_named(house: House) -> None:
    house.call("POST", routes.VOLUMES, {"name": "npm-cache"})
    with pytest.raises(NotFound) as caught:
        house.call("DELETE", routes.volume("npm-cahce"))
    assert caught.value.fix == "Did you mean npm-cache?"


@pytest.mark.parametrize("name", ["", "A", "a/b", "../x", "x" * 32])
def test_volume_when_its_name_is_none_then_is_refused(house: House, name: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        house.call("POST", routes.VOLUMES, {"name": name})
    assert caught.value.details["field"] == "name"
    assert house.names() == []


@pytest.mark.parametrize(
    "mounts",
    [
        [{**DATA, "volume": "DATA"}],
        [{**DATA, "path": "data"}],
        [{**DATA, "path": "/data/"}],
        [{**DATA, "path": "/x/../etc"}],
        [{**DATA, "path": "/etc"}],
        [{**DATA, "path": "/"}],
        [DATA, {**DATA, "path": "/data/below"}],
        [DATA, {**DATA, "volume": "other"}],
        [{**DATA, "path": f"/m{number}"} for number in range(33)],
    ],
    ids=str,
)
def test_start_when_volumes_cannot_be_then_is_refused_and_nothing_is_made(
    house: House, mounts: list[dict[str, Any]]
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        house.start(*mounts)
    assert caught.value.details["field"] == "mounts"
    assert caught.value.fix
    assert (house.names(), house.call("GET", routes.MACHINES)["machines"]) == ([], [])


@pytest.mark.parametrize("mount", [{"volume": "a"}, {**DATA, "more": 1}, {**DATA, "read_only": "yes"}, 7], ids=str)
def test_start_when_a_mount_has_the_wrong_shape_then_is_refused(house: House, mount: Any) -> None:
    with pytest.raises(UsageError):
        house.start(mount)


def test_provider_when_it_has_no_volumes_then_every_verb_says_so(house: House) -> None:
    asked = (
        lambda: house.start(DATA, provider="bare"),
        lambda: house.call("GET", f"{routes.VOLUMES}?provider=bare"),
        lambda: house.call("POST", routes.VOLUMES, {"name": "x", "provider": "bare"}),
        lambda: house.call("GET", f"{routes.volume('x')}?provider=bare"),
        lambda: house.call("DELETE", f"{routes.volume('x')}?provider=bare"),
    )
    for ask in asked:
        with pytest.raises(Unsupported, match="bare has no volumes") as caught:
            ask()
        assert caught.value.details["feature"] == "volumes"
    assert house.call("GET", routes.MACHINES)["machines"] == []


def test_guest_when_configured_then_is_told_the_written_mounts_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    from cloudrouter.server.guests.connections import Guests

    real = Guests.ask

    async def ask(self: Guests, row: Any, request: dict[str, Any], **more: Any) -> Any:
        asked.append(request)
        return await real(self, row, request, **more)

    monkeypatch.setattr(Guests, "ask", ask)
    house.start(DATA, {"volume": "models", "path": "/models", "read_only": True})
    assert {tuple(one["mounts"]) for one in asked if one["op"] == "configure"} == {("/data",)}
