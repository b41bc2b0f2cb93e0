"""The bridge: bytes both ways unchanged and held back, ends told to both sides, watchers held to watching."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from cloudrouter.server.gateway.desktop import bridge, rfb
from cloudrouter.wire.errors import NotRunning, Unreachable

GREETING = rfb.VERSION + b"\x01\x00"


@dataclass
class Viewing:
    view_only: bool = False


class Stream:
    """A stream into a machine, both ends of it."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.written = bytearray()
        self.arrived = asyncio.Event()
        self.closed = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    def write(self, data: bytes, /) -> None:
        self.written += data
        self.arrived.set()

    async def drain(self) -> None:
        await self.room.wait()

    def close(self) -> None:
        self.closed.set()

    async def open(self) -> tuple[Any, Any]:
        return self.reader, self

    async def until(self, size: int) -> bytes:
        """What was written, once it is this much."""
        while len(self.written) < size:
            self.arrived.clear()
            await self.arrived.wait()
        return bytes(self.written)


@dataclass
class Stage:
    url: str
    session: aiohttp.ClientSession
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def connect(self, **more: Any) -> Any:
        return self.session.ws_connect(self.url, protocols=("binary",), **more)


@asynccontextmanager
async def staged(open_stream: Callable[[], Awaitable[Any]], *, view_only: bool = False) -> AsyncIterator[Stage]:
    tasks: list[asyncio.Task[Any]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        return await bridge.run(request, Viewing(view_only), open_stream)

    app = web.Application()
    app.router.add_get("/websock", handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Stage(str(server.make_url("/websock")), session, tasks)


async def test_bridge_carries_bytes_both_ways() -> None:
    stream = Stream()
    async with staged(stream.open) as stage, stage.connect() as socket:
        assert socket.protocol == "binary"
        stream.reader.feed_data(rfb.VERSION)
        assert await socket.receive_bytes() == rfb.VERSION
        everything = bytes(range(256)) * 1000
        await socket.send_bytes(everything)
        assert await stream.until(len(everything)) == everything


async def test_bridge_tells_the_browser_when_the_stream_ends() -> None:
    stream = Stream()
    async with staged(stream.open) as stage, stage.connect() as socket:
        stream.reader.feed_data(b"last words")
        stream.reader.feed_eof()
        assert await socket.receive_bytes() == b"last words"
        assert (await socket.receive()).type is WSMsgType.CLOSE
        assert socket.close_code == bridge.TRY_AGAIN
        await stream.closed.wait()


async def test_bridge_closes_the_stream_when_the_browser_leaves() -> None:
    stream = Stream()
    async with staged(stream.open) as stage:
        async with stage.connect() as socket:
            stream.reader.feed_data(rfb.VERSION)
            await socket.receive_bytes()
        await stream.closed.wait()


async def test_bridge_gives_up_opening_when_the_browser_leaves() -> None:
    cancelled = asyncio.Event()

    async def never() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with staged(never) as stage:
        async with stage.connect():
            pass
        await cancelled.wait()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (Unreachable("The guest does not answer."), bridge.TRY_AGAIN, "The guest does not answer."),
        (NotRunning("It has crashed: " + "ä" * 200), bridge.NO_USE, "It has crashed: " + "ä" * 53),
        (ConnectionResetError(104, "Connection reset by peer"), bridge.TRY_AGAIN, "Connection reset by peer"),
    ],
)
async def test_bridge_says_why_the_desktop_cannot_be_opened(error: Exception, code: int, words: str) -> None:
    async def fails() -> Any:
        raise error

    async with staged(fails) as stage, stage.connect() as socket:
        message = await socket.receive()
        assert message.type is WSMsgType.CLOSE
        assert message.data == code
        assert words in message.extra


async def test_bridge_ends_both_sides_when_it_is_cancelled() -> None:
    stream = Stream()
    async with staged(stream.open) as stage, stage.connect() as socket:
        stream.reader.feed_data(rfb.VERSION)
        await socket.receive_bytes()
        stage.tasks[0].cancel()
        assert (await socket.receive()).type is WSMsgType.CLOSE
        await stream.closed.wait()


async def test_bridge_reads_no_further_than_the_machine_takes() -> None:
    stream = Stream()
    stream.room.clear()
    piece = bytes(256 * 1024)
    async with staged(stream.open) as stage, stage.connect() as socket:
        stream.reader.feed_data(rfb.VERSION)
        await socket.receive_bytes()

        async def flood() -> None:
            for _ in range(400):
                await socket.send_bytes(piece)

        flooding = asyncio.create_task(flood())
        await stream.until(1)
        # 100 MB are on offer, and the sender comes to rest long before it is through.
        resting = 0
        while resting < 20:
            before = len(stream.written)
            done, _ = await asyncio.wait((flooding,), timeout=0.02)
            assert not done
            resting = resting + 1 if len(stream.written) == before else 0
        assert len(stream.written) <= 2 * len(piece)
        stream.room.set()
        await flooding
        await stream.until(400 * len(piece))


async def test_bridge_reads_no_further_than_the_browser_takes() -> None:
    taken = 0

    class Endless:
        async def read(self, n: int = -1, /) -> bytes:
            nonlocal taken
            taken += n
            return bytes(n)

    stream = Stream()

    async def open_stream() -> Any:
        return Endless(), stream

    async with staged(open_stream) as stage, stage.connect() as socket:
        resting, before = 0, -1
        while resting < 20:  # the browser reads nothing: what is read from the machine comes to rest
            resting = resting + 1 if taken == before else 0
            before = taken
            await asyncio.wait((asyncio.ensure_future(stream.closed.wait()),), timeout=0.02)
        assert taken < 32 * 1024 * 1024
        await socket.receive_bytes()


async def test_bridge_refuses_text() -> None:
    stream = Stream()
    async with staged(stream.open) as stage, stage.connect() as socket:
        stream.reader.feed_data(rfb.VERSION)
        await socket.receive_bytes()
        await socket.send_str("RFB")
        await socket.receive()
        assert socket.close_code == bridge.NOT_BINARY
        assert not stream.written


async def test_bridge_lets_a_watcher_watch_and_not_type() -> None:
    stream = Stream()
    async with staged(stream.open, view_only=True) as stage, stage.connect() as socket:
        stream.reader.feed_data(rfb.VERSION)
        await socket.receive_bytes()
        request = b"\x03\1\0\0\0\0\x05\0\x03\x20"
        await socket.send_bytes(GREETING + b"\x04\x01\0\0\0\0\0a" + request[:4])
        await socket.send_bytes(request[4:] + b"\x06\0\0\0\0\0\0\x02rm")
        expected = rfb.VERSION + b"\x01\x01" + request
        assert await stream.until(len(expected)) == expected
        await socket.send_bytes(b"\x01")
        message = await socket.receive()
        assert message.data == bridge.REFUSED
        assert "watching only" in message.extra
        await stream.closed.wait()
        assert stream.written == expected


async def test_bridge_lets_others_type() -> None:
    stream = Stream()
    async with staged(stream.open) as stage, stage.connect() as socket:
        stream.reader.feed_data(rfb.VERSION)
        await socket.receive_bytes()
        key = b"\x04\x01\0\0\0\0\0a"
        await socket.send_bytes(GREETING + key)
        assert await stream.until(len(GREETING + key)) == GREETING + key
