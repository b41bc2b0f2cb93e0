"""What of ours lies on an engine: listed, removed, and pruned of what nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cloudrouter.images import base, build, layering, recipe, references
from cloudrouter.images.engine import Engine, ImageFacts
from cloudrouter.wire import flavours
from cloudrouter.wire.errors import Conflict, InvalidSpec, NotFound

BOOTABLE, PART, LAYERED, BUILT, BASE = "image", "part", "layered", "build", "base"
"""Kinds: boots machines; goes into others; a foreign image with our guest; from a Dockerfile; Debian's root."""


@dataclass(frozen=True)
class Item:
    """One image of ours as people see it."""

    facts: ImageFacts
    name: str
    kind: str
    base: str
    """What a layered image was made from; empty for others."""
    current: bool
    """A start would use it now."""
    in_use: bool
    """A machine was made from it, or what a machine was made from."""
    apps: tuple[str, ...] = ()
    """Those that it has, as in its name."""

    @property
    def reference(self) -> str:
        """The exact tag, or the id of an image that lost it to a newer build."""
        exact = [tag for tag in self.facts.tags if tag.startswith(references.OWN) and not tag.endswith(":latest")]
        return (exact or [*self.facts.tags, self.facts.id])[0]

    def to_json(self) -> dict[str, Any]:
        """The wire's form; bytes count layers that are shared with others, too."""
        return {
            "name": self.name,
            "kind": self.kind,
            "base": self.base,
            "reference": self.reference,
            "size_bytes": self.facts.size_bytes,
            "created_at": datetime.fromtimestamp(self.facts.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "current": self.current,
            "in_use": self.in_use,
            "apps": list(self.apps),
        }


async def read(engine: Engine) -> list[Item]:
    """Everything of ours, newest first; steps of builds, which have no name, left out."""
    used = await engine.images_in_use()
    found = {one.id: one for one in await engine.find_images(label=recipe.LABEL_IMAGE)}
    found |= {one.id: one for one in await engine.find_images(label=recipe.LABEL_PART)}
    root = await engine.inspect_image(base.OWN)
    images = [one for one in found.values() if recipe.is_ours(one) or (one.id in used and not one.tags)]
    needed = {one.labels.get(recipe.LABEL_BASE_ID, "") for one in images if one.id in used}
    wanted = await _Wanted.read(engine, images)
    items = [
        Item(
            facts=one,
            name=_name(one),
            kind=_kind(one),
            base=one.labels.get(recipe.LABEL_BASE, "") if _kind(one) == LAYERED else "",
            current=await wanted.is_current(one, images),
            in_use=one.id in used or one.id in needed,
            apps=_apps(one),
        )
        for one in images
    ]
    if root is not None and root.made_here:
        items.append(Item(root, base.OWN, BASE, "", current=True, in_use=root.id in used))
    return sorted(items, key=lambda item: -item.facts.created_at)


class _Wanted:
    """What this installation would make now."""

    def __init__(self, engine: Engine, digests: set[str]) -> None:
        self._engine = engine
        self._digests = digests

    @classmethod
    async def read(cls, engine: Engine, images: Iterable[ImageFacts]) -> _Wanted:
        """From the recipes of all that can be built by one word, and of what else was built of our apps."""
        recipes = [await build.load(name, engine.own_apps) for name in recipe.NAMES]
        for image in images:
            recipes += await _recipe_of(engine, image)
        return cls(engine, {part.digest for one in recipes for part in one.parts})

    async def is_current(self, image: ImageFacts, images: Iterable[ImageFacts]) -> bool:
        match _kind(image):
            case "layered":
                return await self._is_current_layer(image)
            case "build":
                return image is _newest(one for one in images if _same_folder(one, image))
            case _:
                return bool(image.tags) and image.labels.get(recipe.LABEL_DIGEST) in self._digests

    async def _is_current_layer(self, image: ImageFacts) -> bool:
        """Our side did not change, and the name still means the image that was layered."""
        try:
            return await layering.find(self._engine, image.labels.get(recipe.LABEL_BASE, "")) in image.tags
        except (NotFound, InvalidSpec):
            return False  # an app in its name is gone


async def _recipe_of(engine: Engine, image: ImageFacts) -> list[recipe.Recipe]:
    """The recipe of an image with apps that no single word means; none where an app of it is gone."""
    name, kind = _name(image), _kind(image)
    if not _apps(image) or name in recipe.NAMES or kind not in (BOOTABLE, LAYERED):
        return []
    try:
        if kind == BOOTABLE:
            return [await build.load(name, engine.own_apps)]
        base = await engine.inspect_image(references.engine_reference(flavours.split(name)[0]))
        return [] if base is None else [await layering.plan_apps(engine, name, base.id)]
    except (NotFound, InvalidSpec):
        return []


async def remove(engine: Engine, name: str) -> None:
    """Remove by reference, or by name every build of it; `core` and `runtime` with their parts. In use: Conflict."""
    items = await read(engine)
    chosen = [one for one in items if name in (one.name, one.base, one.reference, *one.facts.tags)]
    if name in recipe.NAMES:
        chosen += [one for one in items if one.kind == PART and one.name.startswith(f"{name}-")]
    if name in flavours.FLAVOURS:
        chosen += await _parts_of_alone(engine, name, items)
    if not chosen:
        raise NotFound(f"There is no image of CloudRouter's called {name!r} here.", next="cloudrouter image ls")
    busy = [one.reference for one in chosen if one.in_use]
    if busy:
        raise Conflict(
            f"Machines still use {', '.join(busy)}.",
            fix="delete these machines first",
            next="cloudrouter ls -a",
        )
    for one in chosen:
        await _untag(engine, one.facts)


async def _parts_of_alone(engine: Engine, name: str, items: Iterable[Item]) -> list[Item]:
    """The parts with apps that only this flavour is made of, and no other image that is here."""
    own = {part.digest for part in (await build.load(name, engine.own_apps)).parts if part.app}
    for item in items:
        if item.kind == BOOTABLE and item.current and item.name != name:
            own -= {part.digest for part in (await build.load(item.name, engine.own_apps)).parts}
    return [one for one in items if one.kind == PART and one.facts.labels.get(recipe.LABEL_DIGEST) in own]


async def prune(engine: Engine, *, everything: bool, dry_run: bool) -> Mapping[str, Any]:
    """Remove what is neither current nor used by a machine; with everything also what is current.

    The answer: `images` as `read` shows them, `kept` that could not go, and `freed_bytes`, measured on the engine's
    disk and None where that is not known or nothing was done.
    """
    idle = [one for one in await read(engine) if not one.in_use and (everything or not one.current)]
    if dry_run or not idle:
        return {"images": [one.to_json() for one in idle], "kept": [], "freed_bytes": None if idle else 0}
    before = await engine.count_bytes()
    removed, kept = [], []
    # What is layered on a build goes before the build, and images before their parts.
    for one in sorted(idle, key=lambda item: (LAYERED, BUILT, BOOTABLE, PART, BASE).index(item.kind)):
        try:
            await _untag(engine, one.facts)
        except Conflict as error:
            kept.append({**one.to_json(), "reason": error.message})
        else:
            removed.append(one.to_json())
    after = await engine.count_bytes()
    freed = None if before is None or after is None else max(0, before - after)
    return {"images": removed, "kept": kept, "freed_bytes": freed}


async def _untag(engine: Engine, image: ImageFacts) -> None:
    """Every tag of ours, or the bare image; a person's own tag on it stays, and what went along is gone already."""
    ours = [tag for tag in image.tags if tag.startswith(references.OWN)]
    for reference in ours or ([] if image.tags else [image.id]):
        try:
            await engine.untag_image(reference)
        except NotFound:
            continue


def _kind(image: ImageFacts) -> str:
    match image.labels.get(recipe.LABEL_IMAGE, ""):
        case recipe.LAYERED:
            return LAYERED
        case recipe.BUILT:
            return BUILT
        case name:
            return BOOTABLE if name in recipe.BOOTABLE else PART


def _name(image: ImageFacts) -> str:
    kind = _kind(image)
    if kind == LAYERED:
        return image.labels.get(recipe.LABEL_BASE, "") or recipe.LAYERED
    if kind == BUILT:
        return references.build_name(image.labels.get(recipe.LABEL_SOURCE, ""), image.id)
    if kind == BOOTABLE and _apps(image):
        return flavours.join("core", _apps(image))
    tag = next((one for one in image.tags if one.startswith(references.OWN)), "")
    own = tag.removeprefix(references.OWN).rpartition(":")[0]
    return own or image.labels.get(recipe.LABEL_IMAGE) or image.labels.get(recipe.LABEL_PART) or image.id


def _apps(image: ImageFacts) -> tuple[str, ...]:
    """What its label says, which anybody can write: only what can be apps."""
    found = tuple(one for one in image.labels.get(recipe.LABEL_APPS, "").split(",") if one)
    return () if any(flavours.app_fault(one) for one in found) else found


def _same_folder(one: ImageFacts, other: ImageFacts) -> bool:
    keys = (recipe.LABEL_SOURCE, recipe.LABEL_ORIGIN)
    return _kind(one) == BUILT and all(one.labels.get(key) == other.labels.get(key) for key in keys)


def _newest(images: Iterable[ImageFacts]) -> ImageFacts:
    return max(images, key=lambda image: image.created_at)
