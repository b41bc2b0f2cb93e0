"""Browsers that were let in at servers inside a machine, for the tests of what passes through the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from tests.unit.server.gateway_world import (
    OWN,
    World,
    inner_server,
)

from cloudrouter.server.store.machines import Row


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
