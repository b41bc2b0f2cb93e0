"""The ill-behaved fakes: each misbehaves in its one way, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Handle, MachineSpec
from cloudrouter.providers.errors import InvalidSpec, NoCapacity, NotFound, NotRunning, Unreachable
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.testing import fakes
from cloudrouter.testing.provider_suite import PROTOCOLS
from cloudrouter.testing.stage import listed
from cloudrouter.wire import ids
from cloudrouter.wire.boot import GuestBoot


@pytest.fixture
async def inner(tmp_path: Path) -> AsyncIterator[MemoryProvider]:
    made = MemoryProvider(router_id="r", clock=time.time, config={"root": str(tmp_path / "machines")})
    yield made
    for seen in await listed(made):
        await made.delete(seen.handle)


def spec() -> MachineSpec:
    machine_id = ids.new_machine_id()
    return MachineSpec(machine_id, "o", "r", "core", 1.0, 1 << 28, GuestBoot(machine_id, "0" * 64))


@pytest.mark.parametrize(
    "kind",
    [
        fakes.Slow,
        fakes.NeverReady,
        fakes.FailsAtOnce,
        fakes.FailsLate,
        fakes.LosesMachine,
        fakes.Liar,
        fakes.Duplicates,
    ],
)
def test_fake_when_asked_then_its_flags_match_its_protocols(inner: MemoryProvider, kind: type[fakes.Wrapper]) -> None:
    fake = kind(inner)
    for flag, protocol in PROTOCOLS.items():
        assert getattr(fake.features(), flag) == isinstance(fake, protocol)


async def test_slow_when_the_test_holds_it_then_nothing_happens_before(inner: MemoryProvider) -> None:
    gate, asked = asyncio.Event(), []

    async def wait(verb: str) -> None:
        asked.append(verb)
        await gate.wait()

    fake = fakes.Slow(inner, wait=wait)
    task = asyncio.create_task(fake.create(spec()))
    while not asked:
        await asyncio.sleep(0)
    assert await listed(fake) == []
    gate.set()
    handle = await task
    await fake.stop(handle)
    await fake.start(handle)
    await fake.delete(handle)
    assert asked == ["create", "stop", "start", "delete"]


async def test_never_ready_when_made_then_stays_pending_until_deleted(inner: MemoryProvider) -> None:
    fake = fakes.NeverReady(inner)
    handle = await fake.create(spec())
    assert [seen.state for seen in (await fake.inspect(handle), *await listed(fake))] == [base.PENDING] * 2
    with pytest.raises(NotRunning):
        await fake.dial(handle, port=7070)
    await fake.delete(handle)
    assert (await fake.inspect(handle)).state == base.GONE


async def test_fails_at_once_when_creating_then_raises_the_given_error(inner: MemoryProvider) -> None:
    with pytest.raises(NoCapacity):
        await fakes.FailsAtOnce(inner).create(spec())
    with pytest.raises(InvalidSpec):
        await fakes.FailsAtOnce(inner, error=InvalidSpec("No.")).create(spec())
    assert await listed(inner) == []


async def test_fails_late_when_looked_at_often_enough_then_has_failed(inner: MemoryProvider) -> None:
    fake = fakes.FailsLate(inner, after=2, reason="smoke")
    handle = await fake.create(spec())
    states = [(await fake.inspect(handle)).state for _ in range(3)]
    assert states == [base.RUNNING, base.RUNNING, base.FAILED]
    assert [seen.reason for seen in await listed(fake)] == ["smoke"]
    await fake.delete(handle)
    assert (await fake.inspect(handle)).state == base.GONE


async def test_loses_machine_when_told_then_it_is_gone(inner: MemoryProvider) -> None:
    fake, wanted = fakes.LosesMachine(inner), spec()
    handle = await fake.create(wanted)
    await fake.lose(wanted.machine_id)
    assert (await fake.inspect(handle)).state == base.GONE
    with pytest.raises(NotFound):
        await fake.lose(wanted.machine_id)


async def test_liar_when_nothing_is_there_any_more_then_still_says_running(inner: MemoryProvider) -> None:
    fake = fakes.Liar(inner)
    handle = await fake.create(spec())
    with pytest.raises(Unreachable):
        await fake.dial(handle, port=7070)
    await fake.delete(handle)
    assert (await fake.inspect(handle)).state == base.RUNNING
    assert (await inner.inspect(handle)).state == base.GONE


async def test_duplicates_when_made_then_both_are_listed_and_deleted_apart(inner: MemoryProvider) -> None:
    fake, wanted = fakes.Duplicates(inner), spec()
    handle = await fake.create(wanted)
    seen = await listed(fake)
    assert [one.machine_id for one in seen] == [wanted.machine_id] * 2
    twin = next(one.handle for one in seen if one.handle != handle)
    with pytest.raises(Unreachable):
        await fake.dial(twin, port=7070)
    await fake.delete(twin)
    assert [one.handle for one in await listed(fake)] == [handle]
    assert (await fake.inspect(Handle("memory", dict(twin.data)))).state == base.GONE
