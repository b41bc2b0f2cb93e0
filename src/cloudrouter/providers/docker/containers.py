"""Containers on the engine: made, started, removed, listed; every step can be cut and taken up again."""

from __future__ import annotations

import asyncio
import builtins
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloudrouter.images import recipe
from cloudrouter.images.known import Known
from cloudrouter.providers.base import LABEL_MACHINE, LABEL_ROUTER, MachineSpec
from cloudrouter.providers.docker import container, host
from cloudrouter.providers.docker.api import EngineApi
from cloudrouter.providers.docker.config import DockerConfig
from cloudrouter.providers.docker.host import HostFacts
from cloudrouter.providers.docker.images import DockerEngine
from cloudrouter.providers.docker.network import Network
from cloudrouter.providers.docker.volumes import DockerVolumes
from cloudrouter.providers.docker.walls import Walls
from cloudrouter.providers.errors import Conflict, InvalidSpec, NotConfigured, NotFound, ProviderBug, Unreachable
from cloudrouter.wire import ids
from cloudrouter.wire.errors import CloudRouterError

REMOVAL_DEADLINE_S = 30.0
APPEARANCE_DEADLINE_S = 10.0
APPEARANCE_POLL_S = 0.02


class Containers:
    """The containers of one router's machines."""

    def __init__(
        self,
        api: EngineApi,
        *,
        router_id: str,
        network: Network,
        walls: Walls,
        volumes: DockerVolumes,
        config: DockerConfig,
        known: Known,
    ) -> None:
        self._api = api
        self._known = known
        self._volumes = volumes
        self._router_id = router_id
        self._network = network
        self._walls = walls
        self._config = config
        self._modest = False
        """The engine could not give the usual number of open files."""
        self._placing: dict[str, str] = {}
        """machine id -> cpus of machines that are being created and that no list shows yet."""

    async def make(self, spec: MachineSpec, facts: HostFacts) -> str:
        """The container of a spec, running; its id. What the engine refuses to start is removed again."""
        await self._stand_up()
        container_id = await self._existing(spec)
        if container_id is None:
            for mount in spec.mounts:
                await self._volumes.ensure(mount.volume, owner=spec.owner)
            container_id = await self._create(spec, facts)
        try:
            await self.start(container_id)
        except ProviderBug as error:
            if "rlimit" not in error.message or self._modest:
                raise
            self._modest = True
            await self._api.settle(self.remove(container_id))
            container_id = await self._create(spec, facts)
            await self.start(container_id)
        except InvalidSpec:
            await self._api.settle(self.remove(container_id))
            raise
        return container_id

    async def _stand_up(self) -> None:
        """Network, then walls: who takes the rules down leaves them while a bridge is there, and a new bridge asks."""
        if await self._network.ensure():
            self._walls.forget()
        await self._walls.ensure(self.helper_image)

    async def start(self, container_id: str) -> None:
        """Start behind walls; running already is success. A network that was pruned meanwhile is made again."""
        await self._stand_up()
        try:
            await self._start(container_id)
        except NotFound as error:
            if "network" not in error.message:
                raise
            self._network.forget()
            await self._stand_up()
            await self._api.settle(self._network.reconnect(container_id))
            await self._start(container_id)

    async def remove(self, container_id: str) -> None:
        """Remove a container with its anonymous volumes, whatever it is doing; missing is success."""
        path = f"containers/{container_id}"
        try:
            await self._api.call("DELETE", path, params={"force": "1", "v": "1"})
        except NotFound:
            return
        except Conflict:
            await self._await_removal(path)

    async def listed(self, *labels: str) -> builtins.list[Mapping[str, Any]]:
        """The engine's list of containers with all these labels, running or not."""
        filters = json.dumps({"label": list(labels)})
        found = await self._api.call("GET", "containers/json", params={"all": "1", "filters": filters})
        if not isinstance(found, builtins.list):
            raise ProviderBug("The container engine's list of containers is none.")
        return found

    async def choose_cpus(self, cpu: float, facts: HostFacts) -> str:
        """The cpus for a machine of that size, counted over all routers' machines on the engine."""
        shown = await self.listed(LABEL_MACHINE)
        taken = [(entry.get("Labels") or {}).get(container.LABEL_CPUS, "") for entry in shown]
        return container.choose_cpus(cpu, host_cpus=facts.cpus, taken=[*taken, *self._placing.values()])

    async def helper_image(self) -> str:
        """The image that can put up the walls: the one configured, else the newest build of ours.

        This router's own builds go before those that only the engine vouches for.
        """
        if self._config.helper_image:
            return self._config.helper_image
        # It gets rights on the host's network: a label alone, which anybody can write, does not make an image ours.
        marked = await DockerEngine(self._api.docker, self._known).find_images(label=recipe.LABEL_IMAGE)
        bootable = [image for image in marked if image.labels[recipe.LABEL_IMAGE] in recipe.BOOTABLE]
        found = [image for image in bootable if recipe.is_ours(image)]
        found = [image for image in found if self._known.has(image.id)] or found
        if not found:
            raise NotConfigured(
                "The walls around machines need our own image, which is not built yet.",
                fix="Build it; it holds what loads the walls.",
                next="cloudrouter image build",
            )
        return max(found, key=lambda image: image.created_at).id

    def ulimits(self, facts: HostFacts) -> builtins.list[dict[str, Any]]:
        """What this engine can give."""
        return host.ulimits(is_podman=facts.is_podman, modest=self._modest)

    async def _existing(self, spec: MachineSpec) -> str | None:
        name = ids.dns_label(spec.machine_id)
        try:
            body = await self._api.call("GET", f"containers/{name}/json")
        except NotFound:
            return None
        labels = body["Config"].get("Labels") or {}
        if labels.get(LABEL_ROUTER) != self._router_id or labels.get(LABEL_MACHINE) != spec.machine_id:
            raise Conflict(
                f"A container called {name} is there, but it is not this router's.", fix=f"docker rm -f {name}"
            )
        return str(body["Id"])

    async def _create(self, spec: MachineSpec, facts: HostFacts) -> str:
        await self._network.ensure()
        cpus = await self.choose_cpus(spec.cpu, facts)
        self._placing[spec.machine_id] = cpus
        try:
            return await self._post(spec, cpus, facts)
        except Conflict:
            return await self._made_elsewhere(spec)
        except NotFound as error:
            if "network" not in error.message:
                raise InvalidSpec(
                    f"The engine has no image {spec.image!r}.",
                    fix="Build our own with `cloudrouter image build`, or fetch another with docker pull.",
                    next="cloudrouter image build",
                    field="image",
                ) from error
            self._network.forget()
            await self._network.ensure()
            return await self._post(spec, cpus, facts)
        finally:
            self._placing.pop(spec.machine_id, None)

    async def _post(self, spec: MachineSpec, cpus: str, facts: HostFacts) -> str:
        """Create it; without the package cache's door where the engine has not our folders."""
        if not facts.is_local:
            spec = replace(spec, package_door=None)
        try:
            return await self._post_as_it_is(spec, cpus, facts)
        except CloudRouterError as error:
            if spec.package_door is None or "bind source path" not in error.message:
                raise
            return await self._post_as_it_is(replace(spec, package_door=None), cpus, facts)

    async def _post_as_it_is(self, spec: MachineSpec, cpus: str, facts: HostFacts) -> str:
        body = container.create_body(
            spec,
            network=self._network.name,
            cpus=cpus,
            ulimits=self.ulimits(facts),
            dns=self._config.dns,
        )
        if facts.is_podman:
            # It takes a file of its host's in this place, and its own list allows namespaces as ours does.
            del body["HostConfig"]["SecurityOpt"]
        name = ids.dns_label(spec.machine_id)
        made = await self._api.settle(self._api.call("POST", "containers/create", params={"name": name}, body=body))
        return str(made["Id"])

    async def _made_elsewhere(self, spec: MachineSpec) -> str:
        """Another object of this router was quicker; the engine takes the name before it shows the container."""
        try:
            async with asyncio.timeout(APPEARANCE_DEADLINE_S):
                while True:
                    found = await self._existing(spec)
                    if found is not None:
                        return found
                    await asyncio.sleep(APPEARANCE_POLL_S)
        except TimeoutError as error:
            name = ids.dns_label(spec.machine_id)
            raise Unreachable(f"The engine says that {name} is there, but does not show it.") from error

    async def _start(self, container_id: str) -> None:
        try:
            await self._api.settle(self._api.call("POST", f"containers/{container_id}/start"))
        except (NotFound, ProviderBug) as error:
            explained = await self._volumes.explain(container_id, error)
            if explained is error:
                raise
            raise explained from error

    async def _await_removal(self, path: str) -> None:
        """Somebody else is removing it already."""
        try:
            await self._api.call("POST", f"{path}/wait", params={"condition": "removed"}, deadline_s=REMOVAL_DEADLINE_S)
            await self._api.call("GET", f"{path}/json")
        except NotFound:
            return
        raise Unreachable("The container engine is still removing the machine's container.")
