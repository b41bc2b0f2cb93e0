"""Images on a Docker or Podman engine: the few operations that building needs, and the provider contract's four."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Any

import aiodocker
import aiohttp

from cloudrouter.images import apps, folders, layering, recipe, references, shelf
from cloudrouter.images import build as building
from cloudrouter.images.engine import BuildOrder, ImageFacts, ImageSettings, Progress
from cloudrouter.images.folders import FolderBuild
from cloudrouter.images.known import Known
from cloudrouter.providers.docker.api import refusal, translate
from cloudrouter.providers.errors import Conflict, InvalidSpec, NotFound, ProviderBug
from cloudrouter.wire import flavours

COUNT_DEADLINE_S = 60.0
QUIET_SHARES = "64"
"""What a build that nobody waits for gets of busy processors; others have 1024."""
_LINE_LIMIT = 1 << 20
_REFERENCE = re.compile(r"(?!.*(\.\.|//))[A-Za-z0-9][A-Za-z0-9_./:@-]{0,254}")
"""What can be a reference or an id, so that no name climbs out of its place in the engine's address."""
_WORK = aiohttp.ClientTimeout(total=None, sock_connect=10)
"""Builds and pulls take as long as they take; an engine that is gone is noticed by its closed socket."""


class DockerEngine:
    """`images.engine.Engine` over the Engine API and one kept session."""

    def __init__(self, docker: aiodocker.Docker, known: Known | None = None) -> None:
        self._docker = docker
        self.known = known or Known()
        self.own_apps = ""

    async def pull(self, reference: str) -> AsyncGenerator[Mapping[str, Any], None]:
        """Fetch an image from its registry; yields progress objects, raises when it fails."""
        name, tag = references.split(reference)
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
        made = await self.inspect_image(reference)
        if made is None:
            raise ProviderBug(f"The engine says that it imported {reference}, but it does not have it.")
        self.known.remember(made.id, reference)

    async def build(self, order: BuildOrder) -> AsyncGenerator[Mapping[str, Any], None]:
        """Build with the classic builder, which every engine since 20.10 and Podman's socket have."""
        params = {
            "t": order.tag,
            "dockerfile": order.dockerfile,
            "version": "1",
            "rm": "1",
            "forcerm": "1",
            "nocache": "1" if order.from_scratch else "0",
            "buildargs": json.dumps(dict(order.buildargs)),
            "labels": json.dumps(dict(order.labels)),
        }
        if order.host_network:
            params["networkmode"] = "host"
        if order.quiet:
            params["cpushares"] = QUIET_SHARES
        if order.target:
            params["target"] = order.target
        made = ""
        async with aclosing(self._stream("build", params=params, data=order.context)) as events:
            async for event in events:
                made = "" if event.get("error") else str((event.get("aux") or {}).get("ID") or made)
                yield event
        if made:
            self.known.remember(made, order.tag)

    async def inspect_image(self, reference: str) -> ImageFacts | None:
        """The image of that reference or id, None when it is not there."""
        if not _REFERENCE.fullmatch(reference):
            return None
        try:
            body = await self._call(self._docker.images.inspect(reference))
        except NotFound:
            return None
        return self._facts(body, labels=(body.get("Config") or {}).get("Labels"))

    async def inspect_settings(self, reference: str) -> ImageSettings | None:
        """What an image was made for and brings along; None when it is not there."""
        if not _REFERENCE.fullmatch(reference):
            return None
        try:
            body = await self._call(self._docker.images.inspect(reference))
        except NotFound:
            return None
        config = body.get("Config") or {}
        return ImageSettings(
            id=str(body["Id"]),
            os=str(body.get("Os") or ""),
            architecture=str(body.get("Architecture") or ""),
            labels=config.get("Labels") or {},
            volumes=tuple(config.get("Volumes") or ()),
            triggers=tuple(config.get("OnBuild") or ()),
        )

    async def architecture(self) -> str:
        """What the engine's host runs, in Go's words."""
        found = await self._call(self._docker.version())
        return str(found.get("Arch") or "")

    async def find_images(self, *, label: str, dangling: bool = False) -> list[ImageFacts]:
        """Images that carry a label (`key` or `key=value`); only those without a tag when `dangling`."""
        filters = {"label": [label], **({"dangling": ["true"]} if dangling else {})}
        found = await self._call(self._docker.images.list(filters=filters))
        return [self._facts(body, labels=body.get("Labels")) for body in found]

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

    async def count_bytes(self) -> int | None:
        """What all images take on the engine's disk, shared layers once; None where it does not tell in time."""
        await self._call(self._docker.version())
        # Old engines do not know `type` and count volumes, too, which takes long where there are many.
        url = f"{self._docker.docker_host}/{self._docker.api_version}/system/df"
        timeout = aiohttp.ClientTimeout(total=COUNT_DEADLINE_S)
        try:
            async with self._docker.session.get(url, params={"type": "image"}, timeout=timeout) as response:
                found = await response.json()
        except TimeoutError:
            return None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise translate(error) from error
        size = found.get("LayersSize") if isinstance(found, dict) else None
        return int(size) if isinstance(size, int) else None

    def _facts(self, body: Mapping[str, Any], *, labels: Mapping[str, str] | None) -> ImageFacts:
        created = body.get("Created") or 0
        if isinstance(created, str):
            # Nanoseconds, which fromisoformat does not take, are more than anybody asks.
            created = datetime.fromisoformat(created[:19] + "+00:00").timestamp()
        # Podman spells out the registry that Docker leaves unsaid.
        tags = tuple(tag.removeprefix("docker.io/") for tag in body.get("RepoTags") or () if tag != "<none>:<none>")
        key, size = str(body["Id"]), int(body.get("Size") or 0)
        # Engines note under which digest they know an image from a registry. Where some do so of their own builds, too,
        # what this router did not build itself is built once more.
        fetched = any(not one.startswith("<none>") for one in body.get("RepoDigests") or ())
        made_here = self.known.has(key) or not (fetched or self.known.gave(tags))
        return ImageFacts(key, tags, labels or {}, size, float(created), made_here)

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

    def __init__(self, docker: aiodocker.Docker, known: Known | None = None) -> None:
        self.engine = DockerEngine(docker, known)

    def use_apps(self, folder: str) -> None:
        """Where people's own apps are kept."""
        self.engine.own_apps = folder

    async def check_image(self, name: str) -> None:
        """Refuse what cannot be an image, and what only this engine could have and has not."""
        base, wanted = flavours.split(name)
        # An app that is not here, or cannot be with another one, is told before anything is made.
        await asyncio.to_thread(apps.find_all, wanted, self.engine.own_apps)
        if recipe.is_named_ours(name):
            return
        references.check(base)
        reference = references.engine_reference(base)
        if references.may_be_pulled(base) or await self.engine.inspect_image(reference) is not None:
            return
        raise NotFound(
            f"The image {base} is not in the engine.",
            fix="Build it (again): cloudrouter image build, or start --build DIR.",
            next="cloudrouter image ls",
        )

    async def resolve_image(self, name: str) -> str | None:
        """The runnable reference; None when the engine does not have it, or has an outdated build of ours."""
        if recipe.is_named_ours(name):
            wanted = await building.load(name, self.engine.own_apps)
            return wanted.reference if await building.is_current(self.engine, wanted) else None
        if name.startswith(references.OWN):
            facts = await self.engine.inspect_image(name)
            if facts is not None and recipe.boots_by_itself(facts):
                return name
        return await layering.find(self.engine, name)

    async def build_image(self, name: str, *, progress: Progress, rebuild: bool = False, quiet: bool = False) -> str:
        """Build one of our images, or make another one bootable; nothing to do when it is there and current."""
        if name == recipe.RUNTIME or recipe.is_named_ours(name):
            return await building.build(self.engine, name, progress=progress, rebuild=rebuild, quiet=quiet)
        return await layering.layer(self.engine, name, progress=progress, refresh=rebuild, quiet=quiet)

    async def build_folder(
        self, order: FolderBuild, tar: AsyncIterator[bytes], *, progress: Progress
    ) -> Mapping[str, str]:
        """Build from a person's Dockerfile, and make the result bootable."""
        name = await folders.build_folder(self.engine, order, tar, progress=progress)
        try:
            reference = await layering.layer(self.engine, name, progress=progress)
        except InvalidSpec:
            # No machine can ever boot from it, and nobody else knows of it; a tag of the person's own stays.
            with suppress(NotFound, Conflict):
                await shelf.remove(self.engine, name)
            raise
        return {"name": order.tag or name, "reference": reference}

    async def list_images(self) -> list[Mapping[str, Any]]:
        """Everything of ours on this engine, newest first."""
        return [one.to_json() for one in await shelf.read(self.engine)]

    async def remove_image(self, name: str) -> None:
        """Remove an image of ours by reference, or by name all builds of it and what was made for them alone."""
        await shelf.remove(self.engine, name)

    async def prune_images(self, *, everything: bool, dry_run: bool) -> Mapping[str, Any]:
        """Remove builds that nobody needs."""
        return await shelf.prune(self.engine, everything=everything, dry_run=dry_run)


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
