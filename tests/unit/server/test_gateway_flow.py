"""Connections through the gateway, and long bodies: used again, held back, ended with whoever leaves."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from tests.unit.server.gateway_visits import Visit, raw_visit, visit
from tests.unit.server.gateway_world import (
    World,
    echo_request,
    read_answer,
    world,
)

from cloudrouter.server.gateway import exchange

MIB = 1024 * 1024


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


# -- connections -------------------------------------------------------------------------------------------------------


async def test_connections_are_used_again_on_both_sides(here: World) -> None:
    async with visit(here, echo_request) as person:
        reader, writer = await here.connect()
        for _ in range(10):
            writer.write(person.head())
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(read_answer(head).one("Content-Length")))
        writer.close()
        assert len([one for one in here.guest.requests if one["op"] == "tcp"]) == 1


async def test_an_idle_connection_into_a_machine_is_closed(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "KEPT_IDLE_S", 0.05)
    async with visit(here, echo_request) as person:
        await person.ask()
        async with asyncio.timeout(10):
            while here.guest.tunnels:
                await asyncio.sleep(0.01)


async def test_requests_beyond_the_bound_wait_their_turn(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MOST_PER_TARGET", 3)
    async with visit(here, echo_request) as person:
        answers = await asyncio.gather(*(person.ask() for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert here.guest.most_tunnels <= 3


async def test_a_kept_connection_that_just_ended_is_noticed(here: World) -> None:
    served = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.readuntil(b"\r\n\r\n")
        served += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")  # and goes without a word, as a server does whose time is up

    async with raw_visit(here, once) as person:
        for _ in range(4):
            assert (await person.ask()).body == b"x"
    assert served == 4


async def test_a_browser_that_leaves_ends_the_request_inside(here: World) -> None:
    ended = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        said = web.StreamResponse()
        await said.prepare(request)
        try:
            while True:
                await said.write(b"x")
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            ended.set()
            raise

    async with visit(here, slow) as person:
        reader, writer = await here.connect()
        writer.write(person.head())
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        async with asyncio.timeout(10):
            await ended.wait()
            while here.guest.tunnels:
                await asyncio.sleep(0.01)


async def test_a_browser_that_leaves_before_the_answer_ends_the_request_inside(here: World) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until it is ended

    async with raw_visit(here, silent) as person:
        _reader, writer = await here.connect()
        writer.write(person.head())
        async with asyncio.timeout(10):
            while not here.guest.tunnels:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while here.guest.tunnels:
                await asyncio.sleep(0.01)


# -- bodies ------------------------------------------------------------------------------------------------------------


async def test_a_long_download_arrives_as_it_was(here: World) -> None:
    piece = bytes(range(256)) * 1024

    async def long(request: web.Request) -> web.StreamResponse:
        said = web.StreamResponse(headers={"Content-Length": str(len(piece) * 120 + 7)})
        await said.prepare(request)
        for _ in range(120):
            await said.write(piece)
        await said.write(b"the end")
        return said

    expected = hashlib.sha256(piece * 120 + b"the end").hexdigest()
    async with visit(here, long) as person, person.client() as client:
        for _ in range(3):
            async with client.get(person.origin) as answer:
                got = hashlib.sha256()
                async for data in answer.content.iter_any():
                    got.update(data)
                assert got.hexdigest() == expected
    # A long body does not cost the connection.
    assert len([one for one in here.guest.requests if one["op"] == "tcp"]) == 1


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_long_upload_arrives_as_it_was(here: World, chunked: bool) -> None:
    piece = bytes(range(256)) * 1024

    async def take(request: web.Request) -> web.Response:
        got, size = hashlib.sha256(), 0
        async for data in request.content.iter_any():
            got.update(data)
            size += len(data)
        coding = request.headers.get("Transfer-Encoding", request.headers.get("Content-Length"))
        return web.Response(text=json.dumps([got.hexdigest(), size, coding]))

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield piece

    size = len(piece) * 100
    async with visit(here, take) as person, person.client() as client:
        headers = {} if chunked else {"Content-Length": str(size)}
        async with client.post(person.origin, data=pieces(), headers=headers) as answer:
            told = await answer.json(content_type=None)
    assert told == [hashlib.sha256(piece * 100).hexdigest(), size, "chunked" if chunked else str(size)]
    assert here.guest.broken == ""


async def test_a_browser_that_does_not_read_holds_the_server_back(here: World) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        said = web.StreamResponse(headers={"Content-Length": str(4096 * MIB)})
        await said.prepare(request)
        while True:
            await said.write(b"x" * MIB)
            sent += 1

    async with visit(here, endless) as person:
        reader, writer = await here.connect()
        writer.write(person.head())
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        before = -1
        async with asyncio.timeout(30):
            while before != sent:
                before = sent
                await asyncio.sleep(0.5)
        assert sent < 100
        writer.transport.resume_reading()
        for _ in range(3 * sent):
            await reader.readexactly(MIB)
        writer.transport.abort()
    assert sent > before


async def test_a_server_that_does_not_read_holds_the_browser_back(here: World) -> None:
    reading = asyncio.Event()

    async def lazy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reading.wait()
        await reader.readexactly(200 * MIB)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    async with raw_visit(here, lazy) as person:
        reader, writer = await here.connect()
        writer.write(person.head("POST", more=f"Content-Length: {200 * MIB}\r\n"))
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 200:
                writer.write(bytes(MIB))
                async with asyncio.timeout(1.0):
                    await writer.drain()
                sent += 1
        assert sent < 100
        reading.set()
        for _ in range(200 - sent - 1):
            writer.write(bytes(MIB))
            await writer.drain()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
    assert here.guest.broken == ""


async def test_who_asks_whether_to_send_is_told_once_the_server_is_there(here: World) -> None:
    async with visit(here, echo_request) as person:
        reader, writer = await here.connect()
        writer.write(person.head("POST", more="Expect: 100-continue\r\nContent-Length: 5\r\n"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        answer = read_answer(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(int(answer.one("Content-Length")))
        assert (json.loads(body)["length"], "expect" in body.decode().lower()) == (5, False)
        writer.close()
    nobody = Visit(here, person.machine, 1, await here.cookie(person.machine, 1))
    said = await here.speak(
        nobody.head("POST", more="Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n")
    )
    assert said.startswith(b"HTTP/1.1 502")


async def test_events_arrive_when_they_happen(here: World) -> None:
    go_on = asyncio.Queue[bytes]()

    async def events(request: web.Request) -> web.StreamResponse:
        said = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await said.prepare(request)
        while data := await go_on.get():
            await said.write(data)
        return said

    async with visit(here, events) as person, person.client() as client, client.get(person.origin) as answer:
        for number in range(3):
            go_on.put_nowait(b"data: %d\n\n" % number)
            async with asyncio.timeout(5):
                assert await answer.content.readany() == b"data: %d\n\n" % number
        go_on.put_nowait(b"")
        assert await answer.content.read() == b""
