"""Pipes into machines: windows and back-pressure kept, whoever is at the other end; and the port they hang on."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.server.gateway_world import NoSpares, OneGuest, World, world
from tests.unit.server.test_store import row
from tests.unit.server.tls import make_certificate
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cloudrouter.auth.hosts import Place
from cloudrouter.server.gateway.links import Goal, Links
from cloudrouter.server.gateway.listening import Listener, NoPort
from cloudrouter.server.gateway.pipes import Pipe
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.settings import GATEWAY_PORTS, Settings, from_environment
from cloudrouter.wire.errors import CloudRouterError, Internal, NotConfigured, Unreachable
from cloudrouter.wire.streams import CHUNK, STDERR, STDOUT, WINDOW

OUT = bytes((STDOUT,))
GuestSays = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def links(guest: GuestSays) -> AsyncIterator[tuple[Links, Goal]]:
    """Links to a machine whose guest does this."""

    async def handle(connection: ServerConnection) -> None:
        try:
            await connection.recv()
            await guest(connection)
        except ConnectionClosed:
            return

    async with serve(handle, "127.0.0.1", 0, compression=None, max_size=2**20, ping_interval=None) as server:
        providers: Any = {"memory": OneGuest(next(iter(server.sockets)).getsockname()[1])}
        guests = NoSpares(providers)
        made = Links(guests, Traffic(lambda: 0.0))
        machine = row(handle={})
        try:
            yield made, Goal(machine, Place(machine.id, "3000"), holds=True)
        finally:
            await made.aclose()
            await guests.aclose()


async def started(connection: ServerConnection) -> None:
    await connection.send('{"started":{}}')


class Notes(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.paused = False
        self.ended = asyncio.Event()
        self.eof = asyncio.Event()
        self.keeps_half = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def eof_received(self) -> bool:
        self.eof.set()
        return self.keeps_half

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def test_no_byte_more_than_the_window_is_sent() -> None:
    got: list[int] = []
    go_on = asyncio.Event()

    async def stingy(connection: ServerConnection) -> None:
        await started(connection)
        while sum(got) < WINDOW:
            got.append(len(await connection.recv()))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await connection.recv()
        await connection.send('{"window":1000}')
        got.append(len(await connection.recv()))
        go_on.set()
        await connection.recv()

    async with links(stingy) as (made, goal), asyncio.timeout(20):
        pipe = await made.open(goal)
        notes = Notes()
        pipe.set_protocol(notes)
        pipe.write(bytes(WINDOW + 500_000))
        assert notes.paused
        await go_on.wait()
        assert max(got) <= CHUNK
        assert sum(got) == WINDOW + 1000
        assert pipe.get_write_buffer_size() == 499_000


async def test_a_generous_machine_cannot_make_us_hold_its_uploads() -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def generous(connection: ServerConnection) -> None:
        await started(connection)
        connection.transport.pause_reading()
        for _ in range(100):
            await connection.send(json.dumps({"window": 10**12}))
        asked.set()
        await over.wait()
        connection.transport.abort()

    async with links(generous) as (made, goal), asyncio.timeout(20):
        pipe = await made.open(goal)
        notes = Notes()
        pipe.set_protocol(notes)
        await asked.wait()
        written = 0
        while not notes.paused:
            pipe.write(bytes(CHUNK))
            written += CHUNK
            assert written < 64 * 2**20
            await asyncio.sleep(0)
        # What the kernel's own buffers took is theirs; of ours little is left.
        assert pipe.get_write_buffer_size() + pipe._connection.transport.get_write_buffer_size() < 2 * WINDOW
        pipe.abort()
        over.set()


async def test_what_is_not_read_is_not_taken() -> None:
    sent = 0

    async def flood(connection: ServerConnection) -> None:
        nonlocal sent
        await started(connection)
        while True:
            await connection.send(OUT + bytes(CHUNK))
            sent += 1

    async with links(flood) as (made, goal), asyncio.timeout(30):
        pipe = await made.open(goal)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent * CHUNK < 64 * 2**20
        notes = Notes()
        pipe.set_protocol(notes)
        while sent < before + 10:
            await asyncio.sleep(0.01)
        pipe.pause_reading()
        assert not pipe.is_reading()
        taken = len(notes.data)
        await asyncio.sleep(0.2)
        assert len(notes.data) == taken
        pipe.abort()
        await notes.ended.wait()


async def test_each_direction_ends_by_itself() -> None:
    async def half(connection: ServerConnection) -> None:
        await started(connection)
        assert await connection.recv() == b"question"
        assert json.loads(await connection.recv()) == {"eof": True}
        await connection.send(OUT + b"answer")
        await connection.send('{"eof":true}')
        await connection.send('{"end":{}}')

    async with links(half) as (made, goal), asyncio.timeout(20):
        reader, writer = await made.open_stream(goal)
        writer.write(b"question")
        writer.write_eof()
        assert await reader.read() == b"answer"
        writer.close()
        await writer.wait_closed()


async def test_what_was_written_before_close_still_arrives() -> None:
    got = bytearray()
    over = asyncio.Event()

    async def slow(connection: ServerConnection) -> None:
        await started(connection)
        while isinstance(message := await connection.recv(), bytes):
            got.extend(message)
            await connection.send(json.dumps({"window": len(message)}))
        over.set()
        await connection.send('{"end":{}}')

    async with links(slow) as (made, goal), asyncio.timeout(20):
        pipe = await made.open(goal)
        notes = Notes()
        pipe.set_protocol(notes)
        pipe.write(bytes(3 * WINDOW))
        pipe.close()
        pipe.write(b"too late")
        await notes.ended.wait()
        await over.wait()
    assert len(got) == 3 * WINDOW


@pytest.mark.parametrize(
    "messages",
    [
        [bytes((STDERR,)) + b"x"],
        [b""],
        ["not json"],
        ["[1]"],
        ['{"window":0}'],
        ['{"window":-5}'],
        ['{"window":"x"}'],
        ['{"window":true}'],
        ['{"error":{"code":"unreachable","message":"gone"}}'],
        ['{"end":{}}'],
    ],
)
async def test_a_guest_that_breaks_the_rules_ends_the_pipe(messages: list[str | bytes]) -> None:
    async def rude(connection: ServerConnection) -> None:
        await started(connection)
        for message in messages:
            await connection.send(message)
        await connection.wait_closed()

    async with links(rude) as (made, goal), asyncio.timeout(20):
        pipe = await made.open(goal)
        notes = Notes()
        notes.keeps_half = True
        pipe.set_protocol(notes)
        await notes.ended.wait()
        assert pipe.is_closing()


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('{"error":{"code":"unreachable","message":"nothing there","next":"rm -rf /"}}', Unreachable),
        ("x", Internal),
        (OUT + b"early", Internal),
        ('{"end":{}}', Unreachable),
        (None, Unreachable),
    ],
)
async def test_why_a_pipe_does_not_open_is_told(message: str | bytes | None, kind: type[CloudRouterError]) -> None:
    async def refuse(connection: ServerConnection) -> None:
        if message is None:
            connection.transport.abort()
        else:
            await connection.send(message)

    async with links(refuse) as (made, goal), asyncio.timeout(20):
        with pytest.raises(kind) as caught:
            await made.open(goal)
        assert "rm" not in caught.value.to_text()


async def test_who_leaves_while_a_pipe_opens_ends_it() -> None:
    gone = asyncio.Event()

    async def never(connection: ServerConnection) -> None:
        try:
            await connection.recv()
        finally:
            gone.set()

    async with links(never) as (made, goal), asyncio.timeout(20):
        opening = asyncio.ensure_future(made.open(goal))
        await asyncio.sleep(0.1)
        opening.cancel()
        await gone.wait()


async def test_all_pipes_of_a_machine_end_at_once() -> None:
    async def quiet(connection: ServerConnection) -> None:
        await started(connection)
        await connection.recv()

    async with links(quiet) as (made, goal), asyncio.timeout(20):
        pipes: list[tuple[Pipe, Notes]] = []
        for _ in range(3):
            pipe, notes = await made.open(goal), Notes()
            pipe.set_protocol(notes)
            pipes.append((pipe, notes))
        made.end(goal.row.id)
        for pipe, notes in pipes:
            await notes.ended.wait()
            assert pipe.is_closing()


# -- listening --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listener(folder: Path, **settings: Any) -> AsyncIterator[Listener]:
    async def nothing(_request: web.BaseRequest) -> web.Response:
        return web.Response()

    wanted = Settings(state_dir=str(folder), runtime_dir=str(folder), **settings)
    made = Listener(wanted, web.Server(nothing))
    try:
        yield made
    finally:
        await made.aclose()


def free_ports(count: int) -> list[int]:
    """Ports that nobody had a moment ago, on both loopbacks."""
    socks = [socket.socket() for _ in range(count)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return sorted(ports)


def answers(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0


def taken(port: int, host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen()
    return sock


def other_addresses() -> list[str]:
    """Addresses of this host that are no loopbacks."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found.append(probe.getsockname()[0])
        except OSError:
            return []
    return [address for address in found if not address.startswith("127.")]


