"""What containers use: read from the control groups of this host where the engine is here, else asked of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloudrouter.providers.base import LABEL_MACHINE, Measurement
from cloudrouter.providers.docker.api import EngineApi
from cloudrouter.providers.docker.cgroups import ControlGroups, find_groups, read_groups
from cloudrouter.providers.docker.container import LABEL_SIDECARS
from cloudrouter.providers.docker.host import HostFacts
from cloudrouter.providers.errors import NotFound, NotRunning
from cloudrouter.wire.errors import CloudRouterError

DISK_EVERY_S = 60.0
DISK_REST = 200.0
"""A disk that took a second to measure is left alone for so many seconds: then it costs half a percent of one cpu."""
FIRST_DISK_S = 1.0
"""So long the first measurement of a machine waits for its disk; a larger one is told the next time."""
FORGET_S = 600.0


@dataclass
class _Disk:
    size_bytes: int | None = None
    measured_at: float = 0.0
    cost_s: float = 0.0
    asked_at: float = 0.0
    task: asyncio.Task[None] | None = None


class Meter:
    """Measures the containers of one engine; remembers where the kernel counts for each, and the size of its disk."""

    def __init__(
        self,
        api: EngineApi,
        *,
        find_host: Callable[[], Awaitable[HostFacts]],
        monotonic: Callable[[], float],
        weigh_sidecars: Callable[[str], Awaitable[int]] | None = None,
    ) -> None:
        """weigh_sidecars: bytes on the disk of all sidecars of a machine, by its id."""
        self._api = api
        self._weigh_sidecars = weigh_sidecars
        self._find_host = find_host
        self._monotonic = monotonic
        self._groups: dict[str, ControlGroups] = {}
        self._disks: dict[str, _Disk] = {}
        self._one_disk = asyncio.Semaphore(1)

    async def measure(self, machine_id: str, container_id: str, *, disk: bool = True) -> Measurement:
        """All that is known of one container now; NotRunning or NotFound when there is nothing to measure."""
        found = self._read(container_id)
        if found is None:
            found = await self._look(machine_id, container_id)
        return replace(found, disk_bytes=await self._disk_bytes(container_id)) if disk else found

    async def aclose(self) -> None:
        """End measurements of disks that still go on."""
        tasks = [disk.task for disk in self._disks.values() if disk.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _read(self, container_id: str) -> Measurement | None:
        """From the control groups known from before; None when they are gone, as after a stop."""
        # Some files of the kernel's own memory: quicker than handing them to a thread would be.
        groups = self._groups.get(container_id)
        found = read_groups(groups) if groups is not None else None
        if found is None:
            self._groups.pop(container_id, None)
        return found

    async def _look(self, machine_id: str, container_id: str) -> Measurement:
        try:
            state = (await self._api.call("GET", f"containers/{container_id}/json"))["State"]
            if state.get("Status") not in ("running", "paused"):
                raise NotRunning(f"{machine_id} is {state.get('Status')}.")
            if (await self._find_host()).is_local:
                groups = find_groups(int(state.get("Pid") or 0), container_id)
                if groups is not None:
                    self._groups[container_id] = groups
                    found = self._read(container_id)
                    if found is not None:
                        return found
            params = {"stream": "false", "one-shot": "true"}
            return from_engine(await self._api.call("GET", f"containers/{container_id}/stats", params=params))
        except NotFound as error:
            raise NotFound(f"{machine_id} is gone.", next="cloudrouter ls -a") from error

    # -- disks --------------------------------------------------------------------------------------------------

    async def _disk_bytes(self, container_id: str) -> int | None:
        now = self._monotonic()
        self._forget_old(now)
        disk = self._disks.setdefault(container_id, _Disk())
        disk.asked_at = now
        is_old = now - disk.measured_at >= max(DISK_EVERY_S, DISK_REST * disk.cost_s)
        if disk.task is None and (disk.size_bytes is None or is_old):
            disk.task = asyncio.create_task(self._weigh(container_id, disk), name=f"disk of {container_id[:12]}")
            if disk.size_bytes is None:
                await asyncio.wait({disk.task}, timeout=FIRST_DISK_S)
        return disk.size_bytes

    async def _weigh(self, container_id: str, disk: _Disk) -> None:
        """Let the engine count what the container has written, one container at a time."""
        try:
            async with self._one_disk:
                began = self._monotonic()
                body = await self._api.call("GET", f"containers/{container_id}/json", params={"size": "1"})
                size = body.get("SizeRw")
                labels = (body.get("Config") or {}).get("Labels") or {}
                if isinstance(size, int) and size >= 0:
                    if self._weigh_sidecars is not None and labels.get(LABEL_SIDECARS):
                        size += await self._weigh_sidecars(labels[LABEL_MACHINE])
                    disk.size_bytes = size
                disk.cost_s = self._monotonic() - began
        except CloudRouterError:
            disk.size_bytes = None  # The machine or the engine went away; whoever asks again learns it then.
        finally:
            disk.measured_at = self._monotonic()
            disk.task = None

    def _forget_old(self, now: float) -> None:
        for container_id, disk in list(self._disks.items()):
            if disk.task is None and now - disk.asked_at > FORGET_S:
                del self._disks[container_id]
                self._groups.pop(container_id, None)


def from_engine(body: Mapping[str, Any]) -> Measurement:
    """What the engine's `stats` says; its fields differ between control groups of version 1 and 2."""
    memory, cpu = body.get("memory_stats") or {}, (body.get("cpu_stats") or {}).get("cpu_usage") or {}
    details = memory.get("stats") or {}
    idle = details.get("total_inactive_file", details.get("inactive_file", 0))
    networks = body.get("networks")
    total = cpu.get("total_usage")
    usage = memory.get("usage")
    return Measurement(
        cpu_seconds=int(total) / 1e9 if total is not None else None,
        memory_bytes=max(0, int(usage) - int(idle)) if usage is not None else None,
        network_received_bytes=_sum(networks, "rx_bytes"),
        network_sent_bytes=_sum(networks, "tx_bytes"),
        processes=(body.get("pids_stats") or {}).get("current"),
    )


def _sum(networks: Mapping[str, Mapping[str, Any]] | None, key: str) -> int | None:
    return sum(int(one.get(key, 0)) for one in networks.values()) if networks else None
