"""Ports inside a machine on the event loop: a connection to one, and a local port that leads there."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable
from typing import Any, Self

from cloudrouter.client import requests, served
from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.opening import Opening
from cloudrouter.client.aio.streams import AsyncStream
from cloudrouter.client.aio.tasks import together
from cloudrouter.client.aio.turns import Turns
from cloudrouter.client.following import Patience
from cloudrouter.client.ports import Flow
from cloudrouter.client.transport import NotListening
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire import routes
from cloudrouter.wire.apps import Port
from cloudrouter.wire.errors import CloudRouterError, Conflict, UsageError
from cloudrouter.wire.streams import CHUNK


class AsyncTunnel:
    """A connection to a port inside the machine: bytes both ways. Closed at the end of a `with` block.

    One task may send while another receives.
    """

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream
        self._flow = Flow()
        self._turns = Turns(stream)

    @classmethod
    async def begin(cls, stream: AsyncStream, request: dict[str, Any]) -> Self:
        """Connect to the port; the stream is closed when that fails."""
        tunnel = cls(stream)
        try:
            await stream.send_text(json.dumps(request))
            while not tunnel._flow.opened:
                await tunnel._turns.wait(tunnel._flow.take)
        except BaseException:
            await stream.close()
            raise
        return tunnel

    async def send(self, data: bytes) -> None:
        """Send all of the data; waits while the far side does not read. What comes meanwhile is kept in memory."""
        rest = memoryview(data)
        while rest and not self._flow.over:
            if self._flow.window == 0:
                await self._turns.wait(self._flow.take)
                continue
            piece = rest[: min(self._flow.window, CHUNK)]
            self._flow.window -= len(piece)
            rest = rest[len(piece) :]
            await self._stream.send_binary(piece)

    async def receive(self, limit: int = CHUNK) -> bytes:
        """The next bytes, at most `limit`, waited for; empty when the far side has ended."""
        while (piece := self._flow.give(limit)) is None:
            await self._turns.wait(self._flow.take)
        return piece

    async def close_input(self) -> None:
        """Tell the far side that no more comes; what it still sends can be received."""
        if not self._flow.over:
            await self._stream.send_text('{"eof":true}')

    async def close(self) -> None:
        """End the connection."""
        await self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()


class AsyncForward:
    """A port of this host that leads to one inside the machine, as long as its `with` block lasts.

    It listens on 127.0.0.1 only. A connection that the machine's port refuses is closed at once; `error` says why.
    """

    def __init__(
        self, link: Link, path: str, request: dict[str, Any], on_error: Callable[[str], object] = lambda _why: None
    ) -> None:
        self._link = link
        self._path = path
        self._request = request
        self._on_error = on_error
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[Any]] = set()
        self._port = 0
        self._error = ""

    @classmethod
    async def begin(
        cls,
        link: Link,
        path: str,
        request: dict[str, Any],
        local_port: int,
        on_error: Callable[[str], object] = lambda _why: None,
    ) -> Self:
        """Listen; Conflict when the local port is taken, UsageError when it is none that this user may have.

        on_error: told why a connection failed, each time one does.
        """
        forward = cls(link, path, request, on_error)
        try:
            forward._server = await asyncio.start_server(forward._serve, "127.0.0.1", local_port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    f"Port {local_port} of this host is taken.", fix="Give another local port, or 0 for a free one."
                ) from None
            raise UsageError(f"Port {local_port} of this host cannot be had: {error.strerror}.") from None
        except OverflowError:
            raise UsageError(f"{local_port} is not a port.", fix="Give a number between 0 and 65535.") from None
        forward._port = forward._server.sockets[0].getsockname()[1]
        return forward

    @property
    def port(self) -> int:
        """The port on this host."""
        return self._port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def error(self) -> str:
        """Why the last connection that failed did; empty when none has."""
        return self._error

    async def close(self) -> None:
        """Stop listening and end the connections."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own making: the one that `start_server` would make is not told when the server closes.
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its beginning to its end."""
        whole = False
        try:
            async with await self._reach() as tunnel:
                await together(_inward(reader, tunnel), _outward(tunnel, writer))
            whole = True
        except (CloudRouterError, OSError) as error:
            self._error = error.message if isinstance(error, CloudRouterError) else f"{error.strerror}."
            self._on_error(self._error)
        finally:
            if whole:
                writer.close()
            else:
                writer.transport.abort()

    async def _reach(self) -> AsyncTunnel:
        """The way inside; a router that is just being started again is waited for."""
        patience = Patience(asyncio.get_running_loop().time)
        while True:
            patience.begin()
            try:
                return await AsyncTunnel.begin(await self._link.stream(self._path), self._request)
            except (ConnectionLost, NotListening) as error:
                pause = patience.pause(error)
            await asyncio.sleep(pause)


class AsyncPorts:
    """What listens inside a machine, as its `ports`."""

    def __init__(self, link: Link, machine_id: str) -> None:
        self._link = link
        self._machine_id = machine_id

    async def list(self) -> list[Port]:
        """The TCP ports that something listens on inside and that can be reached, by number."""
        answer = await self._link.call("GET", routes.machine(self._machine_id, "ports"))
        return [requests.read_record(Port, one) for one in served.read_ports(answer)]

    def forward(self, target: int | str, *, local_port: int = 0, host: str | None = None) -> Opening[AsyncForward]:
        """A port of this host that leads to a port inside, or to an app by its name; 0: a free one.

        An app is started by the first connection. host: `127.0.0.1` or `::1` inside; None: whichever answers.
        """
        request = requests.target_request(target, host)
        return Opening(AsyncForward.begin(self._link, routes.machine(self._machine_id, "stream"), request, local_port))


async def _inward(reader: asyncio.StreamReader, tunnel: AsyncTunnel) -> None:
    while data := await reader.read(CHUNK):
        await tunnel.send(data)
    await tunnel.close_input()


async def _outward(tunnel: AsyncTunnel, writer: asyncio.StreamWriter) -> None:
    while data := await tunnel.receive():
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
