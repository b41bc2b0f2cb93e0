"""Volumes of the docker provider against an engine of ours: labels, owners, what somebody did by hand, failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cloudrouter.providers.base import LABEL_OWNER, LABEL_ROUTER, MachineSpec, Volume
from cloudrouter.providers.docker import DockerProvider, volumes
from cloudrouter.providers.errors import Conflict, InvalidSpec, NotFound, ProviderBug, Unreachable, provider_errors
from cloudrouter.wire import ids
from cloudrouter.wire.boot import GuestBoot
from cloudrouter.wire.machines import Mount

from .fake_engine import FakeEngine

ROUTER = "0123456789abcdef"
DATA = volumes.engine_name(ROUTER, "o", "data")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    async with FakeEngine().serving(str(tmp_path / "engine.sock")) as made:
        yield made


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
async def provider(engine: FakeEngine, tmp_path: Path, now: list[float]) -> AsyncIterator[DockerProvider]:
    settings = {"host": f"unix://{tmp_path}/engine.sock", "helper_image": "sha256:helper"}
    made = DockerProvider(router_id=ROUTER, clock=lambda: now[0], config=settings)
    yield made
    await made.aclose()


def spec(*mounts: Mount, **changes: Any) -> MachineSpec:
    machine_id = ids.new_machine_id()
    values = {"owner": "o", "router_id": ROUTER, "image": "image:1", "cpu": 1.0, "memory_bytes": 1 << 30, **changes}
    return MachineSpec(machine_id=machine_id, boot=GuestBoot(machine_id, "0" * 64), mounts=mounts, **values)


async def test_volume_when_made_then_carries_our_labels_and_the_time_that_was_first(
    engine: FakeEngine, provider: DockerProvider, now: list[float]
) -> None:
    assert await provider.ensure_volume("data", owner="o")
    now[0] = 2000.0
    assert not await provider.ensure_volume("data", owner="o")
    assert engine.volumes[DATA]["Labels"] == {
        LABEL_ROUTER: ROUTER,
        LABEL_OWNER: "o",
        volumes.LABEL_VOLUME: "data",
        volumes.LABEL_CREATED: "1000.000",
    }
    assert await provider.list_volumes() == [Volume("data", "o", 1000.0)]


async def test_machine_when_made_with_volumes_then_they_are_made_and_mounted_as_asked(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    await provider.create(spec(Mount("data", "/data"), Mount("models", "/models", read_only=True)))
    (made,) = [one for one in engine.containers.values() if one["Name"]]
    shown = [(one["Source"], one["Target"], one["ReadOnly"]) for one in made["HostConfig"]["Mounts"]]
    assert shown == [(DATA, "/data", False), (volumes.engine_name(ROUTER, "o", "models"), "/models", True)]
    assert sorted(one.name for one in await provider.list_volumes(owner="o")) == ["data", "models"]


async def test_volume_when_a_strangers_has_its_name_then_is_never_mounted_or_removed(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    engine.volumes[DATA] = {"Name": DATA, "Labels": None}
    for asked in (
        provider.ensure_volume("data", owner="o"),
        provider.remove_volume("data", owner="o"),
        provider.create(spec(Mount("data", "/data"))),
    ):
        with pytest.raises(Conflict, match="not this router's"):
            await asked
    assert list(engine.volumes) == [DATA]
    assert [one for one in engine.containers.values() if one["Name"]] == []


@pytest.mark.parametrize(
    "labels",
    [
        {LABEL_ROUTER: ROUTER},
        {LABEL_ROUTER: ROUTER, LABEL_OWNER: "o", volumes.LABEL_VOLUME: "other"},
        {LABEL_ROUTER: "ffff", LABEL_OWNER: "o", volumes.LABEL_VOLUME: "data"},
        {LABEL_ROUTER: ROUTER, LABEL_OWNER: "p", volumes.LABEL_VOLUME: "data"},
    ],
    ids=["half", "name", "router", "owner"],
)
async def test_list_when_labels_are_forged_then_leaves_it_out(
    engine: FakeEngine, provider: DockerProvider, labels: dict[str, str]
) -> None:
    engine.volumes[DATA] = {"Name": DATA, "Labels": labels}
    assert await provider.list_volumes() == []
    assert await provider.measure_volumes(owner="o") == {}


@pytest.mark.parametrize("told", ["nan", "inf", "x", ""])
async def test_list_when_the_time_is_none_then_says_that_nobody_knows(
    engine: FakeEngine, provider: DockerProvider, told: str
) -> None:
    labels = volumes.labels(ROUTER, "o", "data") | {volumes.LABEL_CREATED: told}
    engine.volumes[DATA] = {"Name": DATA, "Labels": labels}
    assert await provider.list_volumes() == [Volume("data", "o", None)]


async def test_measure_when_the_engine_is_busy_then_asks_again(
    engine: FakeEngine, provider: DockerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "BUSY_PAUSE_S", 0.0)
    await provider.ensure_volume("data", owner="o")
    await provider.ensure_volume("data", owner="other")
    engine.busy_measuring = 3
    assert await provider.measure_volumes(owner="o") == {"data": 4096}


async def test_measure_when_the_engine_stays_busy_then_gives_up(
    engine: FakeEngine, provider: DockerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "MEASURE_DEADLINE_S", 0.05)
    monkeypatch.setattr(volumes, "BUSY_PAUSE_S", 0.001)
    engine.busy_measuring = 1_000_000
    with pytest.raises(Unreachable, match="did not measure"):
        await provider.measure_volumes(owner="o")


async def test_measure_when_many_ask_then_the_engine_is_asked_once_at_a_time(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    await provider.ensure_volume("data", owner="o")
    asked = await asyncio.gather(*(provider.measure_volumes(owner="o") for _ in range(5)))
    assert asked == [{"data": 4096}] * 5


async def test_remove_when_a_container_has_it_then_is_a_conflict_that_says_so(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    handle = await provider.create(spec(Mount("data", "/data")))
    await provider.stop(handle)
    with pytest.raises(Conflict, match="used by a container"):
        await provider.remove_volume("data", owner="o")
    await provider.delete(handle)
    await provider.remove_volume("data", owner="o")
    assert engine.volumes == {}


LOST = {
    "its folder": (500, f'error evaluating symlinks from mount source "/var/lib/docker/volumes/{DATA}/_data": lstat'),
    "all of it": (404, f"get {DATA}: no such volume"),
}


@pytest.mark.parametrize("told", LOST)
async def test_start_when_a_volume_was_removed_by_hand_then_names_it(
    engine: FakeEngine, provider: DockerProvider, told: str
) -> None:
    handle = await provider.create(spec(Mount("data", "/data")))
    await provider.stop(handle)
    engine.lost_volumes[DATA] = LOST[told]
    with pytest.raises(NotFound, match="The volume data, mounted at /data, is gone") as caught:
        await provider.start(handle)
    assert caught.value.next == "cloudrouter volume inspect data"


async def test_create_when_a_volume_was_removed_by_hand_then_names_it(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    await provider.ensure_volume("data", owner="o")
    engine.lost_volumes[DATA] = LOST["its folder"]
    with pytest.raises(NotFound, match="The volume data, mounted at /data, is gone"):
        await provider.create(spec(Mount("data", "/data")))


async def test_start_when_it_fails_for_another_reason_then_the_volumes_are_not_blamed(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    handle = await provider.create(spec(Mount("data", "/data")))
    await provider.stop(handle)
    engine.start_errors = ["something broke"]
    with pytest.raises(ProviderBug, match="something broke"):
        await provider.start(handle)


@pytest.mark.parametrize(
    "answer", [{}, [], 7, {"Volumes": 7}, {"Volumes": [{}]}, {"Volumes": [{"Name": 1, "Labels": 2}]}], ids=repr
)
async def test_any_call_when_the_engine_says_rubbish_then_the_error_is_of_the_family(
    engine: FakeEngine, provider: DockerProvider, answer: Any
) -> None:
    await provider.check()
    for ask in (
        lambda: provider.list_volumes(),
        lambda: provider.measure_volumes(owner="o"),
        lambda: provider.ensure_volume("data", owner="o"),
        lambda: provider.remove_volume("data", owner="o"),
    ):
        await provider.list_volumes()
        engine.fault_at, engine.fault = len(engine.calls), lambda _request: web.json_response(answer)
        try:
            found = await ask()
        except provider_errors as error:
            assert error.message.endswith(".")
        else:
            assert not found
        engine.fault = None


def test_name_on_the_engine_when_owners_and_routers_differ_then_differs() -> None:
    names = {volumes.engine_name(router, owner, "x") for router in (ROUTER, "f" * 16) for owner in ("a", "b", "\udc80")}
    assert len(names) == 6
    assert all(len(name) < 64 and name.endswith("-x") for name in names)


async def test_any_name_when_it_is_none_then_never_reaches_the_engine(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    for name in ("../containers/x", "", "A"):
        with pytest.raises(InvalidSpec):
            await provider.remove_volume(name, owner="o")
    assert engine.calls == []
