"""What passes through the gateway as it is: methods, headers, bodies; and what is not let through."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from tests.unit.server.gateway_visits import Visit, raw_visit, visit
from tests.unit.server.gateway_world import (
    World,
    echo_request,
    heard,
    read_answer,
    world,
)

MIB = 1024 * 1024


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


# -- requests and answers ----------------------------------------------------------------------------------------------


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


# -- framing -----------------------------------------------------------------------------------------------------------


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
