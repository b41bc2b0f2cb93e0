"""The way of one event loop to the user's router: found or started at first use, started again when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from cloudrouter.client import router
from cloudrouter.client.aio.streams import AsyncStream
from cloudrouter.client.aio.transport import AsyncTransport
from cloudrouter.client.aio.workers import Workers
from cloudrouter.client.transport import NotListening, Transport

T = TypeVar("T")


class Link:
    """What the objects of the SDK share: one transport and the threads for files."""

    def __init__(self, socket_path: str | None) -> None:
        """socket_path: a router's own Unix socket; None: the user's router."""
        self._socket_path = socket_path
        self._transport: AsyncTransport | None = None
        self._connecting = asyncio.Lock()
        self._workers = Workers()

    async def ready(self) -> AsyncTransport:
        """The transport, with the user's router found, or started, behind it."""
        if self._transport is None:
            async with self._connecting:
                if self._transport is None:
                    path = self._socket_path
                    self._transport = AsyncTransport(await asyncio.to_thread(_find) if path is None else path)
        return self._transport

    async def call(
        self, method: str, path: str, body: Any = None, *, timeout: float | None = None, once: bool = False
    ) -> Any:
        """One request, its JSON answer; a router that is gone is started again. See AsyncTransport.call."""
        transport = await self.ready()
        try:
            return await transport.call(method, path, body, timeout=timeout, once=once)
        except NotListening:
            await self.revive()
            return await transport.call(method, path, body, timeout=timeout, once=once)

    async def lines(self, path: str) -> AsyncGenerator[dict[str, Any], None]:
        """The objects of an NDJSON answer as they come."""
        transport = await self.ready()
        async with aclosing(transport.lines("GET", path)) as lines:
            async for line in lines:
                yield line

    async def stream(self, path: str, *, brief: bool = False) -> AsyncStream:
        """A stream; a router that is gone is started again."""
        transport = await self.ready()
        try:
            return await transport.stream(path, brief=brief)
        except NotListening:
            await self.revive()
            return await transport.stream(path, brief=brief)

    async def revive(self) -> None:
        """Make sure that a router listens again; NotListening where that is not for us to do."""
        transport = await self.ready()
        async with self._connecting:
            await asyncio.to_thread(_revive, transport.socket_path)

    async def in_thread(self, work: Callable[[Transport], T]) -> T:
        """What work does with a blocking transport; when this task is cancelled the work is ended."""
        transport = await self.ready()
        return await self._workers.run(transport.socket_path, work)

    async def close(self) -> None:
        """Close the connections and let go of the threads."""
        if self._transport is not None:
            await self._transport.close()
        self._workers.close()


def _find() -> str:
    with router.ensure_version(router.connect()) as transport:
        return transport.socket_path


def _revive(socket_path: str) -> None:
    with Transport(socket_path) as transport:
        router.revive(transport)
