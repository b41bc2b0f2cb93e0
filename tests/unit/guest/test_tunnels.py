"""Tunnels to ports inside the machine."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.unit.guest.machine import Machine, Outcome, finish, send

from cloudrouter.wire.streams import CHUNK, WINDOW

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[int]:
    async with await asyncio.start_server(serve, host, 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_bytes_when_sent_then_go_both_ways_and_each_side_may_end_first(shared: Machine) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = await reader.read()  # to the end of the opener's half
        writer.write(b"after your end: " + whole)
        await writer.drain()
        writer.close()

    async with listening(serve) as port:
        outcome = await shared.ask({"op": "tcp", "port": port}, b"hel", b"lo", {"eof": True})
    assert outcome.stdout == b"after your end: hello"
    assert outcome.texts == [{"started": {}}, {"eof": True}, {"end": {}}]


async def test_the_servers_end_when_first_then_the_opener_may_go_on(shared: Machine) -> None:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        got.set_result(await reader.read())
        writer.close()

    async with listening(serve) as port, shared.connect() as stream:
        await send(stream, {"op": "tcp", "port": port})
        outcome = Outcome()
        while {"eof": True} not in outcome.texts:
            outcome.take(await stream.recv())
        await send(stream, b"still here", {"eof": True})
        await finish(stream, outcome)
        assert await got == b"still here"
    assert outcome.stdout == b"bye"


async def test_much_data_when_echoed_then_is_whole(shared: Machine) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    data = os.urandom(8_000_000)
    async with listening(serve) as port, shared.connect() as stream:
        await send(stream, {"op": "tcp", "port": port, "host": "127.0.0.1"})
        outcome, credit = Outcome(), [WINDOW]
        more = asyncio.Event()

        async def feed() -> None:
            for at in range(0, len(data), 100_000):
                piece = data[at : at + 100_000]
                while credit[0] < len(piece):
                    more.clear()
                    await more.wait()
                credit[0] -= len(piece)
                await stream.send(piece)
            await send(stream, {"eof": True})

        feeding = asyncio.create_task(feed())
        async for message in stream:
            outcome.take(message)
            if isinstance(message, str):
                credit[0] += outcome.texts[-1].get("window", 0)
                more.set()
        await feeding
    assert hashlib.sha256(outcome.stdout).digest() == hashlib.sha256(data).digest()


async def test_no_host_when_only_ipv6_listens_then_is_found(shared: Machine) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"six")
        writer.close()

    try:
        async with listening(serve, "::1") as port:
            outcome = await shared.ask({"op": "tcp", "port": port}, {"eof": True})
    except OSError:
        pytest.skip("this host has no ::1")
    assert outcome.stdout == b"six"


async def test_a_port_when_nobody_listens_then_is_unreachable(shared: Machine) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        outcome = await shared.ask({"op": "tcp", "port": sock.getsockname()[1]})
    assert outcome.error["code"] == "unreachable"
    assert "refused" in outcome.error["message"]


async def test_a_reset_when_the_server_sends_one_then_the_tunnel_ends(shared: Machine) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()

    async with listening(serve) as port:
        outcome = await shared.ask({"op": "tcp", "port": port}, b"x")
    assert "end" in outcome.final


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"port": 0},
        {"port": 65536},
        {"port": "80"},
        {"port": True},
        {"port": 80, "host": "0.0.0.0"},
        {"port": 80, "host": "10.0.0.1"},
        {"port": 80, "host": "localhost"},
        {"port": 80, "host": ["::1"]},
    ],
)
async def test_a_target_when_it_is_not_inside_then_is_refused(shared: Machine, fields: dict[str, object]) -> None:
    assert (await shared.ask({"op": "tcp", **fields})).error["code"] == "usage"


async def test_a_disconnect_when_a_tunnel_is_open_then_the_server_sees_it(shared: Machine) -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()
        writer.close()

    async with listening(serve) as port:
        async with shared.connect() as stream:
            await send(stream, {"op": "tcp", "port": port})
            await stream.recv()
            stream.transport.abort()
        async with asyncio.timeout(10):
            await ended.wait()
