"""What of ours lies on an engine: what counts as ours, as current, as used, and what pruning takes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.images.fakes import FakeEngine

from cloudrouter.images import base, layering, recipe, shelf
from cloudrouter.images.engine import ImageFacts
from cloudrouter.wire.errors import Conflict, NotFound


def add(engine: FakeEngine, kind: str, digest: str, *, at: float = 1.0, **labels: str) -> ImageFacts:
    named = {recipe.LABEL_IMAGE: kind, recipe.LABEL_DIGEST: digest, **labels}
    return engine.add(f"cloudrouter/{kind}:{digest[:12]}", named, created_at=at)


def add_layer(engine: FakeEngine, name: str, *, kit: recipe.Recipe | None = None) -> ImageFacts:
    found = next((one for one in engine.images.values() if name in one.tags), None) or engine.add(name)
    digest = layering.digest_of(found.id, kit or recipe.load("runtime"), layering.layer_dockerfile())
    return add(engine, "any", digest, **{recipe.LABEL_BASE: name, recipe.LABEL_BASE_ID: found.id})


def add_build(engine: FakeEngine, number: int, source: str = "web", origin: str = "a") -> ImageFacts:
    labels = {recipe.LABEL_IMAGE: "build", recipe.LABEL_SOURCE: source, recipe.LABEL_ORIGIN: origin}
    return engine.add(f"cloudrouter/build:{number:012d}", {**labels, recipe.LABEL_DIGEST: ""}, created_at=number)


async def by_reference(engine: FakeEngine) -> dict[str, dict[str, Any]]:
    return {item.reference: item.to_json() for item in await shelf.read(engine)}


async def test_core_is_current_by_its_digest_and_used_by_containers() -> None:
    engine = FakeEngine()
    wanted = recipe.load("core")
    new, old = add(engine, "core", wanted.digest, at=2), add(engine, "core", "old" + "0" * 20)
    engine.used = {old.id}
    assert [item.to_json() for item in await shelf.read(engine)] == [
        {"name": "core", "kind": "image", "base": "", "reference": wanted.reference, "size_bytes": 1,
         "created_at": "1970-01-01T00:00:02Z", "current": True, "in_use": False, "apps": []},
        {"name": "core", "kind": "image", "base": "", "reference": old.tags[0], "size_bytes": 1,
         "created_at": "1970-01-01T00:00:01Z", "current": False, "in_use": True, "apps": []},
    ]  # fmt: skip
    assert new.id != old.id


async def test_build_that_lost_its_tag_to_a_newer_one_is_shown_while_a_machine_uses_it() -> None:
    engine = FakeEngine()
    lost = engine.add("", {recipe.LABEL_IMAGE: "core", recipe.LABEL_DIGEST: recipe.load("core").digest})
    assert await shelf.read(engine) == []
    engine.used = {lost.id}
    (item,) = await shelf.read(engine)
    assert (item.reference, item.current) == (lost.id, False)


@pytest.mark.parametrize("tag", ["mine:1", "cloudrouter/core:somethingelse", "evil/core:000000000000"])
async def test_image_that_only_carries_our_labels_is_not_ours(tag: str) -> None:
    engine = FakeEngine()
    engine.add(tag, {recipe.LABEL_IMAGE: "core", recipe.LABEL_PART: "core", recipe.LABEL_DIGEST: "0" * 64})
    assert await shelf.read(engine) == []
    with pytest.raises(NotFound):
        await shelf.remove(engine, tag)
    await shelf.prune(engine, everything=True, dry_run=False)
    assert engine.removed == []


async def test_parts_and_the_base_are_shown_by_their_names() -> None:
    engine = FakeEngine()
    tools = recipe.load("core").part("core-tools")
    engine.add(tools.reference, {recipe.LABEL_PART: "core", recipe.LABEL_DIGEST: tools.digest})
    engine.add(base.OWN)
    shown = {item.name: (item.kind, item.current) for item in await shelf.read(engine)}
    assert shown == {"core-tools": ("part", True), base.OWN: ("base", True)}


async def test_layer_is_current_while_runtime_and_name_are_the_same() -> None:
    engine = FakeEngine()
    layer = add_layer(engine, "debian:trixie")
    shown = (await by_reference(engine))[layer.tags[0]]
    assert (shown["name"], shown["kind"], shown["base"], shown["current"]) == (
        "debian:trixie", "layered", "debian:trixie", True,
    )  # fmt: skip
    engine.add("debian:trixie")  # the name moved on
    assert not (await by_reference(engine))[layer.tags[0]]["current"]


async def test_newest_build_of_a_folder_is_current_and_what_a_layer_of_a_machine_needs_is_used() -> None:
    engine = FakeEngine()
    old, new, other = add_build(engine, 1), add_build(engine, 2), add_build(engine, 1000, origin="b")
    layer = add(engine, "any", "1" * 64, **{recipe.LABEL_BASE: "build:web@x", recipe.LABEL_BASE_ID: old.id})
    engine.used = {layer.id}
    shown = await by_reference(engine)
    facts = {one.id: (shown[one.tags[0]]["current"], shown[one.tags[0]]["in_use"]) for one in (old, new, other)}
    assert facts == {old.id: (False, True), new.id: (True, False), other.id: (True, False)}


async def test_remove_by_name_takes_builds_and_their_parts() -> None:
    engine = FakeEngine()
    tools = recipe.load("core").part("core-tools")
    engine.add(tools.reference, {recipe.LABEL_PART: "core", recipe.LABEL_DIGEST: tools.digest})
    add(engine, "core", "0" * 64)
    add(engine, "runtime", "0" * 64)
    await shelf.remove(engine, "core")
    assert [item.name for item in await shelf.read(engine)] == ["runtime"]


async def test_remove_of_a_foreign_name_takes_its_layer_and_leaves_the_image() -> None:
    engine = FakeEngine()
    layer = add_layer(engine, "debian:trixie")
    await shelf.remove(engine, "debian:trixie")
    assert engine.removed == [layer.tags[0]]
    assert await engine.inspect_image("debian:trixie") is not None


async def test_remove_when_a_machine_uses_one_then_nothing_goes() -> None:
    engine = FakeEngine()
    add(engine, "core", "0" * 64)
    engine.used = {add(engine, "core", "1" * 64).id}
    with pytest.raises(Conflict, match="cloudrouter/core:111"):
        await shelf.remove(engine, "core")
    assert engine.removed == []


@pytest.fixture
def full() -> FakeEngine:
    """A current core, an old one, an old one in use, two builds of a folder, a current layer and an old one."""
    engine = FakeEngine()
    add(engine, "core", recipe.load("core").digest)
    add(engine, "core", "0" * 64)
    engine.used = {add(engine, "core", "1" * 64).id}
    add_build(engine, 1)
    add_build(engine, 2)
    add_layer(engine, "debian:trixie")
    add(engine, "any", "2" * 64, **{recipe.LABEL_BASE: "debian:trixie", recipe.LABEL_BASE_ID: "sha256:0"})
    return engine


OLD = ["cloudrouter/any:222222222222", "cloudrouter/build:000000000001", "cloudrouter/core:000000000000"]


async def test_prune_removes_what_is_neither_current_nor_used_and_tells_the_bytes(full: FakeEngine) -> None:
    full.sizes = [1000, 400]
    found = await shelf.prune(full, everything=False, dry_run=False)
    assert sorted(full.removed) == OLD
    assert sorted(one["reference"] for one in found["images"]) == OLD
    assert (found["kept"], found["freed_bytes"]) == ([], 600)


async def test_prune_dry_run_removes_nothing(full: FakeEngine) -> None:
    found = await shelf.prune(full, everything=False, dry_run=True)
    assert sorted(one["reference"] for one in found["images"]) == OLD
    assert (full.removed, found["freed_bytes"]) == ([], None)


async def test_prune_of_everything_leaves_what_machines_use(full: FakeEngine) -> None:
    await shelf.prune(full, everything=True, dry_run=False)
    assert [item.reference for item in await shelf.read(full)] == ["cloudrouter/core:111111111111"]
    assert await full.inspect_image("debian:trixie") is not None
    # What is layered on a build goes first, so that the engine lets go of the build.
    order = [name.partition(":")[0].removeprefix("cloudrouter/") for name in full.removed]
    assert order == sorted(order, key=["any", "build", "core"].index)


async def test_prune_when_one_is_taken_meanwhile_then_it_is_kept_and_told(
    full: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    untag = full.untag_image

    async def busy(reference: str) -> None:
        if reference == OLD[2]:
            raise Conflict("a machine was made from it just now")
        await untag(reference)

    monkeypatch.setattr(full, "untag_image", busy)
    found = await shelf.prune(full, everything=False, dry_run=False)
    assert [(one["reference"], one["reason"]) for one in found["kept"]] == [
        (OLD[2], "a machine was made from it just now")
    ]
    assert full.removed == OLD[:2]


async def test_prune_when_there_is_nothing_then_nothing_is_freed() -> None:
    assert await shelf.prune(FakeEngine(), everything=False, dry_run=False) == {
        "images": [], "kept": [], "freed_bytes": 0,
    }  # fmt: skip


async def test_prune_leaves_a_persons_own_tag_on_a_build() -> None:
    engine = FakeEngine()
    old = add_build(engine, 1)
    await engine.tag_image(old.id, new="web:dev")
    add_build(engine, 2)
    await shelf.prune(engine, everything=False, dry_run=False)
    facts = await engine.inspect_image("web:dev")
    assert facts is not None
    assert facts.tags == ("web:dev",)
