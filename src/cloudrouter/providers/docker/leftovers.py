"""What one router has on the engine besides its machines: helpers, network, rules, volumes, and everybody's images."""

from __future__ import annotations

import json
from collections.abc import Mapping

from cloudrouter.images import base as base_image
from cloudrouter.images import recipe, references
from cloudrouter.images.engine import ImageFacts
from cloudrouter.images.known import Known
from cloudrouter.providers.base import LABEL_MACHINE, LABEL_ROUTER, Leftover
from cloudrouter.providers.docker.api import EngineApi
from cloudrouter.providers.docker.images import DockerEngine
from cloudrouter.providers.docker.network import Network
from cloudrouter.providers.docker.walls import FindImage, Walls
from cloudrouter.providers.errors import Conflict, NotConfigured, NotFound, Unsupported
from cloudrouter.wire.errors import CloudRouterError

RULES = "inet cloudrouter"
USAGE_DEADLINE_S = 20.0
"""Counting the bytes of volumes takes an engine long when there are many; then they are shown without."""


class Leftovers:
    """Finds them by this router's labels and names, and removes them one by one."""

    def __init__(
        self, api: EngineApi, *, router_id: str, network: Network, walls: Walls, find_image: FindImage, known: Known
    ) -> None:
        self._api = api
        self._known = known
        self._router_id = router_id
        self._network = network
        self._walls = walls
        self._find_image = find_image

    async def find(self) -> list[Leftover]:
        """In the order in which they can go: the rules need our image to be taken down, so images come last."""
        found = [Leftover("helper", one) for one in await self._helpers()]
        if await self._network.is_there():
            found.append(Leftover("network", self._network.name))
        if await self._has_rules():
            found.append(Leftover("rules", RULES))
        return [*found, *await self._volumes(), *await self._images()]

    async def remove(self, leftover: Leftover) -> None:
        """Remove one; missing is success, in use raises Conflict."""
        match leftover.kind:
            case "network":
                await self._network.remove()
            case "rules":
                await self._walls.take_down(self._find_image)
            case "helper":
                await self._delete(f"containers/{leftover.name}", force="1", v="1")
            case "volume":
                await self._delete(f"volumes/{leftover.name}")
            case "image":
                await self._remove_image(leftover.name)
            case _:
                raise Unsupported(f"Provider docker has no leftovers called {leftover.kind!r}.", feature="removable")

    async def _helpers(self) -> list[str]:
        filters = json.dumps({"label": [f"{LABEL_ROUTER}={self._router_id}"]})
        found = await self._api.call("GET", "containers/json", params={"all": "1", "filters": filters})
        return [str(one["Id"]) for one in found if LABEL_MACHINE not in (one.get("Labels") or {})]

    async def _has_rules(self) -> bool:
        """Whether rules stand that no other router's bridge needs."""
        try:
            seen = await self._walls.look(self._find_image)
        except NotConfigured:
            return False  # Without our image nobody can look; and without it none were put up by this build.
        others = [bridge for bridge in seen.bridges if bridge != self._network.bridge]
        return seen.up and not others

    async def _volumes(self) -> list[Leftover]:
        filters = json.dumps({"label": [f"{LABEL_ROUTER}={self._router_id}"]})
        body = await self._api.call("GET", "volumes", params={"filters": filters})
        names = sorted(str(one["Name"]) for one in body.get("Volumes") or ())
        sizes = await self._volume_sizes() if names else {}
        return [Leftover("volume", name, sizes.get(name)) for name in names]

    async def _volume_sizes(self) -> Mapping[str, int]:
        try:
            body = await self._api.call("GET", "system/df", deadline_s=USAGE_DEADLINE_S)
        except CloudRouterError:
            return {}
        usages = {str(one["Name"]): (one.get("UsageData") or {}).get("Size") for one in body.get("Volumes") or ()}
        return {name: size for name, size in usages.items() if isinstance(size, int) and size >= 0}

    async def _images(self) -> list[Leftover]:
        engine = self._engine()
        found = {one.id: one for one in await engine.find_images(label=recipe.LABEL_IMAGE)}
        found |= {one.id: one for one in await engine.find_images(label=recipe.LABEL_PART)}
        root = await engine.inspect_image(base_image.OWN)
        if root is not None:
            found[root.id] = root
        ours = [one for one in found.values() if self._is_ours(one)]
        newest_first = sorted(ours, key=lambda one: -one.created_at)
        shared = bool(ours) and await self._has_neighbours()
        return [Leftover("image", _name_of(one), one.size_bytes, shared=shared) for one in newest_first]

    def _is_ours(self, image: ImageFacts) -> bool:
        """Labels come along with `FROM cloudrouter/core`: what a person made from ours is not ours to remove, and of
        images that lost their tag only the builds that this router remembers are."""
        if not image.tags:
            return self._known.has(image.id)
        return recipe.is_ours(image) or (image.made_here and base_image.OWN in image.tags)

    async def _has_neighbours(self) -> bool:
        """Whether other routers have anything on this engine."""
        params = {"filters": json.dumps({"label": [LABEL_ROUTER]})}
        containers = await self._api.call("GET", "containers/json", params={"all": "1", **params})
        networks = await self._api.call("GET", "networks", params=params)
        volumes = (await self._api.call("GET", "volumes", params=params)).get("Volumes")
        seen = [(one.get("Labels") or {}).get(LABEL_ROUTER) for one in (*containers, *networks, *(volumes or ()))]
        return any(one not in (None, self._router_id) for one in seen)

    async def _remove_image(self, name: str) -> None:
        """Take our tags away, the image with the last one; a person's own tag on it stays, and so does the image."""
        engine = self._engine()
        facts = await engine.inspect_image(name)
        if facts is None or not self._is_ours(facts):
            return
        if facts.id in await engine.images_in_use():
            raise Conflict(f"Containers still use the image {name}.", fix="Remove them first.", next="docker ps -a")
        for reference in _own_tags(facts) or ((facts.id,) if not facts.tags else ()):
            try:
                await engine.untag_image(reference)
            except NotFound:
                continue

    async def _delete(self, path: str, **params: str) -> None:
        try:
            await self._api.settle(self._api.call("DELETE", path, params=params))
        except NotFound:
            return

    def _engine(self) -> DockerEngine:
        return DockerEngine(self._api.docker, self._known)


def _own_tags(image: ImageFacts) -> list[str]:
    return [tag for tag in image.tags if tag.startswith(references.OWN)]


def _name_of(image: ImageFacts) -> str:
    own = _own_tags(image)
    exact = [tag for tag in own if not tag.endswith(":latest")]
    return (exact or [*own, image.id])[0]
