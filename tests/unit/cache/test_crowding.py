"""A machine that asks for more than its part, and leaves: what it gets, and what the others still get."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import pytest
from tests.unit.cache.client import Tool
from tests.unit.cache.conftest import Setting
from tests.unit.cache.test_keeping import BODY, TARBALL, packument, sha512

from cloudrouter.cache import digests, door, fills, limits
from cloudrouter.wire.packages import NPM


class Peers:
    """Says which machine the next connection comes from."""

    def __init__(self) -> None:
        self.name = "hostile"

    def __call__(self, _socket: object) -> str:
        return self.name


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Peers:
    made = Peers()
    monkeypatch.setattr(door, "peer_of", made)
    return made


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def until_waiting(setting: Setting, number: int) -> None:
    """Until so many requests of the hostile machine wait for their turn."""
    ways = setting.cache.limits._ways
    await until(lambda: (ways["hostile"].waiting if "hostile" in ways else 0) == number)


def send(tool: Tool, target: str) -> None:
    tool.writer.write(f"GET {target} HTTP/1.1\r\nHost: {NPM}\r\n\r\n".encode())


def slow(setting: Setting, target: str) -> asyncio.Event:
    return setting.registry.serve_slowly(target, [b"s" * 1000], length=1000)[0]


@pytest.mark.parametrize("shape", ["/p{}/-/p{}-1.0.0.tgz", "/-/slow{}?{}"])
async def test_connections_when_closed_again_and_again_then_their_machine_gets_no_more_ways_out(
    setting: Setting, peers: Peers, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    monkeypatch.setattr(limits, "PEER_WAYS_OUT", 2)
    monkeypatch.setattr(limits, "TOTAL_WAYS_OUT", 4)
    await setting.close()
    await setting.open()
    kept = "-1.0.0" in shape
    for number in range(4):
        targets = [shape.format(f"{number}{one}", f"{number}{one}") for one in range(6)]
        before = len(setting.registry.requests)
        tools = [await setting.tool() for _ in targets]
        for tool, target in zip(tools, targets, strict=True):
            slow(setting, target)
            send(tool, target)
        await until_waiting(setting, 6 if kept and number else 4)
        for tool in tools:
            await tool.close()
        await until(lambda: not setting.cache.limits._open.total())
        await until_waiting(setting, 0)
        # What is for everybody goes on, with the way out that it has; what was for this tool alone ends.
        assert len(setting.registry.requests) - before == (0 if kept and number else 2)
    helping = setting.cache.fills._helping
    await until(lambda: len(helping) == (4 if kept else 0))
    peers.name = "good"
    setting.registry.serve(TARBALL, BODY)
    assert (await setting.get(TARBALL)).body == BODY


async def test_a_download_when_the_machine_that_began_it_has_left_then_another_gets_it_whole(
    setting: Setting, peers: Peers
) -> None:
    event = slow(setting, TARBALL)
    leaver = await setting.tool()
    send(leaver, TARBALL)
    await until(lambda: setting.registry.count(TARBALL) == 1)
    peers.name = "good"
    staying = await setting.tool()
    asked = asyncio.create_task(staying.ask(TARBALL))
    await until(lambda: setting.cache.fills.get_running(TARBALL)[0].readers == 2)
    await leaver.close()
    await until(lambda: setting.cache.fills.get_running(TARBALL)[0].readers == 1)
    event.set()
    assert (await asked).body == b"s" * 1000
    assert setting.registry.count(TARBALL) == 1


async def test_a_machine_when_too_many_of_its_requests_wait_then_the_next_is_told_to_come_again(
    setting: Setting, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PEER_WAYS_OUT", 1)
    monkeypatch.setattr(limits, "PEER_WAITING", 2)
    event = slow(setting, "/-/slow")
    holding, *queueing = [await setting.tool() for _ in range(3)]
    send(holding, "/-/slow")
    await until(lambda: setting.registry.count("/-/slow") == 1)
    for number, tool in enumerate(queueing):
        setting.registry.serve(f"/q{number}", b"{}")
        send(tool, f"/q{number}")
    await until_waiting(setting, 2)
    setting.registry.serve(TARBALL, BODY)
    for target in (TARBALL, "/-/ping"):
        refused = await setting.get(target)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    peers.name = "good"
    assert (await setting.get(TARBALL)).body == BODY
    event.set()
    assert [(await tool.head()).status for tool in queueing] == [200, 200]
    await until(lambda: not setting.cache.limits._ways)


async def test_a_reader_who_may_not_wait_when_the_one_who_waits_leaves_then_hears_of_it(
    setting: Setting, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PEER_WAYS_OUT", 1)
    monkeypatch.setattr(limits, "PEER_WAITING", 1)
    slow(setting, "/-/slow")
    holding, leaver, other = [await setting.tool() for _ in range(3)]
    send(holding, "/-/slow")
    await until(lambda: setting.registry.count("/-/slow") == 1)
    send(leaver, TARBALL)
    await until_waiting(setting, 1)
    asked = asyncio.create_task(other.ask(TARBALL))
    await until(lambda: setting.cache.fills.get_running(TARBALL)[0].readers == 2)
    await leaver.close()
    assert (await asked).status == 503


async def test_large_files_when_many_come_at_once_then_the_disk_holds_no_more_than_the_bound(setting: Setting) -> None:
    await setting.close()
    await setting.open(bound=4 * 1024 * 1024)
    names = [f"/p{number}/-/p{number}-1.0.0.tgz" for number in range(12)]
    body = os.urandom(900_000)
    events = [setting.registry.serve_slowly(name, [body[:800_000], body[800_000:]], length=900_000) for name in names]
    asked = [asyncio.create_task(setting.get(name)) for name in names]
    for first, _ in events:
        first.set()
    await until(lambda: all(setting.registry.count(name) for name in names))
    store = setting.folder / "store"

    def on_disk() -> int:
        return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())

    await until(lambda: on_disk() >= 1_600_000)
    assert on_disk() <= 2 * 1024 * 1024
    for _, last in events:
        last.set()
    answers = await asyncio.gather(*asked)
    assert {answer.body for answer in answers} == {body}
    assert sorted(answer.word for answer in answers) == ["miss"] * 2 + ["pass"] * 10
    assert setting.cache.store.used == setting.cache.store.bytes


async def test_metadata_when_it_cannot_be_looked_into_in_time_then_nobody_waits_for_it(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(*_words: object, **_named: object) -> None:
        time.sleep(0.5)  # in a thread, as a page that takes long would keep it

    monkeypatch.setattr(fills, "LOOK_S", 0.05)
    monkeypatch.setattr(digests, "find_described", stuck)
    setting.registry.serve("/left-pad", packument(sha512(BODY)))
    await setting.get("/left-pad")
    setting.registry.serve(TARBALL, BODY)
    began = time.monotonic()
    assert (await setting.get(TARBALL)).body == BODY
    assert time.monotonic() - began < 0.4
