"""Foreign images: our guest is put into each once, on top, and found again by what it was made from."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from cloudrouter.images import build, context, failures, pulling, recipe, references
from cloudrouter.images.engine import BuildOrder, Engine, ImageSettings, Progress
from cloudrouter.images.recipe import Recipe
from cloudrouter.images.steps import Follower, Steps, titles
from cloudrouter.wire import flavours
from cloudrouter.wire.errors import InvalidSpec, NotFound, ProviderBug

RUNTIME = recipe.RUNTIME
OUR_LABELS = "cloudrouter.dev/"
_HARMLESS = {
    recipe.LABEL_IMAGE,
    recipe.LABEL_PART,
    recipe.LABEL_DIGEST,
    recipe.LABEL_BASE,
    recipe.LABEL_BASE_ID,
    recipe.LABEL_SOURCE,
    recipe.LABEL_ORIGIN,
    recipe.LABEL_APPS,
}
"""Labels of ours that come along when somebody builds on our images; the layer sets those that mean something."""
_PLACES = ("/etc", "/home", "/opt", "/opt/cloudrouter", "/home/user", "/home/user/workspace", "/var/lib/cloudrouter")
"""What would be lost, or shared where it must not, if it lay on a volume that the image asks for."""
_FETCH = "Fetch"


@dataclass(frozen=True)
class Layer:
    """One foreign image with the runtime of this installation on it."""

    name: str
    base: ImageSettings
    kit: Recipe
    dockerfile: str

    @property
    def digest(self) -> str:
        """Of the foreign image, our runtime and guest, and of how they are put together."""
        return digest_of(self.base.id, self.kit, self.dockerfile)

    @property
    def reference(self) -> str:
        """Its tag."""
        return recipe.exact_reference(recipe.LAYERED, self.digest)


def digest_of(base_id: str, kit: Recipe, dockerfile: str) -> str:
    """The digest of a layered image that would be made now from the base with this id."""
    return hashlib.sha256(f"{base_id}\n{kit.digest}\n{dockerfile}".encode()).hexdigest()


async def find(engine: Engine, name: str) -> str | None:
    """The reference of a foreign image's current layered form; None where the engine lacks one of both."""
    base = await engine.inspect_settings(references.engine_reference(flavours.split(name)[0]))
    if base is not None and has_apps(name):
        chain = await plan_apps(engine, name, base.id)
        base = await engine.inspect_settings(chain.reference) if await build.is_current(engine, chain) else None
    if base is None:
        return None
    wanted = await _plan(name, base)
    facts = await engine.inspect_image(wanted.reference)
    is_current = facts is not None and facts.made_here and facts.labels.get(recipe.LABEL_DIGEST) == wanted.digest
    return wanted.reference if is_current else None


async def layer(
    engine: Engine,
    name: str,
    *,
    progress: Progress,
    env: Mapping[str, str] | None = None,
    refresh: bool = False,
    quiet: bool = False,
) -> str:
    """Make a foreign image bootable, fetching it where the engine does not have it; returns the reference.

    `refresh` asks the registry again and makes the layer anew. A second call for the same image waits for the first.
    Raises InvalidSpec (it cannot carry a machine), NotFound and Unreachable (it is not to be had), and what building
    our own runtime raises.
    """
    references.check(flavours.split(name)[0])
    text = await asyncio.to_thread(layer_dockerfile)
    steps = Steps(name, [_FETCH, *titles(text).values()], progress)
    async with build.only_one(engine, f"layer {name}"):
        if not refresh and (found := await find(engine, name)) is not None:
            return found
        base = await _fetch(engine, flavours.split(name)[0], steps, refresh=refresh)
        await _check(engine, name, base)
        await build.build(engine, RUNTIME, progress=progress, env=env)
        if has_apps(name):
            chain = await plan_apps(engine, name, base.id)
            await build.make(engine, chain, progress=progress, rebuild=refresh, quiet=quiet, env=env)
            base = await _inspect_apps(engine, chain)
        wanted = await _plan(name, base)
        async with build.only_one(engine, wanted.reference):
            facts = await engine.inspect_image(wanted.reference)
            if refresh or facts is None or not facts.made_here:
                await _put_together(engine, wanted, steps, from_scratch=refresh)
        return wanted.reference


def has_apps(name: str) -> bool:
    """Whether a foreign image's name asks for apps."""
    return bool(flavours.split(name)[1])


