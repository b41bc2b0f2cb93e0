"""The volumes of a router on the event loop."""

from __future__ import annotations

from cloudrouter.client.aio.link import Link
from cloudrouter.client.facts import check_list
from cloudrouter.client.requests import read_record, volume_path, volumes_path
from cloudrouter.wire import routes
from cloudrouter.wire.volumes import Volume


class AsyncVolumes:
    """Volumes by name; a machine gets one with `start(volumes=["NAME:/path"])`, which makes it when it is not there."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(self, *, size: bool = False, provider: str | None = None) -> list[Volume]:
        """All volumes and who has them; with size each is measured, which may take seconds."""
        answer = await self._link.call("GET", volumes_path(size=size, provider=provider))
        return [read_record(Volume, one) for one in check_list(answer, "volumes")]

    async def get(self, name: str, *, provider: str | None = None) -> Volume:
        """One volume, measured; NotFound when there is none of that name."""
        return read_record(Volume, await self._link.call("GET", volume_path(name, provider)))

    async def create(self, name: str, *, provider: str | None = None) -> Volume:
        """Make a volume, or find the one of that name."""
        body = {"name": name} if provider is None else {"name": name, "provider": provider}
        return read_record(Volume, await self._link.call("POST", routes.VOLUMES, body))

    async def remove(self, name: str, *, provider: str | None = None) -> None:
        """Remove a volume and all that is in it; Conflict while a machine has it, also a stopped one."""
        await self._link.call("DELETE", volume_path(name, provider))
