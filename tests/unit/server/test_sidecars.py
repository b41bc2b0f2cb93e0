"""Sidecars through the router's services: what is refused, what is told, when one that crashed is tried again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Features, Handle, MachineSpec, Observation, Progress, SidecarSeen
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.api.state import Services
from cloudrouter.server.app import open_router
from cloudrouter.server.run import prepare_folders
from cloudrouter.server.services import sidecars as service
from cloudrouter.server.settings import Settings
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import apps, states
from cloudrouter.wire.apps import AppState
from cloudrouter.wire.errors import CloudRouterError, InvalidSpec, NotFound, NotRunning, Unsupported
from cloudrouter.wire.machines import Mount, StartMachine
from cloudrouter.wire.sidecars import Sidecar

SECRET = "hunter22"
DB = Sidecar("db", "postgres:16", port=1, env={"PASSWORD": SECRET}, workspace="rw")
CACHE = Sidecar("cache", "redis:7", title="Redis")


class WithSidecars(MemoryProvider):
    """Local processes, and sidecars that are words alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.beside: dict[str, SidecarSeen] = {}
        self.calls: list[str] = []
        self.missing: set[str] = set()
        self.specs: list[MachineSpec] = []
        self.log = b"first\nlast words\n"

    def features(self) -> Features:
        return replace(super().features(), sidecars=True, volumes=True)

    async def create(self, spec: MachineSpec) -> Handle:
        self.calls.append("create")
        self.specs.append(spec)
        self.beside |= {one.name: SidecarSeen(one.name, base.RUNNING, started_at=0.0) for one in spec.sidecars}
        return await super().create(replace(spec, sidecars=()))

    async def delete(self, handle: Handle) -> None:
        self.calls.append("delete")
        await super().delete(handle)

    async def stop(self, handle: Handle, *, grace_s: float = 5.0) -> None:
        self.calls.append("stop")
        await super().stop(handle, grace_s=grace_s)

    async def check_sidecar_image(self, name: str) -> None:
        if name in self.missing:
            raise NotFound(f"There is no image {name}.")

    async def fetch_sidecar_image(self, name: str, *, progress: Progress) -> None:
        self.calls.append(f"fetch {name}")

    async def list_sidecars(self, handle: Handle, *, measure: bool = False) -> list[SidecarSeen]:
        return list(self.beside.values())

    async def machines_with_ended_sidecars(self) -> list[str]:
        ended = [one for one in self.beside.values() if one.state not in (base.RUNNING, base.PAUSED)]
        return [self.specs[-1].machine_id] if ended else []

    async def start_sidecar(self, handle: Handle, *, name: str) -> None:
        self.calls.append(f"start {name}")
        self.beside[name] = SidecarSeen(name, base.RUNNING, started_at=0.0)

    async def stop_sidecar(self, handle: Handle, *, name: str, grace_s: float = 10.0) -> None:
        self.calls.append(f"stop {name}")
        self.beside[name] = SidecarSeen(name, base.STOPPED, exit_code=0)

    async def read_sidecar_log(self, handle: Handle, *, name: str, tail: int | None = None) -> bytes:
        return self.log if tail is None else b"\n".join(self.log.splitlines()[-tail:])

    def crash(self, name: str = "db", *, at: float, ran: float = 1.0, code: int = 1, reason: str = "") -> None:
        """Let one end by itself."""
        self.beside[name] = SidecarSeen(
            name, base.STOPPED, reason=reason, exit_code=code, last_started_at=at - ran, ended_at=at
        )


class House:
    """A router whose time stands still unless the test moves it."""

    def __init__(self, services: Services, provider: WithSidecars, now: list[float]) -> None:
        self.services, self.provider, self.now = services, provider, now

    async def start(self, *wanted: Sidecar) -> Row:
        """A running machine with these."""
        row = await self.services.machines.start("me", small(*wanted))
        async for _message in self.services.machines.follow("me", row.id):
            pass
        return self.row()

    def row(self) -> Row:
        """The machine as the book has it now."""
        (row,) = self.services.machines.living("me")
        return row

    async def state(self, name: str = "db") -> AppState:
        """One of its sidecars as it is told."""
        return next(one for one in await self.services.sidecars.states(self.row()) if one.name == name)