async def test_both_loopbacks_and_nothing_else(tmp_path: Path) -> None:
    async with listener(tmp_path, gateway_ports=(0,)) as made:
        port = (await made.open()).port
        assert answers("127.0.0.1", port)
        assert answers("::1", port) or not socket.has_ipv6
        for address in (*other_addresses(), "127.0.0.2"):
            assert not answers(address, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_port_that_somebody_has_on_either_loopback_is_left_alone(tmp_path: Path, host: str) -> None:
    ports = free_ports(2)
    with taken(ports[0], host):
        async with listener(tmp_path, gateway_ports=ports) as made:
            assert (await made.open()).port == ports[1]


async def test_the_port_is_remembered_and_waited_for(tmp_path: Path) -> None:
    ports = free_ports(3)
    with taken(ports[0]):
        async with listener(tmp_path, gateway_ports=ports) as made:
            assert (await made.open()).port == ports[1]
    blocker = taken(ports[1])
    async with listener(tmp_path, gateway_ports=ports) as made:
        opening = asyncio.ensure_future(made.open())
        await asyncio.sleep(0.3)
        assert not opening.done()
        blocker.close()
        assert (await opening).port == ports[1]


async def test_without_a_free_port_the_reason_is_told(tmp_path: Path) -> None:
    ports = free_ports(1)
    with taken(ports[0]):
        async with listener(tmp_path, gateway_ports=ports) as made:
            with pytest.raises(NoPort, match=f"port {ports[0]} is taken"):
                await made.open()
        async with world(tmp_path, gateway_ports=ports) as here:
            assert isinstance(here, World)
            assert here.doors.address is None
            assert "taken" in here.doors.reason


async def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    async with listener(
        tmp_path, gateway_ports=(0,), gateway_domain="x.example", tls_cert=str(tmp_path / "bad.pem")
    ) as made:
        with pytest.raises(NoPort, match=r"bad\.pem"):
            await made.open()


async def test_a_teams_gateway_speaks_tls_with_its_certificate(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "x.example")
    async with listener(tmp_path, gateway_ports=(0,), gateway_domain="x.example", tls_cert=cert, tls_key=key) as made:
        address = await made.open()
        assert (address.tls, address.url) == (True, f"https://x.example:{address.port}")
        context = ssl.create_default_context(cafile=cert)
        _, writer = await asyncio.open_connection(
            "127.0.0.1", address.port, ssl=context, server_hostname="3000--cr-22222222.x.example"
        )
        assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
        writer.close()


# -- settings ---------------------------------------------------------------------------------------------------------

TEAM = {"CLOUDROUTER_DOMAIN": "CR.Example.com.", "CLOUDROUTER_TLS_CERT": "/c.pem", "CLOUDROUTER_TLS_KEY": "/k.pem"}


def test_the_environment_chooses_port_and_domain() -> None:
    assert list(from_environment({}).gateway_ports) == list(GATEWAY_PORTS) == list(range(7080, 7100))
    assert list(from_environment({"CLOUDROUTER_GATEWAY_PORT": "8443"}).gateway_ports) == [8443]
    team = from_environment({**TEAM, "CLOUDROUTER_GATEWAY_ADDRESS": "0.0.0.0"})
    told = (team.gateway_domain, team.gateway_address, team.tls_cert, team.tls_key)
    assert told == ("cr.example.com", "0.0.0.0", "/c.pem", "/k.pem")


@pytest.mark.parametrize(
    "env",
    [
        {"CLOUDROUTER_GATEWAY_PORT": "x"},
        {"CLOUDROUTER_GATEWAY_PORT": "70000"},
        {"CLOUDROUTER_GATEWAY_ADDRESS": "0.0.0.0"},
        {"CLOUDROUTER_DOMAIN": "cr.example.com"},
        {"CLOUDROUTER_TLS_CERT": "/c.pem"},
        {"CLOUDROUTER_TLS_KEY": "/k.pem"},
        {**TEAM, "CLOUDROUTER_DOMAIN": "localhost"},
        {**TEAM, "CLOUDROUTER_DOMAIN": "a b.example"},
        {"CLOUDROUTER_GATEWAY_ADDRESS": "0.0.0.0", "CLOUDROUTER_TLS_CERT": "/c.pem"},
    ],
)
def test_half_a_teams_gateway_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(NotConfigured):
        from_environment(env)
