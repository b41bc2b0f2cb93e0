"""The volumes of a router: disks that outlive machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudrouter.client.facts import check_list
from cloudrouter.client.requests import read_record, volume_path, volumes_path
from cloudrouter.wire import routes
from cloudrouter.wire.volumes import Volume

if TYPE_CHECKING:
    from cloudrouter.client.machines import Client


class Volumes:
    """Volumes by name; a machine gets one with `start(volumes=["NAME:/path"])`, which makes it when it is not there."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, size: bool = False, provider: str | None = None) -> list[Volume]:
        """All volumes and who has them; with size each is measured, which may take seconds."""
        answer = self._client.call("GET", volumes_path(size=size, provider=provider))
        return [read_record(Volume, one) for one in check_list(answer, "volumes")]

    def get(self, name: str, *, provider: str | None = None) -> Volume:
        """One volume, measured; NotFound when there is none of that name."""
        return read_record(Volume, self._client.call("GET", volume_path(name, provider)))

    def create(self, name: str, *, provider: str | None = None) -> Volume:
        """Make a volume, or find the one of that name."""
        body = {"name": name} if provider is None else {"name": name, "provider": provider}
        return read_record(Volume, self._client.call("POST", routes.VOLUMES, body))

    def remove(self, name: str, *, provider: str | None = None) -> None:
        """Remove a volume and all that is in it; Conflict while a machine has it, also a stopped one."""
        self._client.call("DELETE", volume_path(name, provider))
