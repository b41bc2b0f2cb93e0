"""Following events: every one once and in order, whenever the follower begins, whatever it wants to see."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.server.services.events import EventLog
from cloudrouter.server.store.database import open_database
from cloudrouter.server.store.events import EventStore


class Log:
    """An event log on a database of its own."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.events = EventLog(store, lambda: 1000.0)
        self.ended = asyncio.Event()

    async def follow(self, after: int, count: int, **wanted: Any) -> list[dict[str, Any]]:
        """The next so many events."""
        found: list[dict[str, Any]] = []
        events = self.events.follow(after, ended=self.ended, **wanted)
        try:
            async with asyncio.timeout(20):
                async for event in events:
                    found.append(event)
                    if len(found) == count:
                        break
        finally:
            await events.aclose()  # type: ignore[attr-defined]
        return found


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    engine = await open_database(str(tmp_path / "router.db"))
    made = Log(EventStore(engine))
    made.events.start()
    try:
        yield made
    finally:
        await made.events.aclose()
        await engine.dispose()


async def test_followers_when_they_begin_at_any_time_then_each_sees_every_event_once_in_order(log: Log) -> None:
    async def emit() -> None:
        for number in range(60):
            log.events.emit("machine.test", str(number), machine_id=f"cr_{number % 3}")
            await asyncio.sleep(random.Random(number).uniform(0, 0.003))

    async def follow(delay: float) -> list[str]:
        await asyncio.sleep(delay)
        return [event["message"] for event in await log.follow(0, 60)]

    _done, *seen = await asyncio.gather(emit(), *(follow(0.02 * number) for number in range(6)))
    assert all(messages == [str(number) for number in range(60)] for messages in seen)


async def test_a_follower_when_cut_and_begun_again_behind_its_last_then_misses_nothing(log: Log) -> None:
    for number in range(10):
        log.events.emit("machine.test", str(number))
    first = await log.follow(0, 4)
    rest = await log.follow(first[-1]["seq"], 6)
    assert [event["message"] for event in [*first, *rest]] == [str(number) for number in range(10)]


async def test_a_follower_when_it_wants_one_machine_or_kind_then_sees_nothing_else(log: Log) -> None:
    for number in range(6):
        log.events.emit(f"machine.{'even' if number % 2 == 0 else 'odd'}", str(number), machine_id=f"cr_{number}")
    log.events.emit("machine_even", "not a pattern's _")
    assert [event["message"] for event in await log.follow(0, 3, kind="machine.e*")] == ["0", "2", "4"]
    assert [event["message"] for event in await log.follow(0, 1, machine_id="cr_3")] == ["3"]
    assert [event["message"] for event in await log.follow(0, 1, kind="machine_e*")] == ["not a pattern's _"]
    assert [event["message"] for event in await log.follow(0, 1, kind="machine.?dd", machine_id="cr_5")] == ["5"]


async def test_a_follower_when_the_router_ends_then_ends_too(log: Log) -> None:
    following = asyncio.create_task(log.follow(0, 1))
    await asyncio.sleep(0)
    log.ended.set()
    assert await following == []


async def test_newest_and_since_when_asked_then_give_that_part(log: Log) -> None:
    for number in range(5):
        log.events.emit("machine.test", str(number))
    await log.follow(0, 5)
    assert [event["message"] for event in await log.store.newest(2)] == ["3", "4"]
    assert await log.store.after(0, since=1000.5) == []
    assert len(await log.store.after(0, since=1000.0)) == 5
    assert await log.store.last_seq() == (await log.store.newest(1))[0]["seq"]
