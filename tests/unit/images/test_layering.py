"""Foreign images: when a layer is made and from what, when it is found again, and which images are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.images.fakes import FakeEngine

from cloudrouter.images import base, layering, payload, recipe
from cloudrouter.images.engine import BuildOrder
from cloudrouter.wire.errors import InvalidSpec, NotFound, ProviderBug, Unreachable

ENV = {"PATH": "/nowhere", "HOME": "/nowhere"}


@pytest.fixture
def engine() -> FakeEngine:
    made = FakeEngine()
    made.add("debian:trixie")
    return made


async def layer(engine: FakeEngine, name: str = "debian:trixie", **options: Any) -> tuple[str, list[Mapping[str, Any]]]:
    events: list[Mapping[str, Any]] = []
    return await layering.layer(engine, name, progress=events.append, env=ENV, **options), events


def layers(engine: FakeEngine) -> list[BuildOrder]:
    return [order for order in engine.orders if order.tag.startswith("cloudrouter/any:")]


def answers(*events: Mapping[str, Any]) -> Any:
    """A script that fails the layer alone."""
    return lambda order: list(events) if order.tag.startswith("cloudrouter/any:") else [{"stream": "fine\n"}]


async def test_first_time_builds_the_runtime_and_one_layer(engine: FakeEngine) -> None:
    reference, _ = await layer(engine)
    (order,) = layers(engine)
    base = await engine.inspect_image("debian:trixie")
    assert base is not None
    assert order.tag == reference
    assert order.buildargs == {"KIT": recipe.load("runtime").reference, "IMAGE": base.id}
    assert order.labels[recipe.LABEL_BASE] == "debian:trixie"
    assert order.labels[recipe.LABEL_BASE_ID] == base.id
    assert await layering.find(engine, "debian:trixie") == reference


async def test_second_time_builds_nothing(engine: FakeEngine) -> None:
    first, _ = await layer(engine)
    built = len(engine.orders)
    second, events = await layer(engine)
    assert (second, len(engine.orders), events) == (first, built, [])


async def test_twice_at_once_is_built_once(engine: FakeEngine) -> None:
    engine.hold = asyncio.Event()
    both = asyncio.gather(layer(engine), layer(engine))
    await engine.started.wait()
    engine.hold.set()
    (first, _), (second, _) = await both
    assert first == second
    assert len(layers(engine)) == 1


async def test_two_names_of_one_image_share_its_layer(engine: FakeEngine) -> None:
    await engine.tag_image("debian:trixie", new="debian:13")
    first, second = await asyncio.gather(layer(engine), layer(engine, "debian:13"))
    assert first[0] == second[0]
    assert len(layers(engine)) == 1


async def test_changed_guest_makes_a_new_layer_and_keeps_python(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await layer(engine)
    built = [order.tag for order in engine.orders]
    modules = payload.guest_modules()
    monkeypatch.setattr(payload, "guest_modules", lambda: {**modules, "cloudrouter/new.py": b"1"})
    assert await layering.find(engine, "debian:trixie") is None
    second, _ = await layer(engine)
    assert second != first
    new = [order.tag.partition(":")[0] for order in engine.orders if order.tag not in built]
    assert new == ["cloudrouter/runtime", "cloudrouter/any"]


async def test_name_that_moved_on_is_layered_anew(engine: FakeEngine) -> None:
    first, _ = await layer(engine)
    engine.add("debian:trixie")
    assert await layering.find(engine, "debian:trixie") is None
    second, _ = await layer(engine)
    assert second != first


async def test_image_that_is_missing_is_fetched(engine: FakeEngine) -> None:
    _, events = await layer(engine, "alpine:3")
    assert events[0]["step"] == "alpine:3 1/4: Fetch"
    assert any(event["detail"] == "abc Pulling" for event in events)


async def test_refresh_asks_the_registry_and_layers_anew(engine: FakeEngine) -> None:
    first, _ = await layer(engine)
    second, _ = await layer(engine, refresh=True)
    assert first != second
    assert layers(engine)[1].from_scratch


async def test_refresh_where_no_registry_answers_keeps_what_is_there(engine: FakeEngine) -> None:
    engine.pulls = False
    engine.add(base.OWN)
    first, _ = await layer(engine)
    second, _ = await layer(engine, refresh=True)
    assert first == second
    assert len(layers(engine)) == 2


async def test_image_that_no_registry_gives_is_told_with_ways_out(engine: FakeEngine) -> None:
    engine.pulls = False
    with pytest.raises(Unreachable, match=r"alpine:3.*no such host") as caught:
        await layer(engine, "alpine:3")
    assert "docker load" in caught.value.fix
    assert not engine.orders


@pytest.mark.parametrize("name", ["cloudrouter/core:0", "build:web@0123456789ab"])
async def test_own_image_that_is_gone_is_never_pulled(engine: FakeEngine, name: str) -> None:
    with pytest.raises(NotFound, match="any more"):
        await layer(engine, name)
    assert await engine.inspect_image(name) is None


@pytest.mark.parametrize(
    ("unusual", "reason"),
    [
        ({"os": "windows"}, "made for windows"),
        ({"architecture": "arm64"}, "made for arm64, and this engine runs amd64"),
        ({"triggers": ("COPY . /app",)}, "ONBUILD COPY"),
        ({"volumes": ("/home/user/",)}, "keeps /home/user/ on a volume"),
        ({"volumes": ("/",)}, "keeps / on a volume"),
        ({"labels": {"cloudrouter.dev/machine": "cr_7k2m9xqd"}}, "carries the label cloudrouter.dev/machine"),
        ({"labels": {"cloudrouter.dev/helper": ""}}, "carries the label cloudrouter.dev/helper"),
    ],
)
async def test_image_that_cannot_be_a_machine_is_refused_before_anything_is_built(
    engine: FakeEngine, unusual: dict[str, Any], reason: str
) -> None:
    engine.settings["debian:trixie"] = unusual
    with pytest.raises(InvalidSpec, match=reason) as caught:
        await layer(engine)
    assert caught.value.details["field"] == "image"
    assert not engine.orders


@pytest.mark.parametrize("unusual", [{"volumes": ("/data", "/var/lib/postgresql")}, {"os": ""}, {"architecture": ""}])
async def test_image_with_volumes_of_its_own_is_fine(engine: FakeEngine, unusual: dict[str, Any]) -> None:
    engine.settings["debian:trixie"] = unusual
    assert (await layer(engine))[0].startswith("cloudrouter/any:")


async def test_labels_that_came_along_from_our_own_image_say_nothing_of_the_layer(engine: FakeEngine) -> None:
    engine.add("mine:1", {recipe.LABEL_IMAGE: "core", recipe.LABEL_PART: "core", recipe.LABEL_DIGEST: "d"})
    await layer(engine, "mine:1")
    labels = layers(engine)[0].labels
    assert (labels[recipe.LABEL_IMAGE], labels[recipe.LABEL_PART]) == ("any", "")


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([{"stream": "cloudrouter refuses: its account `user` is root\n"}, {"error": "non-zero code: 3"}], "is root"),
        ([{"error": 'exec: "/bin/sh": stat /bin/sh: no such file or directory'}], "no shell /bin/sh"),
        ([{"stream": "exec /bin/sh: exec format error\n"}, {"error": "non-zero code: 1"}], "another kind of processor"),
    ],
)
async def test_refusal_inside_the_image_is_told_as_one(
    engine: FakeEngine, events: list[Mapping[str, Any]], reason: str
) -> None:
    engine.script = answers(*events)
    with pytest.raises(InvalidSpec, match=f"debian:trixie cannot become a machine: .*{reason}"):
        await layer(engine)
    engine.script = answers({"stream": "fine\n"})
    await layer(engine)


async def test_failure_of_ours_has_step_and_last_lines(engine: FakeEngine) -> None:
    step = "Step 6/9 : COPY --from=kit /opt/cloudrouter/runtime /opt/cloudrouter/runtime\n"
    engine.script = answers({"stream": f"{step}boom\n"}, {"error": "non-zero code: 1"})
    with pytest.raises(ProviderBug, match="debian:trixie failed at the step 'Runtime'") as caught:
        await layer(engine)
    assert caught.value.details["output"] == ["boom"]


def test_dockerfile_brings_the_guest_last_and_sets_what_machines_need() -> None:
    text = layering.layer_dockerfile()
    assert (
        text.index("/opt/cloudrouter/runtime /opt") < text.index("account.py") < text.index("lib /opt/cloudrouter/lib")
    )
    for line in ("ENTRYPOINT []", "HEALTHCHECK NONE", "STOPSIGNAL SIGTERM", "USER 0:0"):
        assert f"\n{line}\n" in text


async def test_layer_that_only_bears_our_tag_is_made_again(engine: FakeEngine) -> None:
    reference, _ = await layer(engine)
    facts = await engine.inspect_image(reference)
    assert facts is not None
    engine.images[facts.id] = replace(facts, made_here=False)
    assert await layering.find(engine, "debian:trixie") is None
    before = len(layers(engine))
    assert (await layer(engine))[0] == reference
    assert len(layers(engine)) == before + 1
