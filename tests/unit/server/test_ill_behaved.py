"""The router with providers that misbehave: it always knows, always tells, always ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.providers.base import Provider
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.api.state import Services
from cloudrouter.server.app import open_router
from cloudrouter.server.run import prepare_folders
from cloudrouter.server.settings import Settings
from cloudrouter.server.store.machines import Row
from cloudrouter.testing import fakes
from cloudrouter.wire.errors import Conflict, NoCapacity, NotFound
from cloudrouter.wire.machines import StartMachine

SMALL = StartMachine(cpu=1, memory_bytes=2**28)


class Stage:
    """A router around one provider."""

    def __init__(self, tmp_path: Path, make: Callable[[Provider], Provider], **settings: Any) -> None:
        self.settings = Settings(
            state_dir=str(tmp_path / "state"),
            runtime_dir=str(tmp_path / "run"),
            default_provider="memory",
            **{"ready_deadline_s": 20.0, "orphan_grace_s": 0.0, "reconcile_every_s": 0.05, **settings},
        )
        self._make = make
        self._root = str(tmp_path / "machines")
        self.provider: Any = None
        self.clock_offset = 0.0

    def clock(self) -> float:
        return time.time() + self.clock_offset

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Services]:
        """The router, for as long as it lives."""
        prepare_folders(self.settings)

        def providers(router_id: str) -> dict[str, Provider]:
            inner = MemoryProvider(router_id=router_id, clock=time.time, config={"root": self._root})
            self.provider = self._make(inner)
            return {"memory": self.provider}

        async with open_router(self.settings, make_providers=providers, clock=self.clock) as (services, _app):
            yield services

    async def seen(self) -> list[str]:
        """What the provider has."""
        return [one.machine_id async for one in self.provider.list()]


async def until(true: Callable[[], Any], what: str) -> None:
    """Ask again until the answer is true."""
    try:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen") from None


def state(services: Services, row: Row) -> str:
    """The state in the book."""
    try:
        return services.machines.find("local", row.id).state
    except NotFound:
        return "gone"


async def test_a_refused_creation_is_a_failed_machine_with_the_reason(tmp_path: Path) -> None:
    error = NoCapacity("The moon is full.")
    stage = Stage(tmp_path, lambda inner: fakes.FailsAtOnce(inner, error=error))
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL)
        told = [message async for message in services.machines.follow("local", row.id)]
        assert told[-1]["error"]["message"] == "The moon is full."
        assert told[-1]["error"]["code"] == "no_capacity"
        await until(lambda: state(services, row) == "failed", "the failure")
        assert (await services.machines.delete("local", row.id)).state == "gone"


async def test_a_machine_that_is_never_ready_fails_and_is_removed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fakes.NeverReady, ready_deadline_s=0.3)
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL)
        told = [message async for message in services.machines.follow("local", row.id)]
        assert told[-1]["error"]["code"] == "timed_out"
        await until(lambda: state(services, row) == "failed", "the failure")
        assert await stage.seen() == []


async def test_a_machine_that_fails_while_it_boots_is_told_with_its_reason(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lambda inner: fakes.FailsLate(inner, after=1, reason="its boot disk broke"))
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL)
        told = [message async for message in services.machines.follow("local", row.id)]
        assert "its boot disk broke" in told[-1]["error"]["message"]


async def test_a_lost_machine_is_marked_with_the_reason(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fakes.LosesMachine)
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL)
        await until(lambda: state(services, row) == "running", "the start")
        await stage.provider.lose(row.id)
        await until(lambda: state(services, row) == "failed", "the discovery")
        assert "lost" in services.machines.find("local", row.id).reason
        await services.machines.delete("local", row.id)


async def test_a_liar_cannot_make_a_machine_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fakes.Liar, ready_deadline_s=0.3)
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL)
        await until(lambda: state(services, row) == "failed", "the failure")
        await services.machines.delete("local", row.id)
        assert state(services, row) == "gone"


async def test_a_second_machine_for_one_id_is_removed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fakes.Duplicates)
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL)
        await until(lambda: state(services, row) == "running", "the start")
        await until(lambda: not stage.provider.twins, "the removal of the twin")
        assert await stage.seen() == [row.id]
        await services.machines.delete("local", row.id)


async def test_an_object_that_no_book_knows_is_removed_after_the_grace(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fakes.Wrapper, orphan_grace_s=60.0)
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL)
        await until(lambda: state(services, row) == "running", "the start")
        (tmp_path / "state" / "router.db").rename(tmp_path / "state" / "lost.db")
    async with stage.open() as services:
        await asyncio.sleep(0.2)  # some looks go by
        assert await stage.seen() == [row.id]
        stage.clock_offset = 61.0
        async with asyncio.timeout(20):
            while await stage.seen():
                await asyncio.sleep(0.01)


async def test_a_delete_while_the_provider_is_slow_waits_for_nothing(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(verb: str) -> None:
        if verb == "create":
            await gate.wait()

    stage = Stage(tmp_path, lambda inner: fakes.Slow(inner, wait=wait))
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL)
        assert (await services.machines.delete("local", row.id)).state == "gone"
        gate.set()
        assert await stage.seen() == []


async def test_a_start_that_the_router_did_not_finish_is_finished_by_the_next_one(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(verb: str) -> None:
        if verb == "create":
            await gate.wait()

    stage = Stage(tmp_path, lambda inner: fakes.Slow(inner, wait=wait))
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL, key="k")
    gate.set()
    async with stage.open() as services:
        await until(lambda: state(services, row) == "running", "the rest of the start")
        assert (await services.machines.start("local", SMALL, key="k")).id == row.id
        await services.machines.delete("local", row.id)


async def test_an_unconfirmed_start_is_removed_after_its_grace_and_not_before(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fakes.Wrapper, unconfirmed_grace_s=30.0)
    async with stage.open() as services:
        row = await services.machines.start("local", replace(SMALL, provisional=True))
        await until(lambda: services.machines.find("local", row.id).ready_ms is not None, "the boot")
        with services.traffic.stream(row.id):
            stage.clock_offset = 31.0
            await asyncio.sleep(1.2)  # one look of the loop goes by while an upload is under way
            assert state(services, row) == "starting"
        stage.clock_offset = 100.0
        await until(lambda: state(services, row) == "gone", "the removal")


async def test_a_machine_is_stopped_at_its_deadline(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fakes.Wrapper)
    async with stage.open() as services:
        row = await services.machines.start("local", replace(SMALL, timeout_seconds=3600))
        await until(lambda: state(services, row) == "running", "the start")
        stage.clock_offset = 3601.0
        await until(lambda: state(services, row) == "stopped", "the stop")
        assert services.machines.find("local", row.id).reason == "deadline passed"
        with pytest.raises(Conflict, match="deadline"):
            await services.machines.resume("local", row.id)
        await services.machines.extend("local", row.id, 60)
        assert (await services.machines.resume("local", row.id)).state == "running"
        await services.machines.delete("local", row.id)


async def test_a_list_says_when_the_provider_does_not_answer(tmp_path: Path) -> None:
    class Dead(fakes.Wrapper):
        dead = False

        async def check(self) -> None:
            if self.dead:
                raise NoCapacity("The line is cut.")
            await super().check()

    stage = Stage(tmp_path, Dead)
    async with stage.open() as services:
        row = await services.machines.start("local", SMALL)
        await until(lambda: state(services, row) == "running", "the start")
        assert await services.machines.doubts(await services.machines.list("local")) == []
        stage.provider.dead = True
        (doubt,) = await services.machines.doubts(await services.machines.list("local"))
        assert "as last seen: The line is cut." in doubt.message
        stage.provider.dead = False
        await services.machines.delete("local", row.id)