async def plan_apps(engine: Engine, name: str, base_id: str) -> Recipe:
    """What is made of the image with this id for the apps in a name, before the guest is put on it."""
    return await asyncio.to_thread(recipe.load_apps, name, base_id, engine.own_apps)


async def _inspect_apps(engine: Engine, chain: Recipe) -> ImageSettings:
    found = await engine.inspect_settings(chain.reference)
    if found is None:
        raise ProviderBug(f"The engine says that it built {chain.reference}, but it does not have it.")
    return found


async def _plan(name: str, base: ImageSettings) -> Layer:
    kit = await build.load(RUNTIME)
    return Layer(name, base, kit, await asyncio.to_thread(layer_dockerfile))


async def _fetch(engine: Engine, name: str, steps: Steps, *, refresh: bool) -> ImageSettings:
    reference = references.engine_reference(name)
    found = await engine.inspect_settings(reference)
    if found is not None and not (refresh and references.may_be_pulled(name)):
        return found
    if not references.may_be_pulled(name):
        raise NotFound(
            f"The image {name} is not in the engine any more.",
            fix="Build it again: start --build DIR, or cloudrouter image build.",
            next="cloudrouter image ls",
        )
    steps.begin(_FETCH)
    reason = await pulling.pull(engine, reference, note=steps.say)
    pulled = await engine.inspect_settings(reference)
    if pulled is None or (reason and found is None):
        raise pulling.refused(name, reason or "the engine says it has it, and does not")
    return pulled


async def _check(engine: Engine, name: str, base: ImageSettings) -> None:
    """Refuse what cannot become a machine, before anything is built."""
    here = await engine.architecture()
    fault, fix = "", "Take another image."
    if base.os not in ("", "linux"):
        fault = f"it is made for {base.os}, and machines run Linux"
    elif base.architecture and here and base.architecture != here:
        fault = f"it is made for {base.architecture}, and this engine runs {here}"
        fix = f"Take the same image for {here}: docker pull --platform linux/{here} {name}"
    elif base.triggers:
        fault = f"it is meant to be built on only (ONBUILD {base.triggers[0][:60]})"
        fix = "Write a Dockerfile that begins with it: start --build DIR."
    elif taken := next((one for one in base.volumes if one.rstrip("/") in ("", *_PLACES)), ""):
        fault = f"it keeps {taken} on a volume, where a machine has files of its own"
        fix = "Take one without that VOLUME."
    elif alien := next((one for one in base.labels if one.startswith(OUR_LABELS) and one not in _HARMLESS), ""):
        fault = f"it carries the label {alien}, by which CloudRouter knows its own things"
        fix = "Take one without it."
    if fault:
        raise InvalidSpec(
            f"The image {name} cannot become a machine: {fault}.", fix=fix, next="cloudrouter image ls", field="image"
        )


async def _put_together(engine: Engine, wanted: Layer, steps: Steps, *, from_scratch: bool) -> None:
    follower = Follower(wanted.dockerfile, steps)
    async with aclosing(engine.build(_order(wanted, from_scratch=from_scratch))) as events:
        async for event in events:
            if event.get("error"):
                follower.end()
                raise failures.of_layering(wanted.name, steps.title, str(event["error"]), steps.tail)
            follower.feed(str(event.get("stream") or ""))
    follower.end()
    if await engine.inspect_image(wanted.reference) is None:
        raise ProviderBug(f"The engine says that it built {wanted.reference}, but it does not have it.")


def _order(wanted: Layer, *, from_scratch: bool) -> BuildOrder:
    labels = {
        recipe.LABEL_IMAGE: recipe.LAYERED,
        recipe.LABEL_DIGEST: wanted.digest,
        recipe.LABEL_BASE: wanted.name,
        recipe.LABEL_BASE_ID: wanted.base.id,
    }
    # What an image made from one of ours inherited says nothing of this one.
    apps = flavours.split(wanted.name)[1]
    labels |= {recipe.LABEL_APPS: ",".join(apps)} if apps else {}
    labels |= {one: "" for one in wanted.base.labels if one in _HARMLESS and one not in labels}
    return BuildOrder(
        context=context.pack({"Dockerfile": context.File(wanted.dockerfile.encode())}),
        tag=wanted.reference,
        buildargs={"KIT": wanted.kit.reference, "IMAGE": wanted.base.id},
        labels=labels,
        from_scratch=from_scratch,
    )


def layer_dockerfile() -> str:
    """How the guest is put into a foreign image."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "layer", "layer.Dockerfile"), encoding="utf-8") as file:
        return file.read()
