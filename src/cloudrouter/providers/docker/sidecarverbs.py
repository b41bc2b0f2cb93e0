"""What of the provider's contract is about sidecars, for the provider to take in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloudrouter.providers import base
from cloudrouter.providers.base import Handle, Measurement, Observation, Progress, SidecarSeen
from cloudrouter.providers.docker import container, sidecarspec, volumes
from cloudrouter.providers.docker.api import understood
from cloudrouter.providers.docker.measuring import Meter
from cloudrouter.providers.docker.sidecars import DockerSidecars
from cloudrouter.providers.docker.volumes import DockerVolumes
from cloudrouter.providers.errors import NotFound, NotRunning
from cloudrouter.wire import ids

NO_CONTAINER = "0" * 64
"""In the handle of a machine of which only its workspace is left."""


class SidecarVerbs:
    """`base.Sidecars` over the Engine API."""

    _sidecars: DockerSidecars
    _volumes: DockerVolumes
    _meter: Meter

    @understood
    async def check_sidecar_image(self, name: str) -> None:
        """See `base.Sidecars`."""
        await self._sidecars.check_image(name)

    @understood
    async def fetch_sidecar_image(self, name: str, *, progress: Progress) -> None:
        """See `base.Sidecars`."""
        await self._sidecars.fetch_image(name, progress=progress)

    @understood
    async def list_sidecars(self, handle: Handle, *, measure: bool = False) -> list[SidecarSeen]:
        """See `base.Sidecars`."""
        machine_id, _container_id = container.ids_of(handle)
        found = []
        for container_id, seen in await self._sidecars.seen(machine_id):
            known = await self._use_of(machine_id, container_id) if measure and seen.state == base.RUNNING else None
            found.append(replace(seen, memory_bytes=known.memory_bytes if known is not None else None))
        return found

    @understood
    async def machines_with_ended_sidecars(self) -> list[str]:
        """See `base.Sidecars`."""
        return await self._sidecars.with_ended()

    @understood
    async def start_sidecar(self, handle: Handle, *, name: str) -> None:
        """See `base.Sidecars`."""
        await self._sidecars.start_one(container.ids_of(handle)[0], name)

    @understood
    async def stop_sidecar(self, handle: Handle, *, name: str, grace_s: float = 10.0) -> None:
        """See `base.Sidecars`."""
        machine_id, _container_id = container.ids_of(handle)
        await self._sidecars.stop_one(machine_id, name, seconds=container.whole_seconds(grace_s))

    @understood
    async def read_sidecar_log(self, handle: Handle, *, name: str, tail: int | None = None) -> bytes:
        """See `base.Sidecars`."""
        return await self._sidecars.read_log(container.ids_of(handle)[0], name, tail=tail)

    async def _use_of(self, machine_id: str, container_id: str) -> Measurement | None:
        """What one sidecar uses; None when it has just ended."""
        try:
            return await self._meter.measure(machine_id, container_id, disk=False)
        except (NotRunning, NotFound):
            return None

    async def _with_sidecars(self, machine_id: str, found: Measurement) -> Measurement:
        """A machine's use with that of its sidecars, where its own control groups do not count them."""
        for container_id in await self._sidecars.beside(machine_id):
            more = await self._use_of(machine_id, container_id)
            if more is not None:
                found = replace(
                    found,
                    cpu_seconds=_sum(found.cpu_seconds, more.cpu_seconds),
                    memory_bytes=_sum(found.memory_bytes, more.memory_bytes),
                    processes=_sum(found.processes, more.processes),
                )
        return found

    async def _disk_of_sidecars(self, machine_id: str) -> int:
        """What sidecars have written, with the volumes of their own and the workspace they share."""
        entries = await self._sidecars.entries(machine_id, size=True)
        sizes = await self._volumes.sizes()
        names = {str(one.get("Name")) for entry in entries for one in entry.get("Mounts") or () if one.get("Name")}
        owned = (name for name in names if not volumes.is_persons(name))
        written = (entry.get("SizeRw") for entry in entries)
        return sum(sizes.get(name, 0) for name in owned) + sum(one for one in written if isinstance(one, int))

    @understood
    async def _strays(self, entries: list[Mapping[str, Any]]) -> list[Observation]:
        """Machines of which only sidecars or the workspace are left, so that they can be deleted."""
        there = {str(one["Labels"].get(base.LABEL_MACHINE)) for one in entries if not sidecarspec.name_in(one)}
        strays = []
        for entry in entries:
            machine_id, beside = sidecarspec.machine_in(entry) if sidecarspec.name_in(entry) else ("", "")
            if ids.is_machine_id(machine_id) and machine_id not in there:
                there.add(machine_id)
                strays.append(_stray(machine_id, beside, str(entry["Labels"].get(base.LABEL_OWNER) or "")))
        for machine_id, owner in (await self._volumes.workspaces()).items():
            if machine_id not in there:
                strays.append(_stray(machine_id, "", owner))
        return strays


def _stray(machine_id: str, beside: str, owner: str) -> Observation:
    handle = container.handle_of(machine_id, beside if container.is_container_id(beside) else NO_CONTAINER)
    return Observation(machine_id, handle, base.GONE, "only its sidecars are left", owner=owner)


def _sum(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else one + other
