"""The SDK's face for programs that await.

async with AsyncClient() as client, client.start("./proj") as m:
    (await m.run("pytest -q")).check()
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self, Unpack

from cloudrouter.client import requests
from cloudrouter.client.aio import observing
from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.machines import AsyncMachine, AsyncMachines
from cloudrouter.client.aio.opening import Opening
from cloudrouter.client.aio.streams import AsyncStream
from cloudrouter.client.aio.volumes import AsyncVolumes
from cloudrouter.client.observing import read_usages
from cloudrouter.client.requests import ListOptions, StartOptions
from cloudrouter.wire.machines import Event, Usage


class AsyncClient:
    """The way to this user's router; one is started when none runs. For one event loop; may be shared by tasks.

    `machines` and `volumes` are what the router keeps; `start`, `list`, `get` and `delete` are those of `machines`.
    """

    def __init__(self, socket_path: str | None = None) -> None:
        """socket_path: a router's own Unix socket, which then must be there; None: the user's router."""
        self._link = Link(socket_path)
        self.machines = AsyncMachines(self._link)
        self.volumes = AsyncVolumes(self._link)

    def start(
        self, folder: str | os.PathLike[str] | None = None, **options: Unpack[StartOptions]
    ) -> Opening[AsyncMachine]:
        """A new machine: `machines.start`, for short."""
        return self.machines.start(folder, **options)

    async def get(self, ref: str) -> AsyncMachine:
        """One machine: `machines.get`, for short."""
        return await self.machines.get(ref)

    async def delete(self, ref: str) -> None:
        """Delete a machine: `machines.delete`, for short."""
        await self.machines.delete(ref)

    def events(
        self, *, machine: str | None = None, kind: str | None = None, after: int | None = None, follow: bool = False
    ) -> AsyncIterator[Event]:
        """What has happened, oldest first; with follow what happens from now on, or behind `after`, without end.

        kind: a pattern such as `machine.*`. after: an event's `seq`. Each event comes once, also across restarts of
        the router.
        """
        return observing.events(self._link, machine=machine, kind=kind, after=after, follow=follow)

    async def stats(self, machines: Sequence[str] = ()) -> list[Usage]:
        """What these machines use now, or all that live; takes a moment, in which cpu is watched."""
        return read_usages(await self._link.call("GET", requests.stats_path(machines)))

    def follow_stats(self, machines: Sequence[str] = (), *, interval: float = 2.0) -> AsyncIterator[list[Usage]]:
        """What these machines use, or all that live: at once and then every `interval` seconds, without end."""
        return observing.follow_stats(self._link, list(machines), interval)

    async def open_stream(self, path: str) -> AsyncStream:
        """A stream to a path of the router's API; see Machine.open_stream."""
        return await self._link.stream(path)

    async def list(self, **options: Unpack[ListOptions]) -> list[AsyncMachine]:
        """The machines that live: `machines.list`, for short."""
        return await self.machines.list(**options)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the router, which is started again when it is gone; its JSON answer."""
        return await self._link.call(method, path, body)

    async def close(self) -> None:
        """Close the connections; machines go on."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        await self._link.ready()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()
