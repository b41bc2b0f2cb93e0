"""Watching a router of one's own socket across its restarts: it is waited for, and not for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.unit.client.fake_router import Answer, FakeRouter, Seen

from cloudrouter import AsyncClient, Client
from cloudrouter.client import following, observing
from cloudrouter.client.transport import NotListening, Transport

Make = Callable[..., FakeRouter]
ABSENT_FOR = 2 * observing.ROUNDS
"""So often it is asked whether the router is back before it is."""


def answer(seen: Seen) -> Answer:
    if "/stats" in seen.path:
        return Answer(lines=[{"stats": []}])
    after = int(seen.path.rpartition("after=")[2])
    event = {"seq": after + 1, "at": "now", "kind": "k", "machine_id": None, "message": "", "data": {}}
    return Answer(lines=[event])


@dataclass
class Absent:
    """A router that can be taken away; it comes back after so many looks, or never."""

    router: FakeRouter
    looks: int = 0
    back: bool = True

    def revive(self, transport: Transport) -> None:
        transport.close()
        self.looks += 1
        if self.looks < ABSENT_FOR or not self.back:
            raise NotListening("No router is running.")
        if self.looks == ABSENT_FOR:
            os.unlink(self.router.path)
            self.router.start()


@pytest.fixture
def absent(fake_router: Make, monkeypatch: pytest.MonkeyPatch) -> Absent:
    monkeypatch.setattr(following, "PAUSES_S", (0.001,))
    made = Absent(fake_router(handle=answer))
    monkeypatch.setattr("cloudrouter.client.router.revive", made.revive)
    return made


def test_events_when_a_router_of_ones_own_is_away_then_go_on_once_it_is_back(absent: Absent) -> None:
    with Client(absent.router.path) as client:
        events = client.events(after=5, follow=True)
        assert next(events).seq == 6
        absent.router.stop()
        assert next(events).seq == 7
    assert absent.looks >= ABSENT_FOR


def test_stats_when_a_router_of_ones_own_is_away_then_go_on_once_it_is_back(absent: Absent) -> None:
    with Client(absent.router.path) as client:
        stats = client.follow_stats()
        assert next(stats) == []
        absent.router.stop()
        assert next(stats) == []
    assert absent.looks >= ABSENT_FOR


async def test_async_events_when_a_router_of_ones_own_is_away_then_go_on_once_it_is_back(absent: Absent) -> None:
    async with AsyncClient(absent.router.path) as client:
        events = client.events(after=5, follow=True)
        assert (await anext(events)).seq == 6
        absent.router.stop()
        assert (await anext(events)).seq == 7
    assert absent.looks >= ABSENT_FOR


async def test_async_stats_when_a_router_of_ones_own_is_away_then_go_on_once_it_is_back(absent: Absent) -> None:
    async with AsyncClient(absent.router.path) as client:
        stats = client.follow_stats()
        assert await anext(stats) == []
        absent.router.stop()
        assert await anext(stats) == []
    assert absent.looks >= ABSENT_FOR


async def test_watching_when_the_router_does_not_come_back_then_says_that_none_listens(
    absent: Absent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.1)
    absent.back = False
    absent.router.stop()
    with Client(absent.router.path) as client:
        for blocking in (client.events(after=5, follow=True), client.follow_stats()):
            with pytest.raises(NotListening):
                next(blocking)
    async with AsyncClient(absent.router.path) as awaiting:
        watched: Any
        for watched in (awaiting.events(after=5, follow=True), awaiting.follow_stats()):
            with pytest.raises(NotListening):
                await anext(watched)
    assert absent.looks > 4 * observing.ROUNDS


def test_patience_when_a_connection_was_made_then_an_absence_before_does_not_count() -> None:
    now = [0.0]
    patience = observing.Patience(lambda: now[0])
    gone = NotListening("No router is running.")
    for _ in range(5):
        patience.begin()
        patience.absence.pause(gone)
        now[0] += following.PATIENCE_S - 5
        patience.begin()
        now[0] += 10
        patience.ended(brought=False)  # it was connected for 10 s
    patience.begin()
    patience.absence.pause(gone)
    now[0] += following.PATIENCE_S + 1
    patience.begin()
    with pytest.raises(NotListening):
        patience.absence.pause(gone)
