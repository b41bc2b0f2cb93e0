"""A gateway on a real port, machines that are rows in a real book, and a guest in this process: real sockets all over.

The guest speaks the stream protocol with the guest's own code for windows and tunnels, so a gateway that sends more
than it may is refused here as it would be there.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from tests.unit.server.test_store import row
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cloudrouter.auth.hosts import Address, Place
from cloudrouter.guest import tunnels
from cloudrouter.guest.stream import Stream, read_request
from cloudrouter.providers.base import Handle
from cloudrouter.server.gateway.gateway import Gateway
from cloudrouter.server.guests.connections import Guests
from cloudrouter.server.services.cdpkeys import CdpKeys
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.doors import Doors
from cloudrouter.server.services.events import EventLog
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.settings import Settings
from cloudrouter.server.store.database import open_database
from cloudrouter.server.store.events import EventStore
from cloudrouter.server.store.machines import MachineStore, Row
from cloudrouter.server.store.sessions import SessionStore
from cloudrouter.wire import states
from cloudrouter.wire.doors import OpenDoor
from cloudrouter.wire.errors import CloudRouterError

NAVIGATION = {
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
}
OWN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


@dataclass
class FakeApp:
    """An app of the fake guest: a port of this host, once it is ready."""

    port: int
    view: str = "http"
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    error: CloudRouterError | None = None


class FakeGuest:
    """Answers streams for every machine."""

    def __init__(self) -> None:
        self.apps: dict[str, FakeApp] = {}
        self.requests: list[dict[str, Any]] = []
        self.tunnels = 0
        self.most_tunnels = 0
        self.broken: str = ""
        """What it said the opener did wrong."""

    async def handle(self, connection: ServerConnection) -> None:
        """One stream."""
        stream = Stream(connection)
        try:
            request = read_request(await stream.first_message())
            self.requests.append(request)
            work = asyncio.ensure_future(self._answer(stream, request))
            listening = asyncio.ensure_future(stream.listen())
            try:
                await asyncio.wait({work, listening}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    work.cancel()
                    await asyncio.wait({work})
                    listening.result()
                work.result()
            except CloudRouterError as error:
                self.broken = error.message
                await stream.fail(error)
            finally:
                listening.cancel()
                await asyncio.gather(work, listening, return_exceptions=True)
            await stream.close()
        except (ConnectionClosed, asyncio.CancelledError):
            return

    async def _answer(self, stream: Stream, request: dict[str, Any]) -> None:
        if request["op"] == "app.list":
            told = [self._state(name, app) for name, app in self.apps.items()]
            await stream.finish("apps", told)
            return
        stream.input.wanted = True
        if request["op"] == "app.connect":
            app = self.apps[request["app"]]
            if app.error is not None:
                raise app.error
            if not app.ready.is_set():
                await stream.send("starting", self._state(request["app"], app))
                await app.ready.wait()
            port = app.port
        else:
            port = request["port"]
        sock = await tunnels.connect(["127.0.0.1", "::1"], port)
        self.tunnels += 1
        self.most_tunnels = max(self.most_tunnels, self.tunnels)
        try:
            await tunnels.carry(stream, sock, {})
        finally:
            self.tunnels -= 1
        await stream.finish("end", {})

    def _state(self, name: str, app: FakeApp) -> dict[str, Any]:
        return {"name": name, "title": name, "view": app.view, "state": "off"}


class OneGuest:
    """A provider that dials one address."""

    name = "memory"

    def __init__(self, port: int) -> None:
        self._port = port

    async def dial(self, _handle: Handle, *, port: int) -> Any:
        sock = socket.create_connection(("127.0.0.1", self._port))
        sock.setblocking(False)
        return sock


class NoSpares(Guests):
    """Streams without the spare that is opened behind each: it would meet a guest that is just being put away."""

    def _prepare_spare(self, row: Row) -> None:
        return


@dataclass
class Said:
    """An answer, read whole."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str:
        """The header's value; empty when there is none."""
        return (self.all(name) or [""])[0]

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()


