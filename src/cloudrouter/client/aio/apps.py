"""The apps of a machine, for programs that await."""

from __future__ import annotations

from cloudrouter.client import requests, served
from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.opening import Opening
from cloudrouter.client.aio.ports import AsyncTunnel
from cloudrouter.wire import routes
from cloudrouter.wire.apps import AppState


class AsyncApps:
    """The apps of a machine, as its `apps`. They start when somebody looks at them, and stop when nobody does."""

    def __init__(self, link: Link, machine_id: str) -> None:
        self._link = link
        self._machine_id = machine_id

    async def list(self) -> list[AppState]:
        """All that its image has, and what runs beside it, with their states."""
        answer = await self._link.call("GET", routes.machine(self._machine_id, "apps"))
        return [requests.read_record(AppState, one) for one in served.read_apps(answer)]

    async def start(self, name: str) -> AppState:
        """Start an app, and those it requires; returns when it is healthy. NotFound when the machine has none such."""
        return await self._act(name, "start")

    async def stop(self, name: str) -> AppState:
        """Stop an app, and those that require it. It starts again when somebody looks at it."""
        return await self._act(name, "stop")

    async def logs(self, name: str, *, tail: int | None = None) -> str:
        """What it wrote, of which the end is kept; tail: the last so many lines only."""
        path = requests.query(routes.machine(self._machine_id, "apps", served.app_word(name), "logs"), tail=tail)
        return served.read_log(await self._link.call("GET", path))

    def connect(self, name: str) -> Opening[AsyncTunnel]:
        """A connection to where it listens inside, port or socket; it is started when it is off."""
        request = requests.target_request(served.app_word(name))

        async def connect() -> AsyncTunnel:
            stream = await self._link.stream(routes.machine(self._machine_id, "stream"))
            return await AsyncTunnel.begin(stream, request)

        return Opening(connect())

    async def _act(self, name: str, verb: str) -> AppState:
        path = routes.machine(self._machine_id, "apps", served.app_word(name), verb)
        return requests.read_record(AppState, served.read_app(await self._link.call("POST", path)))
