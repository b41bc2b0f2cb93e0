"""The SDK's attachments to jobs whose streams break: bounded reconnecting, and signals that are not lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.unit.client.fake_router import FakeRouter
from tests.unit.client.test_following import TEXT, TIMEOUT_S, Job
from websockets.sync.server import ServerConnection

from cloudrouter import AsyncAttachment
from cloudrouter.client import following
from cloudrouter.client.aio.link import Link
from cloudrouter.client.attaching import Attachment
from cloudrouter.client.transport import Transport
from cloudrouter.wire.errors import Unreachable, UsageError

Make = Callable[..., FakeRouter]
REQUEST = {"op": "job.attach", "job": "job_4tq8w2"}
STARTED = json.dumps({"started": {"job": "job_4tq8w2", "position": 0, "stdin": False}})
EXIT = json.dumps({"exit": {"job": "job_4tq8w2", "state": "exited", "code": 3}})
MANY = 300


@pytest.fixture
async def join() -> AsyncIterator[Callable[[FakeRouter], Any]]:
    """Take up the job on the event loop: `await join(router)`."""
    links: list[Link] = []

    async def attach(router: FakeRouter) -> AsyncAttachment:
        links.append(Link(router.path))
        return await AsyncAttachment.begin_at(links[-1], "x", REQUEST, "logs")

    yield attach
    for link in links:
        await link.close()


def attach(router: FakeRouter) -> Attachment:
    return Attachment(Transport(router.path), "x", REQUEST, "logs")


# -- a machine that takes each stream up and drops it ----------------------------------------------------------------


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.3)
    monkeypatch.setattr(following, "PAUSES_S", (0.01,))


@pytest.mark.usefixtures("little_patience")
def test_attachment_when_each_stream_begins_and_breaks_then_pauses_and_gives_up(fake_router: Make) -> None:
    job = Job([1] * MANY)
    with attach(fake_router(talk=job.talk)) as attachment, pytest.raises(Unreachable):
        attachment.wait()
    assert 2 < len(job.requests) <= 0.3 / 0.01 + 2


@pytest.mark.usefixtures("little_patience")
async def test_async_attachment_when_each_stream_begins_and_breaks_then_pauses_and_gives_up(
    fake_router: Make, join: Callable[[FakeRouter], Any]
) -> None:
    job = Job([1] * MANY)
    async with await join(fake_router(talk=job.talk)) as attachment:
        with pytest.raises(Unreachable):
            await attachment.wait()
    assert 2 < len(job.requests) <= 0.3 / 0.01 + 2


@pytest.fixture
def slow_breaks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of every Patience: breaks come 20 s apart, so that the third one at the same place is the last."""
    now = [0.0]

    def tick(self: following.Patience, error: Unreachable, at: object = None) -> float:
        now[0] += 20.0
        self._clock = lambda: now[0]
        return pause(self, error, at)

    pause = following.Patience.pause
    monkeypatch.setattr(following, "PAUSES_S", (0.0,))
    monkeypatch.setattr(following.Patience, "begin", lambda self: setattr(self, "_began", now[0]))
    monkeypatch.setattr(following.Patience, "pause", tick)
    return now


def test_attachment_when_each_stream_brings_something_then_never_gives_up(
    fake_router: Make, slow_breaks: list[float]
) -> None:
    job = Job([3] * 9)  # started, position, output
    with attach(fake_router(talk=job.talk)) as attachment:
        assert attachment.wait().stdout == TEXT
    assert slow_breaks[0] > 5 * following.PATIENCE_S


async def test_async_attachment_when_each_stream_brings_something_then_never_gives_up(
    fake_router: Make, slow_breaks: list[float], join: Callable[[FakeRouter], Any]
) -> None:
    job = Job([3] * 9)
    async with await join(fake_router(talk=job.talk)) as attachment:
        assert (await attachment.wait()).stdout == TEXT
    assert slow_breaks[0] > 5 * following.PATIENCE_S


# -- signals ---------------------------------------------------------------------------------------------------------


