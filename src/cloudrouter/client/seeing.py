"""A machine as people see it: addresses for their browsers, a picture of its desktop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudrouter.client import pictures, requests, served
from cloudrouter.client.apps import Apps
from cloudrouter.client.execution import Execution
from cloudrouter.client.facts import MachineFacts
from cloudrouter.wire import routes
from cloudrouter.wire.doors import Door

if TYPE_CHECKING:
    from cloudrouter.client.machines import Client


class SeenMachine(MachineFacts):
    """What a Machine has for the eyes of people."""

    _client: Client
    apps: Apps

    def open(self, target: int | str, *, path: str = "/", view_only: bool = False) -> Door:
        """An address for a person's browser, good for one minute and one use: a port, or an app such as `desktop`.

        view_only: whoever comes in this way sees the desktop and cannot type. NotFound for an app that is not there.
        """
        body = requests.door_request(target, path, view_only=view_only)
        answer = self._client.call("POST", routes.machine(self.id, "open"), body)
        return requests.read_record(Door, served.read_door(answer))

    def close_doors(self) -> int:
        """End every address, cookie and connection by which people see this machine; how many those were."""
        return served.read_closed(self._client.call("POST", routes.machine(self.id, "close")))

    def screenshot(self) -> bytes:
        """The whole desktop as a PNG; the desktop is started when it is off."""
        self.apps.start(served.DESKTOP)
        stream = self._client.open_stream(routes.machine(self.id, "stream"))
        request = requests.exec_request([pictures.SCREENSHOT], None, None)
        with Execution(stream, request, pictures.SCREENSHOT) as execution:
            data = execution.wait().check().stdout
        pictures.check_png(data)
        return data