def small(*wanted: Sidecar) -> StartMachine:
    return StartMachine(cpu=1, memory_bytes=2**28, sidecars=list(wanted))


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(service, "EVERY_S", 3600.0)
    settings = Settings(
        state_dir=str(tmp_path / "state"),
        runtime_dir=str(tmp_path / "run"),
        default_provider="memory",
        ready_deadline_s=20.0,
        reconcile_every_s=3600.0,
        owner="me",
    )
    prepare_folders(settings)
    now, made = [1000.0], []

    def make(router_id: str) -> dict[str, Any]:
        config = {"root": str(tmp_path / "machines")}
        made.append(WithSidecars(router_id=router_id, clock=time.time, config=config))
        bare = MemoryProvider(router_id=router_id, clock=time.time, config={"root": str(tmp_path / "bare")})
        bare.name = "bare"
        return {"memory": made[0], "bare": bare}

    async with open_router(settings, make_providers=make, clock=lambda: now[0]) as (services, _app):
        house = House(services, made[0], now)
        yield house
        for row in services.machines.living("me"):
            await services.machines.delete_row(row)


# Start


REFUSED: list[tuple[StartMachine, type[CloudRouterError], str]] = [
    (small(DB, DB), InvalidSpec, "has that name"),
    (small(replace(DB, name="vscode")), InvalidSpec, "app's name"),
    (small(replace(DB, name="a--b")), InvalidSpec, "two dashes"),
    (small(replace(DB, cpu=1.5)), InvalidSpec, "its machine has 1"),
    (small(replace(DB, memory_bytes=2**29)), InvalidSpec, "its machine has"),
    (small(replace(DB, memory_bytes=2**20)), InvalidSpec, "less than"),
    (small(replace(DB, cpu=0.01)), InvalidSpec, "too little"),
    (small(replace(DB, cpu=float("nan"))), InvalidSpec, "too little"),
    (small(replace(DB, workspace="x")), InvalidSpec, "ro or rw"),
    (small(replace(DB, port=70000)), InvalidSpec, "port"),
    (small(replace(DB, image="core+vscode")), InvalidSpec, "no image"),
    (small(replace(DB, env={"A=B": SECRET})), InvalidSpec, "variable"),
    (small(replace(DB, env={"A": SECRET + "\0"})), InvalidSpec, "variable"),
    (small(replace(DB, command=[])), InvalidSpec, "command"),
    (small(*(replace(DB, name=f"s{at}") for at in range(17))), InvalidSpec, "16 is the most"),
    (replace(small(DB), mounts=[Mount("home", "/home/user")]), InvalidSpec, "has it already"),
    (replace(small(DB), provider="bare"), Unsupported, "beside its machines"),
]


async def test_start_when_a_sidecar_cannot_be_then_is_refused_and_nothing_is_written(house: House) -> None:
    for wanted, kind, told in REFUSED:
        with pytest.raises(kind, match=told) as caught:
            await house.services.machines.start("me", wanted)
        assert SECRET not in json.dumps(caught.value.to_json())
        assert house.services.machines.living("me") == []


async def test_start_when_an_image_only_could_have_been_here_then_is_refused(house: House) -> None:
    house.provider.missing.add("postgres:16")
    with pytest.raises(NotFound, match="no image postgres"):
        await house.services.machines.start("me", small(DB))


async def test_start_when_there_are_sidecars_then_their_images_are_fetched_before_the_machine_is_made(
    house: House,
) -> None:
    row = await house.start(DB, CACHE, replace(CACHE, name="second"))
    assert house.provider.calls == ["fetch postgres:16", "fetch redis:7", "create"]
    assert house.provider.specs[0].sidecars == (DB, CACHE, replace(CACHE, name="second"))
    assert [one["name"] for one in row.sidecars] == ["db", "cache", "second"]


# States


