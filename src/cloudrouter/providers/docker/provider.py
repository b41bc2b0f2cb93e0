"""The docker provider: one container a machine, on the router's own bridge, behind the walls."""

from __future__ import annotations

import asyncio
import builtins
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from cloudrouter.images import known
from cloudrouter.images.folders import FolderBuild
from cloudrouter.providers import base
from cloudrouter.providers.base import (
    LABEL_ROUTER,
    Clock,
    Features,
    Handle,
    Leftover,
    MachineSpec,
    Measurement,
    Need,
    Observation,
    Offer,
    Progress,
    Volume,
)
from cloudrouter.providers.docker import container, host, sidecarspec
from cloudrouter.providers.docker.api import EngineApi, translate, understood
from cloudrouter.providers.docker.config import DockerConfig
from cloudrouter.providers.docker.containers import Containers
from cloudrouter.providers.docker.dialling import Dialler, running_address
from cloudrouter.providers.docker.endpoint import find_endpoint
from cloudrouter.providers.docker.host import HostFacts
from cloudrouter.providers.docker.images import DockerImages
from cloudrouter.providers.docker.leftovers import Leftovers
from cloudrouter.providers.docker.measuring import Meter
from cloudrouter.providers.docker.network import Network
from cloudrouter.providers.docker.refusals import refuse_size, refuse_unknown
from cloudrouter.providers.docker.sidecars import DockerSidecars
from cloudrouter.providers.docker.sidecarverbs import SidecarVerbs
from cloudrouter.providers.docker.streams import split_output
from cloudrouter.providers.docker.volumes import DockerVolumes
from cloudrouter.providers.docker.walls import Walls
from cloudrouter.providers.errors import Conflict, InvalidSpec, NotFound, NotRunning, ProviderBug, Unreachable
from cloudrouter.wire import ids

CHECK_DEADLINE_S = 5.0
STOP_SLACK_S = 30.0
GONE_DEADLINE_S = 10.0


