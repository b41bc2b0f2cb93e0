"""Building one of our images: its missing parts in order, with progress by steps, once even when asked twice."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import aclosing
from weakref import WeakKeyDictionary

from cloudrouter.images import base, context, failures, host, recipe
from cloudrouter.images.engine import BuildOrder, Engine, ImageFacts, Progress
from cloudrouter.images.recipe import LABEL_APPS, LABEL_DIGEST, LABEL_IMAGE, LABEL_LEFTOVER, LABEL_PART, Part, Recipe
from cloudrouter.images.steps import Follower, Steps, titles
from cloudrouter.wire.errors import CloudRouterError, Conflict, NotFound, ProviderBug

__all__ = ["BuildOrder", "Engine", "ImageFacts", "Progress", "build", "is_current", "load", "make"]

_BASE_TITLE = "Debian base"
_STALE_S = 3600.0
"""A builder stage of another build counts as forgotten after this long."""

_locks: WeakKeyDictionary[Engine, dict[str, asyncio.Lock]] = WeakKeyDictionary()


def only_one(engine: Engine, name: str) -> asyncio.Lock:
    """The lock under which an image is made on an engine: who asks second waits, and finds it done."""
    return _locks.setdefault(engine, {}).setdefault(name, asyncio.Lock())


async def load(name: str, own_apps: str = "") -> Recipe:
    """The recipe as this installation has it now; NotFound for a name that is none of ours."""
    return await asyncio.to_thread(recipe.load, name, own_apps)


async def is_current(engine: Engine, wanted: Recipe) -> bool:
    """The engine has exactly this image."""
    facts = await engine.inspect_image(wanted.reference)
    return facts is not None and facts.made_here and facts.labels.get(LABEL_DIGEST) == wanted.digest


async def build(
    engine: Engine,
    name: str,
    *,
    progress: Progress,
    rebuild: bool = False,
    quiet: bool = False,
    env: Mapping[str, str] | None = None,
) -> str:
    """Build an image unless it is there and current; returns its exact reference.

    `rebuild` fetches Debian's packages anew; `quiet` leaves the processors to others. A second call for the same image
    waits for the first.
    Raises NotFound (no such image), NotConfigured (no way to a base), Unreachable (network), NoCapacity (disk),
    ProviderBug (a step failed); the message has the step and its last lines, so has `details.output`.
    """
    async with only_one(engine, name):
        wanted = await load(name, engine.own_apps)
        await make(engine, wanted, progress=progress, rebuild=rebuild, quiet=quiet, env=env)
        await engine.tag_image(wanted.reference, new=wanted.latest)
        return wanted.reference


async def make(
    engine: Engine,
    wanted: Recipe,
    *,
    progress: Progress,
    rebuild: bool = False,
    quiet: bool = False,
    env: Mapping[str, str] | None = None,
) -> None:
    """Make the image of a recipe unless it is there and current; the caller holds its name's lock."""
    if rebuild or not await is_current(engine, wanted):
        env = os.environ if env is None else env
        await _Build(engine, wanted, progress, env, rebuild=rebuild, quiet=quiet).run()


class _Build:
    """One run: which parts are made, and from what."""

    def __init__(
        self, engine: Engine, wanted: Recipe, progress: Progress, env: Mapping[str, str], *, rebuild: bool, quiet: bool
    ) -> None:
        named = [title for part in wanted.parts for title in titles(part.dockerfile).values()]
        self._engine = engine
        self._wanted = wanted
        self._env = env
        self._rebuild = rebuild
        self._quiet = quiet
        self._steps = Steps(wanted.name, [_BASE_TITLE, *named], progress)
        self._mark = secrets.token_hex(8)
        self._began = time.time()

    async def run(self) -> None:
        """Make what is missing, oldest first; builder stages go whatever happens, replaced images on success."""
        before = await self._engine.inspect_image(self._wanted.reference)
        try:
            for part in self._wanted.parts:
                # Other images may be made of the same part at the same time.
                async with only_one(self._engine, part.reference):
                    if await self._is_missing(part):
                        await self._make(part)
        finally:
            await self._sweep(f"{LABEL_LEFTOVER}={self._mark}", older_than=None)
            await self._sweep(LABEL_LEFTOVER, older_than=self._began - _STALE_S)
        if before is not None:
            if self._wanted.boots:
                await self._engine.tag_image(self._wanted.reference, new=self._wanted.latest)
            families = dict.fromkeys(part.family for part in self._wanted.parts)
            await self._sweep(f"{LABEL_IMAGE}={self._wanted.parts[-1].name}", older_than=self._began)
            for family in families:
                await self._sweep(f"{LABEL_PART}={family}", older_than=self._began)

    async def _is_missing(self, part: Part) -> bool:
        last = part is self._wanted.parts[-1]
        if last or (self._rebuild and part.ages):
            return True
        facts = await self._engine.inspect_image(part.reference)
        return facts is None or not facts.made_here

    async def _make(self, part: Part) -> None:
        order = await self._order(part)
        follower = Follower(part.dockerfile, self._steps)
        async with aclosing(self._engine.build(order)) as events:
            async for event in events:
                if event.get("error"):
                    follower.end()
                    raise self._failure(part, str(event["error"]))
                follower.feed(str(event.get("stream") or ""))
        follower.end()
        if await self._engine.inspect_image(part.reference) is None:
            raise ProviderBug(f"The engine says that it built {part.reference}, but it does not have it.")

    def _failure(self, part: Part, reason: str) -> CloudRouterError:
        name, step, tail = self._wanted.name, self._steps.title, self._steps.tail
        if part.app:
            return failures.of_app(name, part.app, step, reason, tail)
        return failures.of_our_own(name, step, reason, tail)

    async def _order(self, part: Part) -> BuildOrder:
        files = dict(part.files)
        if part.reaches_out:
            files |= await asyncio.to_thread(host.fetch_files, self._env)
        files["Dockerfile"] = context.File(part.dockerfile.encode())
        labels = {LABEL_PART: part.family, LABEL_DIGEST: part.digest}
        if part is self._wanted.parts[-1] and self._wanted.boots:
            labels = {LABEL_IMAGE: part.name, LABEL_DIGEST: part.digest, LABEL_APPS: ",".join(self._wanted.apps)}
        return BuildOrder(
            context=await asyncio.to_thread(context.pack, files),
            tag=part.reference,
            buildargs=await self._buildargs(part),
            labels=labels,
            from_scratch=self._rebuild and part.ages,
            host_network=host.proxy_is_local(self._env),
            quiet=self._quiet,
        )

    async def _buildargs(self, part: Part) -> dict[str, str]:
        found = {**host.proxies(self._env), **part.given}
        for argument, name in part.needs.items():
            found[argument] = self._wanted.part(name).reference if name else await self._base()
        if "ARG LEFTOVER" in part.dockerfile:
            found["LEFTOVER"] = self._mark
        return found

    async def _base(self) -> str:
        self._steps.begin(_BASE_TITLE)
        return await base.ensure(self._engine, env=self._env, note=self._steps.say, refresh=self._rebuild)

    async def _sweep(self, label: str, *, older_than: float | None) -> None:
        """Remove images without a tag; those that machines or other builds still use stay."""
        for image in await self._engine.find_images(label=label, dangling=True):
            if older_than is not None and image.created_at >= older_than:
                continue
            try:
                await self._engine.untag_image(image.id)
            except (NotFound, Conflict):
                continue