class World:
    """A router's gateway with everything around it that it needs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.now = 1_000_000.0
        self.guest = FakeGuest()
        self.context: Context
        self.doors: Doors
        self.keys: CdpKeys
        self.gateway: Gateway
        self.logged: list[str] = []

    @property
    def address(self) -> Address:
        """Where the gateway listens."""
        assert self.doors.address is not None
        return self.doors.address

    async def machine(self, **values: Any) -> Row:
        """A machine that runs."""
        return await self.context.store.add(row(**{"handle": {"id": "x"}, "state": states.RUNNING, **values}))

    async def end(self, machine: Row, state: str) -> None:
        """Take the machine to a state, step by step."""
        steps = {states.STOPPED: [states.STOPPING, states.STOPPED], states.GONE: [states.DELETING, states.GONE]}
        for step in steps.get(state, [state]):
            await self.context.set(machine, state=step)

    async def open(self, machine: Row, target: str | int, **wanted: Any) -> str:
        """An address with a ticket."""
        return (await self.doors.open("me", machine.id, OpenDoor(str(target), **wanted))).url

    async def cookie(self, machine: Row, target: str | int, **wanted: Any) -> str:
        """`name=value` of a session there."""
        answer = await self.get(await self.open(machine, target, **wanted), NAVIGATION)
        assert answer.status == 303, answer
        return answer.one("Set-Cookie").partition(";")[0]

    def origin(self, machine: Row, target: str | int) -> str:
        """`http://3000--cr-xxx.localhost:7080`."""
        return self.address.origin(Place(machine.id, str(target)))

    async def get(self, url: str, headers: dict[str, str] | None = None, **options: Any) -> Said:
        """Ask the gateway, as a browser that goes to this address."""
        return await self.ask("GET", url, headers, **options)

    async def ask(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"", raw: bytes = b""
    ) -> Said:
        """One request on a connection of its own; `raw` are further header lines as they are."""
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return read_answer(await self.speak("\r\n".join(lines).encode() + b"\r\n" + raw + b"\r\n" + body), method)

    async def speak(self, data: bytes) -> bytes:
        """Bytes to the gateway, and all that it says until it closes."""
        reader, writer = await self.connect()
        writer.write(data)
        try:
            async with asyncio.timeout(20):
                return await reader.read()
        finally:
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the gateway."""
        return await asyncio.open_connection("127.0.0.1", self.address.port)


def read_answer(data: bytes, method: str = "GET") -> Said:
    """An HTTP answer that ends with its connection."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    said = Said(int(first.split()[1]), headers, body)
    if said.one("Transfer-Encoding") == "chunked" and method != "HEAD":
        said.body = unchunk(body)
    return said


def unchunk(data: bytes) -> bytes:
    """A chunked body, which has to be whole."""
    whole = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert data == b"\r\n"
            return whole
        whole, data = whole + data[:length], data[length + 2 :]


@asynccontextmanager
async def world(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """A gateway that listens on a free port of 127.0.0.1 and ::1."""
    wanted = {"gateway_ports": (0,), **settings}
    made = World(Settings(state_dir=str(folder), runtime_dir=str(folder), default_provider="memory", **wanted))
    engine = await open_database(str(folder / "router.db"))
    async with serve(made.guest.handle, "127.0.0.1", 0, compression=None, max_size=2**20, ping_interval=None) as server:
        providers: dict[str, Any] = {"memory": OneGuest(next(iter(server.sockets)).getsockname()[1])}
        guests = NoSpares(providers)
        store = MachineStore(engine)
        await store.load()
        events = EventLog(EventStore(engine), lambda: made.now)
        events.start()
        no_packages: Any = SimpleNamespace()
        made.context = Context(made.settings, "router", lambda: made.now, store, events, providers, guests, no_packages)
        no_making: Any = SimpleNamespace()
        machines, sessions = Machines(made.context, no_making, no_making), SessionStore(engine)
        made.doors = Doors(made.context, machines, sessions)
        await made.doors.load()
        made.keys = CdpKeys(made.context, machines, made.doors, sessions)
        made.gateway = Gateway(made.settings, made.doors, made.keys, guests, Traffic(lambda: made.now))
        made.gateway.begin()
        await made.doors.settled()
        try:
            yield made
        finally:
            await made.gateway.aclose()
            await made.doors.aclose()
            await guests.aclose()
            await events.aclose()
            await engine.dispose()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def inner_server(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A web server inside a machine; its port."""
    runner = web.ServerRunner(web.Server(handler, access_log=None, auto_decompress=False))  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def echo_request(request: web.Request) -> web.Response:
    """Says what it was asked, as JSON."""
    headers = [[name.decode(), value.decode("latin-1")] for name, value in request.raw_headers]
    body = await request.content.read()
    told = {"method": request.method, "target": request.raw_path, "headers": headers, "length": len(body)}
    return web.Response(text=json.dumps(told), content_type="application/json")


def heard(answer: Said) -> dict[str, list[str]]:
    """The headers that `echo_request` was sent."""
    found: dict[str, list[str]] = {}
    for name, value in json.loads(answer.body)["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found
