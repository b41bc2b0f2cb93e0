"""Images on a Docker or Podman engine: the few operations that building needs, and the provider contract's four."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import aiodocker
import aiohttp

from cloudrouter.images import build as building
from cloudrouter.images import recipe
from cloudrouter.images.engine import BuildOrder, ImageFacts, Progress
from cloudrouter.providers.docker.api import refusal, translate
from cloudrouter.providers.errors import Conflict, NotFound, ProviderBug

_LINE_LIMIT = 1 << 20
_REFERENCE = re.compile(r"(?!.*(\.\.|//))[A-Za-z0-9][A-Za-z0-9_./:@-]{0,254}")
"""What can be a reference or an id, so that no name climbs out of its place in the engine's address."""
_WORK = aiohttp.ClientTimeout(total=None, sock_connect=10)
"""Builds and pulls take as long as they take; an engine that is gone is noticed by its closed socket."""


class DockerEngine:
    """`images.engine.Engine` over the Engine API and one kept session."""

    def __init__(self, docker: aiodocker.Docker) -> None:
        self._docker = docker

    async def pull(self, reference: str) -> AsyncGenerator[Mapping[str, Any], None]:
        """Fetch an image from its registry; yields progress objects, raises when it fails."""
        name, _, tag = reference.rpartition(":")
        async with aclosing(self._stream("images/create", params={"fromImage": name, "tag": tag})) as events:
            async for event in events:
                if event.get("error"):
                    raise ProviderBug(f"The engine cannot pull {reference}: {event['error']}")
                yield event

    async def import_tar(self, chunks: AsyncIterator[bytes], *, reference: str, changes: Sequence[str]) -> None:
        """Make an image of one layer from a root filesystem's tar."""
        # The tag stands in `repo`, which every engine understands; Podman does not look at `tag` here.
        params = [("fromSrc", "-"), ("repo", reference), *(("changes", change) for change in changes)]
        async with aclosing(self._stream("images/create", params=params, data=chunks)) as events:
            async for event in events:
                if event.get("error"):
                    raise ProviderBug(f"The engine cannot import {reference}: {event['error']}")
        if await self.inspect_image(reference) is None:
            raise ProviderBug(f"The engine says that it imported {reference}, but it does not have it.")

    async def build(self, order: BuildOrder) -> AsyncGenerator[Mapping[str, Any], None]:
        """Build with the classic builder, which every engine since 20.10 and Podman's socket have."""
        params = {
            "t": order.tag,
            "dockerfile": "Dockerfile",
            "version": "1",
            "rm": "1",
            "forcerm": "1",
            "nocache": "1" if order.from_scratch else "0",
            "buildargs": json.dumps(dict(order.buildargs)),
            "labels": json.dumps(dict(order.labels)),
        }
        if order.host_network:
            params["networkmode"] = "host"
        async with aclosing(self._stream("build", params=params, data=order.context)) as events:
            async for event in events:
                yield event

    async def inspect_image(self, reference: str) -> ImageFacts | None:
        """The image of that reference or id, None when it is not there."""
        if not _REFERENCE.fullmatch(reference):
            return None
        try:
            body = await self._call(self._docker.images.inspect(reference))
        except NotFound:
            return None
        return _facts(body, labels=(body.get("Config") or {}).get("Labels"))

    async def find_images(self, *, label: str, dangling: bool = False) -> list[ImageFacts]:
        """Images that carry a label (`key` or `key=value`); only those without a tag when `dangling`."""
        filters = {"label": [label], **({"dangling": ["true"]} if dangling else {})}
        found = await self._call(self._docker.images.list(filters=filters))
        return [_facts(body, labels=body.get("Labels")) for body in found]

    async def untag_image(self, reference: str) -> None:
        """Take a reference away, and the image with its last one. Missing raises NotFound, in use Conflict."""
        await self._call(self._docker.images.delete(reference))

    async def tag_image(self, reference: str, *, new: str) -> None:
        """Give an image one more tag."""
        repository, _, tag = new.rpartition(":")
        await self._call(self._docker.images.tag(reference, repository, tag=tag))

    async def images_in_use(self) -> set[str]:
        """Ids of the images of all containers, running or not."""
        found = await self._call(self._docker.containers.list(all=True))
        return {str(container["ImageID"]) for container in found}

    async def _call(self, operation: Any) -> Any:
        try:
            return await operation
        except (aiodocker.DockerError, aiohttp.ClientError, OSError) as error:
            raise translate(error) from error

    async def _stream(
        self, path: str, *, params: Any, data: bytes | AsyncIterator[bytes] | None = None
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """Objects of one long answer; leaving early closes the connection, by which the engine ends the work."""
        await self._call(self._docker.version())  # settles the API version that the address needs
        url = f"{self._docker.docker_host}/{self._docker.api_version}/{path}"
        headers = {"Content-Type": "application/x-tar"} if data is not None else {}
        try:
            response = await self._docker.session.post(url, params=params, data=data, headers=headers, timeout=_WORK)
            try:
                if response.status >= 400:
                    raise refusal(response.status, await response.text(errors="replace"))
                async for line in _lines(response.content):
                    yield json.loads(line)
            finally:
                response.close()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise translate(error) from error


class DockerImages:
    """The contract's `Images`: ours by short name, any other image by its reference."""

    def __init__(self, docker: aiodocker.Docker) -> None:
        self.engine = DockerEngine(docker)

    async def resolve_image(self, name: str) -> str | None:
        """The runnable reference; None when the engine does not have it, or has an outdated build of ours."""
        if name in recipe.NAMES:
            wanted = await building.load(name)
            return wanted.reference if await building.is_current(self.engine, wanted) else None
        return name if await self.engine.inspect_image(name) is not None else None

    async def build_image(self, name: str, *, progress: Progress, rebuild: bool = False) -> str:
        """Build one of our images, or do nothing when it is there and current; returns its reference."""
        return await building.build(self.engine, name, progress=progress, rebuild=rebuild)

    async def list_images(self) -> list[Mapping[str, Any]]:
        """Every build of our images on this engine, newest first; steps of builds, which have no name, left out."""
        current = {(await building.load(name)).digest for name in recipe.NAMES}
        used = await self.engine.images_in_use()
        found = await self.engine.find_images(label=recipe.LABEL_IMAGE)
        return [
            {
                "name": image.labels[recipe.LABEL_IMAGE],
                "reference": _best_reference(image),
                "size_bytes": image.size_bytes,
                "created_at": datetime.fromtimestamp(image.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "current": image.labels.get(recipe.LABEL_DIGEST) in current,
                "in_use": image.id in used,
            }
            for image in sorted(found, key=lambda image: -image.created_at)
            if image.tags or image.id in used
        ]

    async def remove_image(self, name: str) -> None:
        """Remove a build by reference, or by short name all builds and the parts they were made from."""
        images = await self._named(name)
        used = await self.engine.images_in_use()
        busy = [_best_reference(image) for image in images if image.id in used]
        if busy:
            raise Conflict(
                f"Machines still use {', '.join(busy)}.",
                fix="delete these machines first",
                next="cloudrouter ls -a",
            )
        for image in images:
            await self._remove(image)
        if name in recipe.NAMES:
            for part in await self.engine.find_images(label=f"{recipe.LABEL_PART}={name}"):
                await self._remove(part)

    async def _named(self, name: str) -> list[ImageFacts]:
        if name in recipe.NAMES:
            images = await self.engine.find_images(label=f"{recipe.LABEL_IMAGE}={name}")
        else:
            one = await self.engine.inspect_image(name)
            images = [one] if one is not None and recipe.LABEL_IMAGE in one.labels else []
        if not images:
            raise NotFound(f"There is no image of CloudRouter's called {name!r} here.", next="cloudrouter image ls")
        return images

    async def _remove(self, image: ImageFacts) -> None:
        """Every tag, or the bare image; what a removal took along with it is gone already."""
        for reference in image.tags or (image.id,):
            try:
                await self.engine.untag_image(reference)
            except NotFound:
                continue


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for data in content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > _LINE_LIMIT:
            raise ProviderBug("The container engine sent a line that never ends.")
    if rest.strip():
        yield rest


def _facts(body: Mapping[str, Any], *, labels: Mapping[str, str] | None) -> ImageFacts:
    created = body.get("Created") or 0
    if isinstance(created, str):
        # Nanoseconds, which fromisoformat does not take, are more than anybody asks.
        created = datetime.fromisoformat(created[:19] + "+00:00").timestamp()
    # Podman spells out the registry that Docker leaves unsaid.
    tags = tuple(tag.removeprefix("docker.io/") for tag in body.get("RepoTags") or () if tag != "<none>:<none>")
    return ImageFacts(str(body["Id"]), tags, labels or {}, int(body.get("Size") or 0), float(created))


def _best_reference(image: ImageFacts) -> str:
    exact = [tag for tag in image.tags if not tag.endswith(":latest")]
    return (exact or [*image.tags, image.id])[0]
