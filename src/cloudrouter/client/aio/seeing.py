"""A machine as people see it, for programs that await."""

from __future__ import annotations

from cloudrouter.client import pictures, requests, served
from cloudrouter.client.aio.apps import AsyncApps
from cloudrouter.client.aio.execution import AsyncExecution
from cloudrouter.client.aio.link import Link
from cloudrouter.client.facts import MachineFacts
from cloudrouter.wire import routes
from cloudrouter.wire.doors import Door


class AsyncSeenMachine(MachineFacts):
    """What an AsyncMachine has for the eyes of people."""

    _link: Link
    apps: AsyncApps

    async def open(self, target: int | str, *, path: str = "/", view_only: bool = False) -> Door:
        """An address for a person's browser, good for one minute and one use: a port, or an app such as `desktop`.

        view_only: whoever comes in this way sees the desktop and cannot type. NotFound for an app that is not there.
        """
        body = requests.door_request(target, path, view_only=view_only)
        answer = await self._link.call("POST", routes.machine(self.id, "open"), body)
        return requests.read_record(Door, served.read_door(answer))

    async def close_doors(self) -> int:
        """End every address, cookie and connection by which people see this machine; how many those were."""
        return served.read_closed(await self._link.call("POST", routes.machine(self.id, "close")))

    async def screenshot(self) -> bytes:
        """The whole desktop as a PNG; the desktop is started when it is off."""
        await self.apps.start(served.DESKTOP)
        stream = await self._link.stream(routes.machine(self.id, "stream"))
        request = requests.exec_request([pictures.SCREENSHOT], None, None)
        async with await AsyncExecution.begin(stream, request, pictures.SCREENSHOT) as execution:
            data = (await execution.wait()).check().stdout
        pictures.check_png(data)
        return data
