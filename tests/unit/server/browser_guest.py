"""A guest whose browser does as it is told by the test: real streams, no machine."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.unit.server.gateway_world import OneGuest
from tests.unit.server.test_store import row
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cloudrouter.client.transport import Transport
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.guests.browserchannels import BrowserChannels
from cloudrouter.server.guests.connections import Guests
from cloudrouter.server.services.browsing import Browsing
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.events import EventLog
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.settings import Settings
from cloudrouter.server.store.database import open_database
from cloudrouter.server.store.events import EventStore
from cloudrouter.server.store.machines import MachineStore
from cloudrouter.testing.fakes import Wrapper
from cloudrouter.testing.live_router import live_router
from cloudrouter.wire import routes, states

Step = dict[str, Any]
Act = Callable[["Talk", Step], Awaitable[object]]
ANSWER = {"warning": None, "dialog": None, "file": None, "url": None, "duration_ms": 3, "recovered": False}


def result(number: int, **said: Any) -> dict[str, Any]:
    """A guest's result as it should be."""
    return {"result": {"n": number, "data": {}, **ANSWER, **said}}


@dataclass
class Talk:
    """One channel, as the guest sees it."""

    guest: BrowserGuest
    connection: ServerConnection

    async def say(self, word: Any) -> None:
        """Say something, which may be anything."""
        await self.connection.send(word if isinstance(word, (str, bytes)) else json.dumps(word))

    async def answer(self, step: Step, **said: Any) -> None:
        """The result of a step."""
        await self.say(result(step["n"], **said))


async def _obey(talk: Talk, step: Step) -> None:
    await talk.answer(step, data={"verb": step["verb"], "words": step["words"]})


@dataclass
class BrowserGuest:
    """`act` answers each step; what it was asked is kept."""

    act: Act = _obey
    apps: list[str] = field(default_factory=lambda: ["desktop", "browser"])
    opening: Any = field(default_factory=lambda: {"started": {}})
    """What a new channel is told; None: nothing."""
    steps: list[Step] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    cancel_came: asyncio.Event = field(default_factory=asyncio.Event)
    channels: int = 0
    gone: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a channel has ended."""

    async def handle(self, connection: ServerConnection) -> None:
        """One stream."""
        try:
            request = json.loads(await connection.recv())
            if request["op"] == "browser":
                await self._channel(connection)
                return
            told = [{"name": name, "title": name, "view": "none", "state": "off"} for name in self.apps]
            final = {
                "app.list": {"apps": told},
                "configure": {"configured": {}},
                "health": {"health": {"version": "1"}},
            }
            await connection.send(json.dumps(final.get(request["op"], {"error": {"message": "no", "code": "usage"}})))
            await connection.wait_closed()
        except ConnectionClosed:
            return

    async def _channel(self, connection: ServerConnection) -> None:
        self.channels += 1
        talk, doing = Talk(self, connection), set[asyncio.Task[object]]()
        try:
            if self.opening is not None:
                await talk.say(self.opening)
            async for message in connection:
                word = json.loads(message)
                if "cancel" in word:
                    self.cancelled.append(word["cancel"]["n"])
                    self.cancel_came.set()
                    continue
                self.steps.append(word["step"])
                doing.add(asyncio.ensure_future(self.act(talk, word["step"])))
        finally:
            for task in doing:
                task.cancel()
            await asyncio.gather(*doing, return_exceptions=True)
            self.gone += 1
            self.changed.set()

    @property
    def verbs(self) -> list[str]:
        """What was done, in order."""
        return [step["verb"] for step in self.steps]


class NoSpares(Guests):
    """Streams without the spare that is opened behind each: it would meet a guest that is just being put away."""

    def _prepare_spare(self, row: Any) -> None:
        return


@dataclass
class Surf:
    """The service with a machine that runs."""

    guest: BrowserGuest
    context: Context
    browsing: Browsing
    channels: BrowserChannels
    traffic: Traffic
    machine: Any


@asynccontextmanager
async def surf(folder: Path, guest: BrowserGuest | None = None, *, quiet_s: float = 600.0) -> AsyncIterator[Surf]:
    """Everything between the API and a guest."""
    guest = guest or BrowserGuest()
    engine = await open_database(str(folder / "router.db"))
    settings = Settings(state_dir=str(folder), runtime_dir=str(folder), default_provider="memory")
    options: dict[str, Any] = {"compression": None, "max_size": 2**20, "ping_interval": None}
    async with serve(guest.handle, "127.0.0.1", 0, **options) as server:
        providers: dict[str, Any] = {"memory": OneGuest(next(iter(server.sockets)).getsockname()[1])}
        guests, store = NoSpares(providers), MachineStore(engine)
        await store.load()
        events = EventLog(EventStore(engine), lambda: 1.0)
        events.start()
        nothing: Any = SimpleNamespace()
        context = Context(settings, "router", lambda: 1.0, store, events, providers, guests, nothing)
        channels, traffic = BrowserChannels(guests, quiet_s=quiet_s), Traffic(lambda: 1.0)
        browsing = Browsing(context, Machines(context, nothing, nothing), channels, traffic)
        machine = await store.add(row(handle={"id": "x"}, state=states.RUNNING))
        try:
            yield Surf(guest, context, browsing, channels, traffic, machine)
        finally:
            await channels.aclose()
            await guests.aclose()
            await events.aclose()
            await engine.dispose()


@contextmanager
def guest_thread(guest: BrowserGuest) -> Iterator[int]:
    """The guest in a thread of its own; the port it listens on."""
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), list[int]()
    over = asyncio.Event()

    async def run() -> None:
        options: dict[str, Any] = {"compression": None, "max_size": 2**20, "ping_interval": None}
        async with serve(guest.handle, "127.0.0.1", 0, **options) as server:
            ports.append(next(iter(server.sockets)).getsockname()[1])
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


class Dialled(Wrapper):
    """A provider whose machines all have the guest at one port of this host."""

    def __init__(self, inner: Any, port: int) -> None:
        super().__init__(inner)
        self._port = port

    async def dial(self, handle: Any, *, port: int) -> socket.socket:
        """Its address."""
        sock = socket.create_connection(("127.0.0.1", self._port))
        sock.setblocking(False)
        return sock


@contextmanager
def browser_router(base: str, guest: BrowserGuest) -> Iterator[tuple[Transport, str]]:
    """A whole router behind its socket, and a machine whose browser is the test's."""
    settings = Settings(
        state_dir=f"{base}/state", runtime_dir=f"{base}/run", default_provider="memory", ready_deadline_s=20.0
    )

    def make(router_id: str, port: int) -> dict[str, Any]:
        inner = MemoryProvider(router_id=router_id, clock=time.time, config={"root": f"{base}/machines"})
        return {"memory": Dialled(inner, port)}

    with guest_thread(guest) as port, live_router(settings, lambda router_id: make(router_id, port)) as transport:
        machine = transport.call("POST", routes.MACHINES, {"cpu": 1, "memory_bytes": 2**28})["id"]
        *_, last = transport.lines("GET", routes.machine(machine, "wait"))
        assert "machine" in last, last
        try:
            yield transport, machine
        finally:
            transport.call("DELETE", routes.machine(machine))