SEEN: list[tuple[SidecarSeen | None, str, str]] = [
    (SidecarSeen("cache", base.RUNNING, started_at=990.0), apps.RUNNING, ""),
    (SidecarSeen("cache", base.RUNNING, health="starting"), apps.STARTING, "not succeeded yet"),
    (SidecarSeen("cache", base.RUNNING, health="healthy"), apps.RUNNING, ""),
    (SidecarSeen("cache", base.RUNNING, health="unhealthy", health_said="no\x1b[31m"), apps.FAILED, "fails: no [31m"),
    (SidecarSeen("cache", base.PAUSED), apps.RUNNING, "frozen"),
    (SidecarSeen("cache", base.STOPPED, exit_code=0), apps.OFF, "by itself"),
    (SidecarSeen("cache", base.STOPPED, exit_code=3), apps.FAILED, "status 3"),
    (SidecarSeen("cache", base.STOPPED, exit_code=137, reason="it ran out of memory"), apps.FAILED, "out of memory"),
    (SidecarSeen("cache", base.PENDING), apps.FAILED, "never started"),
    (None, apps.FAILED, "by hand"),
]


async def test_state_when_the_provider_sees_this_then_is_told_with_its_reason(house: House) -> None:
    await house.start(CACHE)
    for seen, state, told in SEEN:
        house.provider.beside = {} if seen is None else {"cache": seen}
        found = await house.state("cache")
        assert (found.state, found.kind, found.view, found.title) == (state, "sidecar", "none", "Redis"), seen
        assert told in found.reason, seen
        assert found.reason.isprintable(), seen


async def test_state_when_only_its_port_tells_then_the_machine_is_asked(house: House) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await house.start(replace(DB, port=port), replace(DB, name="late"))
    house.provider.beside = {
        name: SidecarSeen(name, base.RUNNING, started_at=started) for name, started in (("db", 990.0), ("late", 990.0))
    }
    assert (await house.state("db")).state == apps.RUNNING
    late = await house.state("late")
    assert (late.state, late.reason) == (apps.STARTING, "nothing answers at port 1 yet")
    house.now[0] += 3600
    late = await house.state("late")
    assert late.state == apps.FAILED
    assert "nothing answers at port 1 after" in late.reason
    server.close()
    await server.wait_closed()


async def test_states_when_the_machine_is_stopped_then_are_off_and_verbs_are_refused(house: House) -> None:
    row = await house.start(DB)
    await house.services.machines.stop("me", row.id)
    assert (await house.state()).state == apps.OFF
    for asked in (house.services.apps.start("me", row.id, "db"), house.services.apps.stop("me", row.id, "db")):
        with pytest.raises(NotRunning):
            await asked
    assert await house.services.apps.logs("me", row.id, "db") == b"first\nlast words\n"


# Looking after them


async def test_crash_when_it_comes_again_and_again_then_the_pauses_double_and_are_told_once(house: House) -> None:
    row = await house.start(DB)
    look, starts = house.services.sidecars.look, lambda: house.provider.calls.count("start db")
    for failure, pause in enumerate((1, 2, 4, 8, 16, 30, 30)):
        house.provider.crash(at=house.now[0], ran=0.5)
        for step in (0.0, pause - 0.6):
            house.now[0] += step
            await look()
            assert starts() == failure, pause
        told = await house.state()
        assert (told.state, told.restarts) == (apps.FAILED, failure)
        assert told.reason == "it ended with status 1 (last words); it is started again in 1 s"
        house.now[0] += 0.7
        await look()
        assert (starts(), (await house.state()).restarts) == (failure + 1, failure + 1)
    await house.services.events.flush()
    events = await house.services.event_store.newest(100, machine_id=row.id, kind="sidecar.crashed")
    assert [one["data"]["again_in_s"] for one in events] == [1, 2, 4, 8, 16, 30, 30]


async def test_crash_when_it_ran_for_a_minute_then_is_started_again_at_once(house: House) -> None:
    await house.start(DB)
    for _ in range(3):
        house.provider.crash(at=house.now[0], ran=service.FORGET_S)
        await house.services.sidecars.look()
    assert house.provider.calls.count("start db") == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda house: house.provider.crash(at=house.now[0], code=0),
        lambda house: house.provider.beside.update(db=SidecarSeen("db", base.PAUSED)),
        lambda house: house.provider.beside.update(stranger=SidecarSeen("stranger", base.STOPPED, exit_code=1)),
    ],
    ids=["ended well", "frozen", "not asked for"],
)
async def test_look_when_there_is_nothing_to_mend_then_starts_nothing(
    house: House, change: Callable[[House], None]
) -> None:
    await house.start(DB)
    change(house)
    for _ in range(3):
        house.now[0] += 100
        await house.services.sidecars.look()
    assert [call for call in house.provider.calls if call.startswith("start")] == []


