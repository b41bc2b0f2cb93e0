"""The verbs on volumes: disks that outlive machines, each one owner's."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from cloudrouter.providers import base
from cloudrouter.providers.base import Provider
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.finding import shown
from cloudrouter.server.services.views import rfc3339
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import ids, mounts, states
from cloudrouter.wire.errors import Conflict, InvalidSpec, NotFound, Unsupported
from cloudrouter.wire.machines import Mount
from cloudrouter.wire.volumes import Volume, VolumeUse


class Volumes:
    """Everything that may be asked of volumes; raises wire errors, knows nothing of HTTP."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(self, owner: str, *, provider: str | None = None, size: bool = False) -> list[Volume]:
        """The owner's volumes by name; with `size` each is measured, which may take seconds."""
        volumes, name = self._volumes(provider)
        found = await volumes.list_volumes(owner=owner)
        sizes = await volumes.measure_volumes(owner=owner) if size and found else {}
        return [self._view(one, name, sizes) for one in found]

    async def get(self, owner: str, name: str, *, provider: str | None = None) -> Volume:
        """One volume, measured; NotFound when the owner has none of that name."""
        volumes, provider_name = self._volumes(provider)
        found = await self._find(volumes, owner, name)
        return self._view(found, provider_name, await volumes.measure_volumes(owner=owner))

    async def create(self, owner: str, name: str, *, provider: str | None = None) -> tuple[Volume, bool]:
        """The volume, and whether it was made now; one that is there already is success."""
        volumes, provider_name = self._volumes(provider)
        fault = ids.name_fault(name)
        if fault:
            raise InvalidSpec(
                f"{shown(name)} cannot be a volume's name: {fault}.",
                fix="A name looks like npm-cache: a-z first, then a-z, 0-9 and -, 31 characters at most.",
                field="name",
            )
        made = await volumes.ensure_volume(name, owner=owner)
        if made:
            self._context.events.emit("volume.made", f"The volume {name} is made", volume=name)
        return self._view(await self._find(volumes, owner, name), provider_name, {}), made

    async def remove(self, owner: str, name: str, *, provider: str | None = None) -> None:
        """Remove a volume with all that is in it; Conflict while a machine has it, also a stopped one."""
        volumes, provider_name = self._volumes(provider)
        await self._find(volumes, owner, name)
        users = [row.name or row.id for row in self._users(owner, provider_name, name)]
        if users:
            more = f" and {len(users) - 5} more" if len(users) > 5 else ""
            whose = "a machine: " if len(users) == 1 else f"{len(users)} machines: "
            raise Conflict(
                f"The volume {name} is used by {whose}{', '.join(users[:5])}{more}.",
                fix="Delete what uses it first; a stopped machine keeps its volumes.",
                next=f"cloudrouter delete {' '.join(users[:5])}",
            )
        await volumes.remove_volume(name, owner=owner)
        self._context.events.emit("volume.removed", f"The volume {name} is removed", volume=name)

    def _volumes(self, provider: str | None) -> tuple[base.Volumes, str]:
        found = self._context.provider(provider or self._context.settings.default_provider)
        if not isinstance(found, base.Volumes):
            raise _without(found)
        return found, found.name

    async def _find(self, volumes: base.Volumes, owner: str, name: str) -> base.Volume:
        known = await volumes.list_volumes(owner=owner)
        for one in known:
            if one.name == name:
                return one
        close = difflib.get_close_matches(name, [one.name for one in known], n=1, cutoff=0.6)
        raise NotFound(
            f"There is no volume {shown(name)}.",
            fix=f"Did you mean {close[0]}?" if close else "A volume is made by `start --volume NAME:PATH`.",
            next="cloudrouter volume ls",
        )

    def _users(self, owner: str, provider: str, name: str) -> Sequence[Row]:
        """Machines that have it or will; one that is lost has nothing any more."""
        return [
            row
            for row in self._context.store.living(owner)
            if row.provider == provider
            and any(mount["volume"] == name for mount in row.mounts)
            and not (row.state == states.FAILED and row.handle is None)
        ]

    def _view(self, volume: base.Volume, provider: str, sizes: Mapping[str, int]) -> Volume:
        uses = [
            VolumeUse(row.id, row.name, row.state, mount["path"], mount["read_only"])
            for row in self._users(volume.owner, provider, volume.name)
            for mount in row.mounts
            if mount["volume"] == volume.name
        ]
        return Volume(volume.name, provider, sizes.get(volume.name), rfc3339(volume.created_at), uses)


def check_mounts(wanted: Sequence[Mount], provider: Provider) -> None:
    """Refuse volumes that cannot be where they are wanted, or that this provider does not have."""
    if not wanted:
        return
    if not provider.features().volumes:
        raise _without(provider)
    for mount in wanted:
        fault = mounts.mount_fault(mount.volume, mount.path)
        if fault:
            raise InvalidSpec(f"A volume cannot be mounted: {fault}.", fix="Choose another path.", field="mounts")
    fault = mounts.overlap_fault([mount.path for mount in wanted])
    if fault:
        raise InvalidSpec(
            f"The volumes cannot be in one machine: {fault}.", fix="Give each a folder of its own.", field="mounts"
        )


async def make_volumes(context: Context, row: Row) -> None:
    """Make the volumes of a machine that are not there, each told in the log."""
    provider = context.provider(row.provider)
    if not isinstance(provider, base.Volumes):
        return  # `check_mounts` has refused such a machine
    for name in dict.fromkeys(str(mount["volume"]) for mount in row.mounts):
        if await provider.ensure_volume(name, owner=row.owner):
            context.events.emit("volume.made", f"The volume {name} is made", machine_id=row.id, volume=name)


def _without(provider: Provider) -> Unsupported:
    return Unsupported(
        f"The provider {provider.name} has no volumes.",
        fix="Use one that has, such as docker: -p docker.",
        next="cloudrouter volume ls -p docker",
        feature="volumes",
    )