class DockerProvider(SidecarVerbs):
    """`base.Provider` over the Engine API; also Pausable, Resizable, Measurable, Removable, Console and Images.

    And Sidecars, whose verbs are in `sidecarverbs`.
    """

    name = container.NAME

    def __init__(self, *, router_id: str, clock: Clock, config: Mapping[str, Any] | None = None) -> None:
        self._router_id = router_id
        self._config = DockerConfig.from_mapping(config)
        self._api = EngineApi(lambda: find_endpoint(os.environ, uid=os.getuid(), host=self._config.host))
        self._known = known.at(self._config.images_file)
        self._network = Network(self._api, router_id, find_mtu=self._route_mtu)
        self._walls = Walls(self._api, router_id=router_id, clock=clock, dns=self._config.dns)
        self._volumes = DockerVolumes(self._api, router_id=router_id, clock=clock)
        self._containers = Containers(
            self._api,
            router_id=router_id,
            network=self._network,
            walls=self._walls,
            volumes=self._volumes,
            config=self._config,
            known=self._known,
        )
        self._sidecars = DockerSidecars(self._api, router_id=router_id, containers=self._containers, known=self._known)
        self._dialler = Dialler(self._api, mode=self._config.dial)
        self._meter = Meter(
            self._api, find_host=self._host, monotonic=time.monotonic, weigh_sidecars=self._disk_of_sidecars
        )
        self._leftovers = Leftovers(
            self._api,
            router_id=router_id,
            network=self._network,
            walls=self._walls,
            find_image=self._containers.helper_image,
            known=self._known,
        )
        self._creating = asyncio.Semaphore(self._config.creates_at_once)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._facts: HostFacts | None = None
        self._docker_images: DockerImages | None = None
        self._own_apps = ""

    def __repr__(self) -> str:
        return f"DockerProvider(router_id={self._router_id!r})"

    async def check(self) -> None:
        """The engine answers and may be used."""
        try:
            async with asyncio.timeout(CHECK_DEADLINE_S):
                await self._api.read("_ping")
        except TimeoutError as error:
            raise Unreachable(
                f"The container engine did not answer within {CHECK_DEADLINE_S:g} s.", next="cloudrouter doctor"
            ) from error

    def features(self) -> Features:
        """A root of its own behind walls; the disk cannot be limited."""
        return Features(
            pause=True,
            pause_keeps_memory=True,
            resize=True,
            console=True,
            images=True,
            volumes=True,
            sidecars=True,
            stats=True,
            removable=True,
            package_door=True,
            stop_keeps_disk=True,
            private_network=True,
            own_root=True,
            gone_within_s=GONE_DEADLINE_S,
        )

    @understood
    async def offers(self, need: Need) -> list[Offer]:
        """The engine's host, when the need fits it."""
        facts = await self._host()
        if need.gpu is not None or (need.cpu or 0) > facts.cpus or (need.memory_bytes or 0) > facts.memory_bytes:
            return []
        available = await host.available_memory(facts)
        return [Offer("local", facts.cpus, facts.memory_bytes, available)]

    @understood
    async def create(self, spec: MachineSpec) -> Handle:
        """Make network, walls and container as far as they are not there, and start it."""
        refuse_unknown(spec, self._router_id)
        facts = await self._host()
        refuse_size(spec.cpu, spec.memory_bytes, facts)
        async with self._creating, self._lock(spec.machine_id):
            try:
                container_id = await self._containers.make(spec, facts)
                if spec.sidecars:
                    await self._make_sidecars(spec, container_id, facts)
            except Unreachable:
                self._forget()
                raise
        return container.handle_of(spec.machine_id, container_id)

    async def _make_sidecars(self, spec: MachineSpec, container_id: str, facts: HostFacts) -> None:
        """Beside the machine's container; what cannot be made takes the machine along."""
        try:
            await self._sidecars.make(spec, container_id, facts)
        except InvalidSpec:
            await self._api.settle(self._remove(spec.machine_id, container_id))
            raise

    async def _remove(self, machine_id: str, container_id: str) -> None:
        await self._sidecars.remove_all(machine_id, thaw=container_id)
        await self._api.settle(self._containers.remove(container_id))
        await self._volumes.remove_workspace(machine_id)

    @understood
    async def inspect(self, handle: Handle) -> Observation:
        """The container as the engine sees it now."""
        machine_id, container_id = _ids(handle)
        try:
            return container.observe(await self._api.call("GET", f"containers/{container_id}/json"))
        except NotFound:
            return Observation(machine_id, handle, base.GONE)

    @understood
    async def stop(self, handle: Handle, *, grace_s: float = 5.0) -> None:
        """TERM to the first process, KILL to all after the grace; a frozen machine is thawed for it."""
        machine_id, container_id = _ids(handle)
        seconds = container.whole_seconds(grace_s)
        try:
            if (await self.inspect(handle)).state == base.PAUSED:
                await self._thaw(container_id)
            await self._sidecars.stop_all(machine_id, seconds=seconds)
            await self._api.settle(
                self._api.call(
                    "POST",
                    f"containers/{container_id}/stop",
                    params={"t": str(seconds)},
                    deadline_s=seconds + STOP_SLACK_S,
                )
            )
        except NotFound:
            return

    @understood
    async def start(self, handle: Handle) -> None:
        """Boot again, behind walls that are looked at first: the host may have been restarted meanwhile."""
        machine_id, container_id = _ids(handle)
        body = await self._existing(machine_id, container_id)
        if body["State"].get("Status") == "paused":
            raise Conflict(f"{machine_id} is frozen, not stopped.", next=f"cloudrouter resume {machine_id}")
        async with self._lock(machine_id):
            try:
                if body["State"].get("Status") != "running":
                    # They may outlive a machine that ended by itself, with the network of its last boot.
                    await self._sidecars.stop_all(machine_id, seconds=0)
                await self._containers.start(container_id)
                await self._sidecars.start_all(machine_id)
            except NotFound as error:
                if "volume" in error.details:
                    raise
                raise _missing(machine_id) from error
            except Unreachable:
                self._forget()
                raise

    @understood
    async def delete(self, handle: Handle) -> None:
        """Remove its sidecars, the container with its anonymous volumes, and a shared workspace, whatever they do."""
        await self._remove(*_ids(handle))

    async def list(self) -> AsyncIterator[Observation]:
        """Every container with this router's label that is a machine, and machines of which only a part is left."""
        entries = await self._containers.listed(f"{LABEL_ROUTER}={self._router_id}")
        for stray in await self._strays(entries):
            yield stray
        for entry in entries:
            try:
                if sidecarspec.name_in(entry):
                    continue
                seen = container.observe_listed(entry)
            except (LookupError, TypeError, AttributeError, ValueError) as error:
                raise translate(error) from error
            if ids.is_machine_id(seen.machine_id):
                yield seen

    @understood
    async def dial(self, handle: Handle, *, port: int) -> socket.socket:
        """By the container's address in our network, or through a program in the container."""
        machine_id, container_id = _ids(handle)

        async def address_of() -> str:
            try:
                body = await self._api.call("GET", f"containers/{container_id}/json")
            except NotFound as error:
                raise NotRunning(f"{machine_id} is gone.") from error
            return running_address(body, machine_id, container.address_of(body, self._network.name))

        return await self._dialler.dial(machine_id, container_id, port, address_of=address_of)

    async def aclose(self) -> None:
        """End streams that are bridged, and the session."""
        await self._meter.aclose()
        await self._dialler.aclose()
        await self._api.aclose()

    @understood
    async def pause(self, handle: Handle) -> None:
        """Freeze through the engine."""
        machine_id, container_id = _ids(handle)
        try:
            await self._sidecars.freeze(machine_id, frozen=True)
            await self._api.settle(self._api.call("POST", f"containers/{container_id}/pause"))
        except (Conflict, ProviderBug, NotFound) as error:
            seen = await self.inspect(handle)
            if seen.state == base.PAUSED:
                return
            if seen.state == base.GONE:
                raise _missing(machine_id) from error
            if seen.state != base.RUNNING:
                raise NotRunning(f"{machine_id} is {seen.state}.") from error
            raise

    @understood
    async def resume(self, handle: Handle) -> None:
        """Thaw through the engine."""
        machine_id, container_id = _ids(handle)
        body = await self._existing(machine_id, container_id)
        if body["State"].get("Status") not in ("running", "paused"):
            raise NotRunning(f"{machine_id} is {body['State'].get('Status')}.")
        await self._thaw(container_id)
        await self._sidecars.freeze(machine_id, frozen=False)

    @understood
    async def resize(self, handle: Handle, *, cpu: float, memory_bytes: int) -> None:
        """New ceilings at once; memory below what is in use is refused."""
        machine_id, container_id = _ids(handle)
        facts = await self._host()
        body = await self._existing(machine_id, container_id)
        refuse_size(cpu, memory_bytes, facts)
        changes: dict[str, Any] = {}
        if body["HostConfig"].get("CpusetCpus"):
            cpus = await self._containers.choose_cpus(cpu, facts)
            changes["CpusetCpus"] = cpus or f"0-{facts.cpus - 1}"
        changes |= await self._sidecars.refit(machine_id, body, cpu, memory_bytes, cpus=changes.get("CpusetCpus", ""))
        try:
            await self._api.settle(self._api.call("POST", f"containers/{container_id}/update", body=changes))
        except (Conflict, ProviderBug) as error:
            raise InvalidSpec(
                f"{machine_id} cannot be resized to {cpu:g} cpu and {memory_bytes} bytes: {error.message}",
                fix="It may be using more than that now.",
                field="memory_bytes",
            ) from error

    @understood
    async def read_console(self, handle: Handle, *, limit_bytes: int = 65536) -> bytes:
        """What supervisor and guest printed, both streams one after the other."""
        machine_id, container_id = _ids(handle)
        try:
            output = await self._api.read(
                f"containers/{container_id}/logs", params={"stdout": "1", "stderr": "1", "tail": "2000"}
            )
        except NotFound as error:
            raise _missing(machine_id) from error
        return b"".join(split_output(output))[-limit_bytes:]

    @understood
    async def ensure_volume(self, name: str, *, owner: str) -> bool:
        """See `base.Volumes`."""
        return await self._volumes.ensure(name, owner=owner)

    @understood
    async def list_volumes(self, *, owner: str | None = None) -> builtins.list[Volume]:
        """See `base.Volumes`."""
        return await self._volumes.listed(owner=owner)

    @understood
    async def measure_volumes(self, *, owner: str) -> Mapping[str, int]:
        """See `base.Volumes`."""
        return await self._volumes.measure(owner=owner)

    @understood
    async def remove_volume(self, name: str, *, owner: str) -> None:
        """See `base.Volumes`."""
        await self._volumes.remove(name, owner=owner)

    @understood
    async def measure(self, handle: Handle) -> Measurement:
        """From the kernel's own counters where the engine is on this host, else from the engine."""
        machine_id, container_id = _ids(handle)
        return await self._with_sidecars(machine_id, await self._meter.measure(machine_id, container_id))

    @understood
    async def leftovers(self) -> builtins.list[Leftover]:
        """Helpers, network, rules, volumes, and our images, which other routers on this engine use too."""
        return await self._leftovers.find()

    @understood
    async def remove_leftover(self, leftover: Leftover) -> None:
        """See `base.Removable`."""
        await self._leftovers.remove(leftover)

    @understood
    async def remove_network(self) -> None:
        """Take away what was made for all machines of this router: network and, after the last router's, the walls."""
        await self._network.remove()
        await self._walls.take_down(self._containers.helper_image)

    async def resolve_image(self, name: str) -> str | None:
        """See `base.Images`."""
        return await self._images().resolve_image(name)

    def build_image(
        self, name: str, *, progress: Progress, rebuild: bool = False, quiet: bool = False
    ) -> Awaitable[str]:
        """See `base.Images`."""
        return self._images().build_image(name, progress=progress, rebuild=rebuild, quiet=quiet)

    def use_apps(self, folder: str) -> None:
        """See `base.Images`."""
        self._own_apps = folder
        if self._docker_images is not None:
            self._docker_images.use_apps(folder)

    async def list_images(self) -> builtins.list[Mapping[str, Any]]:
        """See `base.Images`."""
        return await self._images().list_images()

    async def remove_image(self, name: str) -> None:
        """See `base.Images`."""
        await self._images().remove_image(name)

    async def check_image(self, name: str) -> None:
        """See `base.Images`."""
        await self._images().check_image(name)

    async def build_folder(
        self, order: FolderBuild, tar: AsyncIterator[bytes], *, progress: Progress
    ) -> Mapping[str, str]:
        """See `base.Images`."""
        return await self._images().build_folder(order, tar, progress=progress)

    async def prune_images(self, *, everything: bool, dry_run: bool) -> Mapping[str, Any]:
        """See `base.Images`."""
        return await self._images().prune_images(everything=everything, dry_run=dry_run)

    def _images(self) -> DockerImages:
        """One object, because who builds the same image at once must meet at its locks."""
        docker = self._api.docker
        if self._docker_images is None:
            self._docker_images = DockerImages(docker, self._known)
            self._docker_images.use_apps(self._own_apps)
        return self._docker_images

    def _lock(self, machine_id: str) -> asyncio.Lock:
        """One lock a machine, kept as long as somebody holds or awaits it."""
        return self._locks.setdefault(machine_id, asyncio.Lock())

    def _forget(self) -> None:
        """The engine went away: network, walls and facts are looked at again."""
        self._facts = None
        self._network.forget()
        self._walls.forget()

    async def _host(self) -> HostFacts:
        if self._facts is None:
            self._facts = await host.read_facts(self._api)
        return self._facts

    async def _route_mtu(self) -> int | None:
        return await host.route_mtu(await self._host())

    async def _existing(self, machine_id: str, container_id: str) -> Mapping[str, Any]:
        try:
            body: Mapping[str, Any] = await self._api.call("GET", f"containers/{container_id}/json")
        except NotFound as error:
            raise _missing(machine_id) from error
        return body

    async def _thaw(self, container_id: str) -> None:
        try:
            await self._api.settle(self._api.call("POST", f"containers/{container_id}/unpause"))
        except (Conflict, ProviderBug):
            body = await self._api.call("GET", f"containers/{container_id}/json")
            if body["State"].get("Status") == "paused":
                raise


_ids = container.ids_of


def _missing(machine_id: str) -> NotFound:
    return NotFound(f"{machine_id} is gone.", next="cloudrouter ls -a")