async def test_look_when_a_verb_is_at_work_on_the_machine_then_waits_for_the_next_time(house: House) -> None:
    row = await house.start(DB)
    house.provider.crash(at=house.now[0], ran=service.FORGET_S)
    lock = house.services.sidecars._context.lock(row.id)
    async with lock:
        await house.services.sidecars.look()
        assert "start db" not in house.provider.calls
    await house.services.sidecars.look()
    assert "start db" in house.provider.calls


async def test_stop_of_one_when_asked_then_holds_over_looks_and_ends_with_start_or_boot(house: House) -> None:
    row = await house.start(DB, CACHE)
    assert (await house.services.apps.stop("me", row.id, "cache")).state == apps.OFF
    house.provider.crash("cache", at=house.now[0], code=1)
    house.now[0] += 100
    await house.services.sidecars.look()
    assert (await house.state("cache")).state == apps.OFF
    assert "start cache" not in house.provider.calls
    assert (await house.services.apps.start("me", row.id, "cache")).state == apps.RUNNING
    await house.services.apps.stop("me", row.id, "cache")
    await house.services.machines.stop("me", row.id)
    await house.services.machines.resume("me", row.id)
    assert not any(one.get("off") for one in house.row().sidecars)


async def test_start_of_one_when_it_has_to_become_healthy_then_is_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await house.start(CACHE)
    seen = iter([SidecarSeen("cache", base.RUNNING, health=word) for word in ("starting", "starting", "healthy")])

    async def list_sidecars(_handle: Handle, *, measure: bool = False) -> list[SidecarSeen]:
        return [next(seen)]

    monkeypatch.setattr(house.provider, "list_sidecars", list_sidecars)
    assert (await house.services.apps.start("me", row.id, "cache")).state == apps.RUNNING
    assert next(seen, None) is None


# Secrets, and what is lost


async def test_secrets_when_everything_is_told_then_are_in_none_of_it(house: House) -> None:
    row = await house.start(DB)
    house.provider.log = f"password {SECRET} is wrong\n".encode()
    house.provider.crash(at=house.now[0], reason="")
    await house.services.sidecars.look()
    told = await house.state()
    assert "password *** is wrong" in told.reason
    house.provider.beside["db"] = SidecarSeen("db", base.RUNNING, health="unhealthy", health_said=f"as {SECRET}")
    assert SECRET not in (await house.state()).reason
    shown = await house.services.inspection.inspect(row)
    assert shown["sidecars"][0]["env"] == ["PASSWORD"]
    await house.services.events.flush()
    events = await house.services.event_store.newest(100)
    assert SECRET not in json.dumps(
        [shown["spec"], shown["sidecars"][0]["env"], events, asdict(house.services.view(row))]
    )
    assert SECRET not in repr(row) + repr(house.provider.specs[0])


async def test_row_when_its_machine_is_gone_then_the_book_has_no_secret_any_more(house: House, tmp_path: Path) -> None:
    row = await house.start(DB)
    await house.services.machines.delete_row(row)
    for path in (tmp_path / "state").glob("*.db*"):
        assert SECRET.encode() not in path.read_bytes(), path
    gone = await house.services.machines.get("me", row.id)
    assert (gone.state, gone.sidecars) == (states.GONE, [])


@pytest.mark.parametrize(("seen", "call"), [(base.GONE, "delete"), (base.STOPPED, "stop")])
async def test_machine_when_it_went_away_by_itself_then_its_sidecars_are_taken_along(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: str, call: str
) -> None:
    from cloudrouter.server.loops.reconcile import Reconcile
    from cloudrouter.server.services.provisioning import Provisioning

    row = await house.start(DB)
    context = house.services.sidecars._context
    found = Observation(row.id, context.handle(row), seen)

    async def inspect(_handle: Handle) -> Observation:
        return found

    async def listing() -> AsyncIterator[Observation]:
        if seen != base.GONE:
            yield found

    monkeypatch.setattr(house.provider, "inspect", inspect)
    monkeypatch.setattr(house.provider, "list", listing)
    house.provider.calls.clear()
    await Reconcile(context, house.services.machines, Provisioning(context)).look()
    assert house.provider.calls == [call]
