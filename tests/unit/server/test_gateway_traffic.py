"""What passes through the gateway: bodies, streams, WebSockets, headers, and what is not let through."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.unit.server.gateway_world import (
    NAVIGATION,
    OWN,
    FakeApp,
    World,
    echo_request,
    heard,
    inner_server,
    read_answer,
    world,
)
from tests.unit.server.tls import ask_over_tls, cookie_over_tls, make_certificate

from cloudrouter.server.gateway import exchange
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import boot, states
from cloudrouter.wire.doors import OpenDoor
from cloudrouter.wire.errors import NotConfigured, NotFound, NotRunning, Unreachable, UsageError

MIB = 1024 * 1024


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


class Visit:
    """A browser that was let in at one place."""

    def __init__(self, here: World, machine: Row, port: int | str, cookie: str) -> None:
        self.here, self.machine = here, machine
        self.origin = here.origin(machine, port)
        self.headers = {**OWN, "Cookie": cookie}

    async def ask(self, method: str = "GET", path: str = "/", headers: Any = None, **options: Any) -> Any:
        """One request, its answer read whole."""
        return await self.here.ask(method, self.origin + path, {**self.headers, **(headers or {})}, **options)

    def head(self, method: str = "GET", path: str = "/", more: str = "") -> bytes:
        """A request's head; the connection stays."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.origin.partition('://')[2]}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n" + more.encode() + b"\r\n"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """aiohttp's client, which finds the gateway under any name."""

        class Resolver(aiohttp.abc.AbstractResolver):
            async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
                return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

            async def close(self) -> None:
                return

        connector = aiohttp.TCPConnector(resolver=Resolver())
        async with aiohttp.ClientSession(connector=connector, headers=self.headers, auto_decompress=False) as session:
            yield session


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def visit(here: World, handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[Visit]:
    """A server inside a machine, and somebody who looks at it."""
    async with inner_server(handler, host) as port:
        machine = await here.machine()
        yield Visit(here, machine, port, await here.cookie(machine, port))


@asynccontextmanager
async def raw_visit(here: World, answer: bytes | Callable[..., Awaitable[None]]) -> AsyncIterator[Visit]:
    """As `visit`, with a server that says these bytes to the first request and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if callable(answer):
            await answer(reader, writer)
        else:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        machine = await here.machine()
        yield Visit(here, machine, port, await here.cookie(machine, port))


# -- requests and answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_server_on_either_loopback_is_reached(here: World, host: str) -> None:
    async with visit(here, echo_request, host) as person:
        assert (await person.ask()).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_methods_and_targets_arrive_as_they_were_sent(here: World, method: str) -> None:
    targets: list[tuple[str, str]] = []

    async def note(request: web.Request) -> web.Response:
        targets.append((request.method, request.raw_path))
        return web.Response(text="x")

    target = "/%2e%2e/a%2Fb//c;d?x=%20&y=+&&z#".rstrip("#")
    async with visit(here, note) as person:
        assert (await person.ask(method, target)).status == 200
    assert targets == [(method, target)]


async def test_host_is_kept_and_what_was_made_up_is_not(here: World) -> None:
    made_up = {
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "1.2.3.4",
        "Forwarded": "for=1.2.3.4",
        "X-Real-IP": "1.2.3.4",
        "X_Forwarded_Host": "evil",
        "Connection": "close, X-Own, Cookie",
        "X-Own": "hop",
        "Keep-Alive": "timeout=9",
        "Proxy-Authorization": "x",
        "TE": "trailers",
        "Upgrade": "h2c",
        "X-Kept": "yes",
    }
    async with visit(here, echo_request) as person:
        told = heard(await person.ask(headers=made_up))
        host = person.origin.partition("://")[2]
    assert told["host"] == told["x-forwarded-host"] == [host]
    assert told["x-forwarded-proto"] == ["http"]
    assert told["x-kept"] == ["yes"]
    gone = {"x-forwarded-for", "forwarded", "x-real-ip", "x_forwarded_host", "x-own", "keep-alive", "upgrade", "te"}
    assert not gone & set(told)


async def test_headers_pass_byte_for_byte_and_as_often_as_they_are_said(here: World) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"X-Latin: caf\xe9\r\n" in head
        assert head.count(b"X-Twice") == 2
        writer.write(b"HTTP/1.1 200 Fine\r\nX-Latin: caf\xe9\r\nX-Utf8: \xc3\xa9\r\nX-A: 1\r\nX-A: 2\r\n")
        writer.write(b"Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n")

    async with raw_visit(here, answer) as person:
        raw = b"X-Latin: caf\xe9\r\nX-Twice: 1\r\nX-Twice: 2\r\n"
        said = await here.speak(person.head(more="Connection: close\r\n")[:-2] + raw + b"\r\n")
    assert said.startswith(b"HTTP/1.1 200 Fine\r\n")
    assert b"X-Latin: caf\xe9\r\nX-Utf8: \xc3\xa9\r\nX-A: 1\r\nX-A: 2\r\n" in said
    assert b"X-Hop" not in said
    assert b"Keep-Alive" not in said
    assert b"Content-Type" not in said


async def test_large_headers_pass(here: World) -> None:
    async def large(request: web.Request) -> web.Response:
        return web.Response(text="x", headers={"X-Large": request.headers["X-Large"]})

    runner_options = {"max_line_size": 100_000, "max_field_size": 100_000}
    runner = web.ServerRunner(web.Server(large, access_log=None, **runner_options))  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        machine, port = await here.machine(), runner.addresses[0][1]
        person = Visit(here, machine, port, await here.cookie(machine, port))
        answer = await person.ask(headers={"X-Large": "y" * 60_000})
    finally:
        await runner.cleanup()
    assert (answer.status, answer.one("X-Large")) == (200, "y" * 60_000)


async def test_ranges_and_conditions_pass(here: World, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 1000)

    async def file(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(path)

    async with visit(here, file) as person:
        part = await person.ask(headers={"Range": "bytes=1000-1009"})
        assert (part.status, part.body) == (206, path.read_bytes()[1000:1010])
        assert part.one("Content-Range") == "bytes 1000-1009/256000"
        etag = part.one("ETag")
        same = await person.ask(headers={"If-None-Match": etag})
        assert (same.status, same.body) == (304, b"")
        head = await person.ask("HEAD")
        assert (head.status, head.one("Content-Length"), head.body) == (200, "256000", b"")


async def test_compressed_bodies_stay_compressed(here: World) -> None:
    packed = gzip.compress(b"hello" * 1000)
    got: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        got.append(await request.content.read())
        return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})

    async with visit(here, answer) as person:
        said = await person.ask("POST", headers={"Content-Encoding": "gzip"}, body=packed)
    assert (got, said.body, said.one("Content-Encoding")) == ([packed], packed, "gzip")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("length", [True, False])
async def test_bodies_arrive_whole_for_old_and_new_clients(here: World, version: str, length: bool) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        said = web.StreamResponse()
        if length:
            said.content_length = 300_000
        await said.prepare(_request)
        for _ in range(3):
            await said.write(b"x" * 100_000)
        return said

    async with visit(here, answer) as person:
        head = person.head(more="Connection: close\r\n").replace(b"HTTP/1.1", b"HTTP/" + version.encode())
        said = read_answer(await here.speak(head))
    assert said.body == b"x" * 300_000
    assert (said.one("Transfer-Encoding") == "chunked") == (version == "1.1" and not length)


async def test_an_answer_that_ends_with_its_connection_is_whole(here: World) -> None:
    async with raw_visit(here, b"HTTP/1.0 200 OK\r\n\r\nall of it") as person:
        answer = await person.ask()
    assert (answer.body, answer.one("Transfer-Encoding")) == (b"all of it", "chunked")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_half_an_answer_is_never_taken_for_all(here: World, answer: bytes) -> None:
    async with raw_visit(here, answer) as person:
        reader, writer = await here.connect()
        writer.write(person.head())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 200 " in head
                await (reader.readexactly(100) if b"Content-Length" in head else reader.readuntil(b"\r\n0\r\n\r\n"))
        writer.close()


# -- framing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 4, 4\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "X: a\r\n Content-Length: 4\r\n",
        "X: a\nContent-Length: 4\r\n",
        "X\x00Y: a\r\n",
        "Host: other\r\n",
    ],
)
async def test_a_request_that_may_be_read_in_two_ways_reaches_nobody(here: World, more: str) -> None:
    asked: list[str] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.Response(text="x")

    async with visit(here, note) as person:
        said = await here.speak(person.head("POST", more=more) + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        assert said.split(b" ")[1] in (b"400", b"401")
        assert said.count(b"HTTP/1.") == 1
    assert asked == []


@pytest.mark.parametrize("target", ["http://evil.example/", "*", "evil.example:80", "/a b", "/\xe9", "/a#b"])
async def test_a_target_that_is_no_path_reaches_nobody(here: World, target: str) -> None:
    async with visit(here, echo_request) as person:
        said = await here.speak(person.head("GET", target).replace(target.encode(), target.encode("latin-1")))
        assert said.split(b" ")[1] == b"400"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "TRACK"])
async def test_some_methods_have_no_place_here(here: World, method: str) -> None:
    asked: list[str] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.Response(text="x")

    async with visit(here, note) as person:
        said = await here.speak(person.head(method, more="Connection: close\r\n"))
        assert said.split(b" ")[1] in (b"400", b"403", b"405")
    assert asked == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 9\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n Set-Cookie: b=c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"not http at all\r\n\r\n",
        b"",
    ],
)
async def test_an_answer_that_may_be_read_in_two_ways_reaches_nobody(here: World, answer: bytes) -> None:
    async with raw_visit(here, answer) as person:
        said = await person.ask()
    assert said.all("Set-Cookie") == []
    assert said.status == 502 or (said.status == 200 and said.one("X").startswith("a") and said.body == b"")


# -- connections ------------------------------------------------------------------------------------------------------


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


# -- bodies -----------------------------------------------------------------------------------------------------------


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


# -- WebSockets -------------------------------------------------------------------------------------------------------


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


# -- apps and doors ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def app(here: World, **values: Any) -> AsyncIterator[tuple[Visit, FakeApp]]:
    """An app of a machine, and somebody who was let in."""
    async with inner_server(echo_request) as port:
        made = here.guest.apps["vscode"] = FakeApp(port, **values)
        machine = await here.machine()
        yield Visit(here, machine, "vscode", await here.cookie(machine, "vscode")), made


async def test_a_window_sees_that_an_app_starts_and_others_wait(here: World) -> None:
    async with app(here) as (person, made):
        page = await person.ask(headers=NAVIGATION)
        assert (page.status, page.one("Retry-After")) == (503, "1")
        assert b"is starting" in page.body
        waiting = asyncio.ensure_future(person.ask())
        async with asyncio.timeout(10):
            while len([one for one in here.guest.requests if one["op"] == "app.connect"]) < 2:
                await asyncio.sleep(0.01)
        assert not waiting.done()
        made.ready.set()
        assert (await waiting).status == 200
        assert (await person.ask(headers=NAVIGATION)).status == 200


async def test_an_app_that_fails_says_why_to_people_and_programs(here: World) -> None:
    async with app(here, error=Unreachable("vscode <died>")) as (person, _made):
        page = await person.ask(headers=NAVIGATION)
        assert page.status == 502
        assert b"vscode &lt;died&gt;" in page.body
        told = await person.ask(headers={"Accept": "application/json"})
        assert json.loads(told.body)["error"]["code"] == "app_failed"
        assert "vscode <died>" in json.loads(told.body)["error"]["message"]


async def test_own_pages_cannot_be_framed_or_run_anything(here: World) -> None:
    machine = await here.machine()
    page = await here.get(here.origin(machine, 3000), NAVIGATION)
    policy = page.one("Content-Security-Policy")
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert (page.one("X-Content-Type-Options"), page.one("Cache-Control")) == ("nosniff", "no-store")


async def test_nothing_listens_yet_is_told_until_something_does(here: World) -> None:
    async with inner_server(echo_request) as port:
        free = port
    machine = await here.machine()
    person = Visit(here, machine, free, await here.cookie(machine, free))
    assert (await person.ask(headers=NAVIGATION)).status == 502
    told = await person.ask(headers={"Accept": "application/json"})
    assert json.loads(told.body)["error"]["code"] == "nothing_listens"


async def test_open_refuses_what_cannot_be_opened(here: World) -> None:
    here.guest.apps = {"vscode": FakeApp(1), "browser": FakeApp(1, view="none"), "desktop": FakeApp(1, view="rfb")}
    machine = await here.machine()
    stopped = await here.machine(state=states.STOPPED)
    with pytest.raises(NotRunning) as not_running:
        await here.doors.open("me", stopped.id, OpenDoor("3000"))
    assert not_running.value.next == f"cloudrouter resume {stopped.id}"
    with pytest.raises(NotFound, match="has no app 'jupyter'") as unknown:
        await here.doors.open("me", machine.id, OpenDoor("jupyter"))
    assert "vscode, desktop" in unknown.value.fix
    for target in ("browser", str(boot.GUEST_PORT), "0", "65536", "080"):
        with pytest.raises(UsageError):
            await here.doors.open("me", machine.id, OpenDoor(target))
    for path in ("x", "", "/\n", "/\x00"):
        with pytest.raises(UsageError):
            await here.doors.open("me", machine.id, OpenDoor("3000", path))
    with pytest.raises(UsageError, match="view-only"):
        await here.doors.open("me", machine.id, OpenDoor("vscode", view_only=True))
    door = await here.doors.open("me", machine.id, OpenDoor("desktop", "/a b?é#x", view_only=True))
    assert door.lasting_url == here.origin(machine, "desktop") + "/a%20b?%C3%A9#x"


async def test_open_without_a_gateway_says_why(tmp_path: Path) -> None:
    async with world(tmp_path, gateway_ports=()) as alone:
        machine = await alone.machine()
        with pytest.raises(NotConfigured, match="switched off"):
            await alone.doors.open("me", machine.id, OpenDoor("3000"))
        assert alone.doors.url(machine, "3000") is None


async def test_a_machine_cannot_offer_apps_with_impossible_names(here: World) -> None:
    machine = await here.machine()
    here.guest.apps = {"../x": FakeApp(1), "a--b": FakeApp(1), "A": FakeApp(1), "ok": FakeApp(1), "80": FakeApp(1)}
    assert await here.doors.views(machine) == {"ok": "http"}


# -- teams ------------------------------------------------------------------------------------------------------------

DOMAIN = "cr.example.com"


async def test_a_dev_server_under_a_team_domain_is_told_localhost(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, DOMAIN)

    async def redirect(request: web.Request) -> web.Response:
        told = {"host": request.headers["Host"], "origin": request.headers.get("Origin")}
        told |= {name: request.headers[name] for name in ("X-Forwarded-Host", "X-Forwarded-Proto")}
        headers = {"Location": request.query.get("to", "/")}
        return web.Response(status=302, text=json.dumps(told), headers=headers)

    async with (
        world(tmp_path, gateway_domain=DOMAIN, tls_cert=cert, tls_key=key) as team,
        inner_server(redirect) as port,
    ):
        machine = await team.machine()
        origin = team.origin(machine, port)
        assert origin == f"https://{port}--{machine.id.replace('_', '-')}.{DOMAIN}:{team.address.port}"
        cookie = await cookie_over_tls(team, machine, port)
        assert cookie.startswith("__Host-cloudrouter-session=")
        headers = {**OWN, "Origin": origin, "Cookie": cookie}
        answer = await ask_over_tls(team, "POST", f"{origin}/?to=http://localhost:{port}/x", headers, b"x", cert)
        host = origin.partition("://")[2]
        assert json.loads(answer.body) == {
            "host": f"localhost:{port}",
            "origin": f"http://localhost:{port}",
            "X-Forwarded-Host": host,
            "X-Forwarded-Proto": "https",
        }
        assert answer.one("Location") == f"{origin}/x"
        for elsewhere in (f"http://localhost:{port + 1}/", f"http://localhost:{port}.evil.example/", "/y", "//z"):
            answer = await ask_over_tls(team, "GET", f"{origin}/?to={elsewhere}", {**OWN, "Cookie": cookie})
            assert answer.one("Location") == elsewhere


async def test_an_app_under_a_team_domain_keeps_its_host(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, DOMAIN)
    async with (
        world(tmp_path, gateway_domain=DOMAIN, tls_cert=cert, tls_key=key) as team,
        inner_server(echo_request) as port,
    ):
        team.guest.apps["vscode"] = FakeApp(port)
        team.guest.apps["vscode"].ready.set()
        machine = await team.machine()
        cookie = await cookie_over_tls(team, machine, "vscode")
        answer = await ask_over_tls(team, "GET", team.origin(machine, "vscode"), {**OWN, "Cookie": cookie})
        host = team.origin(machine, "vscode").partition("://")[2]
        assert heard(answer)["host"] == heard(answer)["x-forwarded-host"] == [host]
