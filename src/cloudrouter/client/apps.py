"""The apps of a machine: units inside it that serve people, such as its desktop or its editor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudrouter.client import requests, served
from cloudrouter.client.ports import Tunnel
from cloudrouter.wire import routes
from cloudrouter.wire.apps import AppState

if TYPE_CHECKING:
    from cloudrouter.client.machines import Client


class Apps:
    """The apps of a machine, as its `apps`. They start when somebody looks at them, and stop when nobody does."""

    def __init__(self, client: Client, machine_id: str) -> None:
        self._client = client
        self._machine_id = machine_id

    def list(self) -> list[AppState]:
        """All that its image has, and what runs beside it, with their states."""
        answer = self._client.call("GET", routes.machine(self._machine_id, "apps"))
        return [requests.read_record(AppState, one) for one in served.read_apps(answer)]

    def start(self, name: str) -> AppState:
        """Start an app, and those it requires; returns when it is healthy. NotFound when the machine has none such."""
        return self._act(name, "start")

    def stop(self, name: str) -> AppState:
        """Stop an app, and those that require it. It starts again when somebody looks at it."""
        return self._act(name, "stop")

    def logs(self, name: str, *, tail: int | None = None) -> str:
        """What it wrote, of which the end is kept; tail: the last so many lines only."""
        path = requests.query(routes.machine(self._machine_id, "apps", served.app_word(name), "logs"), tail=tail)
        return served.read_log(self._client.call("GET", path))

    def connect(self, name: str) -> Tunnel:
        """A connection to where it listens inside, port or socket; it is started when it is off."""
        stream = self._client.open_stream(routes.machine(self._machine_id, "stream"))
        return Tunnel(stream, requests.target_request(served.app_word(name)))

    def _act(self, name: str, verb: str) -> AppState:
        path = routes.machine(self._machine_id, "apps", served.app_word(name), verb)
        return requests.read_record(AppState, served.read_app(self._client.call("POST", path)))
