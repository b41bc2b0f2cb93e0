"""Measuring machines: cpu from two counts, gaps where there is nothing to measure, all at once, until told to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cloudrouter.providers.base import Handle, Measurement
from cloudrouter.providers.errors import NotRunning
from cloudrouter.server.services import stats
from cloudrouter.server.services.stats import Stats, check_interval
from cloudrouter.server.store.machines import Row
from cloudrouter.wire.errors import UsageError

BLANK = dict.fromkeys(Row.__dataclass_fields__)


def make_row(machine_id: str, **values: Any) -> Row:
    usual = {"name": "", "state": "running", "provider": "p", "handle": {}, "cpu": 2.0, "memory_bytes": 100}
    return Row(**{**BLANK, **usual, "id": machine_id, **values})


class Fake:
    """A provider whose counts the test makes."""

    def __init__(self, answer: Callable[[int], Measurement]) -> None:
        self.answer = answer
        self.asked = 0
        self.at_once = self.most_at_once = 0

    async def measure(self, handle: Handle) -> Measurement:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return self.answer(self.asked)


@pytest.fixture(autouse=True)
def no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MOMENT_S", 0.0)


def make_stats(provider: Any) -> Stats:
    time = iter(range(10_000))
    context = SimpleNamespace(
        providers={"p": provider, "blind": object()}, clock=lambda: 0.0, handle=lambda row: Handle("p", {})
    )
    return Stats(context, monotonic=lambda: float(next(time)))  # type: ignore[arg-type]


async def test_cpu_when_counted_twice_then_is_the_difference_over_the_time() -> None:
    provider = Fake(lambda asked: Measurement(cpu_seconds=0.5 * asked, memory_bytes=7, processes=3))
    (usage,) = await make_stats(provider).now([make_row("a")])
    assert (usage.cpu, usage.memory_bytes, usage.processes, usage.disk_bytes) == (0.5, 7, 3, None)
    assert (usage.cpu_limit, usage.memory_limit_bytes) == (2.0, 100)


async def test_cpu_when_the_count_began_again_then_is_unknown_and_not_negative() -> None:
    provider = Fake(lambda asked: Measurement(cpu_seconds=10.0 / asked))
    (usage,) = await make_stats(provider).now([make_row("a")])
    assert usage.cpu is None


async def test_machines_when_they_do_not_run_or_cannot_be_measured_then_have_no_numbers() -> None:
    def refuse(_asked: int) -> Measurement:
        raise NotRunning("It stopped just now.")

    rows = [make_row("a", state="stopped"), make_row("b", provider="blind"), make_row("c"), make_row("d", handle=None)]
    provider = Fake(refuse)
    usages = await make_stats(provider).now(rows)
    assert [usage.id for usage in usages] == ["a", "b", "c", "d"]
    assert all(usage.cpu is None and usage.memory_bytes is None and usage.processes is None for usage in usages)
    assert provider.asked == 2  # c alone, twice


async def test_many_machines_when_measured_then_go_at_once_but_bounded() -> None:
    provider = Fake(lambda asked: Measurement(cpu_seconds=float(asked)))
    await make_stats(provider).now([make_row(str(number)) for number in range(50)])
    assert 1 < provider.most_at_once <= stats.AT_ONCE


async def test_following_when_machines_come_and_go_then_shows_those_there_are_and_ends_when_told() -> None:
    provider = Fake(lambda asked: Measurement(cpu_seconds=float(asked)))
    rows, ended = [make_row("a")], asyncio.Event()
    seen: list[list[str]] = []
    async for usages in make_stats(provider).follow(lambda: list(rows), interval_s=0.001, ended=ended):
        seen.append([usage.id for usage in usages])
        if len(seen) == 1:
            assert usages[0].cpu is not None
            rows.append(make_row("b"))
        elif len(seen) == 2:
            assert [usage.cpu is None for usage in usages] == [False, True]  # the new one has no count before
            rows.pop(0)
        else:
            ended.set()
    assert seen == [["a"], ["a", "b"], ["b"]]


@pytest.mark.parametrize("interval", [0.0, -1.0, 0.1, 1e9, float("nan")])
def test_interval_when_it_makes_no_sense_then_is_refused(interval: float) -> None:
    with pytest.raises(UsageError):
        check_interval(interval)