class Signalled:
    """A job that ends at its signal; its first stream is broken in one of two ways once its output is read."""

    def __init__(self, *, goodbye: bool) -> None:
        self.goodbye = goodbye
        self.read = threading.Event()
        self.broken = threading.Event()
        self.streams = 0
        self.got: list[dict[str, Any]] = []

    def talk(self, connection: ServerConnection, _path: str) -> None:
        connection.recv(TIMEOUT_S)
        self.streams += 1
        connection.send(STARTED)
        if self.streams > 1:
            self.got.append(json.loads(connection.recv(TIMEOUT_S)))
            connection.send(EXIT)
            return
        connection.send(b"\x01up")
        self.read.wait(TIMEOUT_S)
        if self.goodbye:
            # A client that let go at once is not there to hear it.
            with connection.protocol_mutex, contextlib.suppress(ConnectionError):
                connection.protocol.send_close(1001, "going")
                connection.send_data()
        else:
            connection.socket.shutdown(socket.SHUT_RDWR)
        self.broken.set()
        while True:
            connection.recv(TIMEOUT_S)  # heard by nobody, until the connection is over


@pytest.fixture(params=[False, True], ids=["cut", "goodbye"])
def job(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Signalled:
    monkeypatch.setattr(following, "PAUSES_S", (0.0,))
    return Signalled(goodbye=request.param)


def test_signal_when_the_stream_is_broken_then_goes_over_another_one(fake_router: Make, job: Signalled) -> None:
    with attach(fake_router(talk=job.talk)) as attachment:
        assert next(iter(attachment)).data == b"up"
        job.read.set()
        assert job.broken.wait(TIMEOUT_S)
        attachment.send_signal("SIGint")
        assert attachment.wait().exit_code == 3
    assert (job.got, job.streams) == ([{"signal": "INT"}], 2)


async def test_async_signal_when_the_stream_is_broken_then_goes_over_another_one(
    fake_router: Make, job: Signalled, join: Callable[[FakeRouter], Any]
) -> None:
    async with await join(fake_router(talk=job.talk)) as attachment:
        assert (await anext(aiter(attachment))).data == b"up"
        job.read.set()
        assert await asyncio.to_thread(job.broken.wait, TIMEOUT_S)
        await attachment.send_signal("SIGint")
        assert (await asyncio.wait_for(attachment.wait(), TIMEOUT_S)).exit_code == 3
    assert (job.got, job.streams) == ([{"signal": "INT"}], 2)


async def test_async_signal_when_another_task_reads_then_goes_over_the_next_stream(
    fake_router: Make, job: Signalled, join: Callable[[FakeRouter], Any]
) -> None:
    async with await join(fake_router(talk=job.talk)) as attachment:
        reading = asyncio.create_task(attachment.wait())
        job.read.set()
        assert await asyncio.to_thread(job.broken.wait, TIMEOUT_S)
        await attachment.send_signal("TERM")
        assert (await asyncio.wait_for(reading, TIMEOUT_S)).exit_code == 3
    assert (job.got, job.streams) == ([{"signal": "TERM"}], 2)


def test_signal_when_it_is_none_or_the_job_was_let_go_then_says_so(fake_router: Make, job: Signalled) -> None:
    job.read.set()
    attachment = attach(fake_router(talk=job.talk))
    with pytest.raises(UsageError):
        attachment.send_signal("NOPE")
    attachment.close()
    with pytest.raises(Unreachable):
        attachment.send_signal("INT")
    assert job.streams <= 1


async def test_async_signal_when_it_is_none_or_the_job_was_let_go_then_says_so(
    fake_router: Make, job: Signalled, join: Callable[[FakeRouter], Any]
) -> None:
    job.read.set()
    attachment = await join(fake_router(talk=job.talk))
    with pytest.raises(UsageError):
        await attachment.send_signal("NOPE")
    await attachment.close()
    with pytest.raises(Unreachable):
        await attachment.send_signal("INT")
    assert job.streams <= 1
