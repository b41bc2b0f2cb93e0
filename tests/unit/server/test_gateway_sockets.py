"""WebSockets through the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.unit.server.gateway_visits import raw_visit, visit
from tests.unit.server.gateway_world import (
    World,
    world,
)

from cloudrouter.wire import states

MIB = 1024 * 1024


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


# -- WebSockets --------------------------------------------------------------------------------------------------------


async def socket_echo(request: web.Request) -> web.WebSocketResponse:
    """Says everything back; `close` ends with a code of its own."""
    socket = web.WebSocketResponse(protocols=("second", "first"), compress=False, max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.data == "close":
            await socket.close(code=4321, message=b"enough")
        elif message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    return socket


async def test_websockets_pass_as_they_are(here: World) -> None:
    async with visit(here, socket_echo) as person, person.client() as client:
        own = {"Origin": person.origin}
        async with client.ws_connect(
            person.origin, headers=own, protocols=("first", "third"), max_msg_size=0
        ) as socket:
            assert socket.protocol == "first"
            await socket.send_str("grüß")
            assert await socket.receive_str() == "grüß"
            large = bytes(range(256)) * 40_000
            for _ in range(3):
                await socket.send_bytes(large)
                assert await socket.receive_bytes() == large
            await socket.ping(b"there?")
            await socket.send_str("close")
            last = await socket.receive()
            assert (last.type, last.data, last.extra) == (aiohttp.WSMsgType.CLOSE, 4321, "enough")
    assert here.guest.broken == ""
    async with asyncio.timeout(10):
        while here.guest.tunnels:
            await asyncio.sleep(0.01)


async def test_a_websocket_ends_inside_when_its_browser_leaves(here: World) -> None:
    codes = asyncio.Queue[int | None]()

    async def note(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        codes.put_nowait(socket.close_code)
        return socket

    async with visit(here, note) as person, person.client() as client:
        async with client.ws_connect(person.origin, headers={"Origin": person.origin}) as socket:
            await socket.close(code=4000)
        async with asyncio.timeout(10):
            assert await codes.get() == 4000
        socket = await client.ws_connect(person.origin, headers={"Origin": person.origin})
        socket._response.connection.transport.abort()  # type: ignore[union-attr]
        async with asyncio.timeout(10):
            assert await codes.get() == 1006
            while here.gateway._listener._server.connections:  # aiohttp has let go of them as well
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("ending", [states.STOPPED, states.GONE, "closed"])
async def test_open_websockets_end_with_their_machine(here: World, ending: str) -> None:
    async with visit(here, socket_echo) as person, person.client() as client:
        socket = await client.ws_connect(person.origin, headers={"Origin": person.origin})
        await socket.send_str("x")
        await socket.receive_str()
        if ending == "closed":
            await here.doors.close("me", person.machine.id)
        else:
            await here.end(person.machine, ending)
        async with asyncio.timeout(10):
            assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


async def test_a_download_ends_with_its_machine(here: World) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        said = web.StreamResponse(headers={"Content-Length": str(4096 * MIB)})
        await said.prepare(request)
        while True:
            await said.write(b"x" * MIB)

    async with visit(here, endless) as person, person.client() as client, client.get(person.origin) as answer:
        await answer.content.readexactly(10 * MIB)
        await here.end(person.machine, states.STOPPED)
        with pytest.raises(aiohttp.ClientError):
            async with asyncio.timeout(10):
                while await answer.content.readany():
                    continue


async def test_a_server_that_wants_no_websocket_says_so(here: World) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=426, text="no sockets", headers={"Upgrade": "other"})

    async with visit(here, refuse) as person, person.client() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect(person.origin, headers={"Origin": person.origin})
    assert caught.value.status == 426


async def test_a_switch_to_something_else_is_refused(here: World) -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nraw"
    async with raw_visit(here, answer) as person:
        more = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
        async with asyncio.timeout(10):
            reader, writer = await here.connect()
            writer.write(person.head(more=more))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 502")
            writer.close()


async def test_bytes_right_behind_the_handshake_are_not_lost(here: World) -> None:
    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: x\r\nSet-Cookie: a=1; Domain=localhost\r\n\r\nfirst"
        )
        assert await reader.readexactly(5) == b"early"
        writer.write(b"second")
        await writer.drain()

    async with raw_visit(here, eager) as person:
        more = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
        async with asyncio.timeout(10):
            said = await here.speak(person.head(more=more) + b"early")
    assert said.endswith(b"\r\n\r\nfirstsecond")
    assert b"Set-Cookie: a=1\r\n" in said
