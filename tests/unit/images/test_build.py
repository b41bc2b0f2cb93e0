"""Which parts a build makes, from what, what it tells, and what it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.images.fakes import FakeEngine, names_in, read_from

from cloudrouter.images import base, payload, recipe
from cloudrouter.images.build import build, is_current
from cloudrouter.images.engine import BuildOrder
from cloudrouter.wire.errors import CloudRouterError, NoCapacity, NotFound, ProviderBug, Unreachable

Events = list[Mapping[str, Any]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "ca.pem").write_bytes(b"the host's own certificate")
    return {"PATH": "/nowhere", "HOME": str(tmp_path), "PIP_CERT": str(tmp_path / "ca.pem"), "HTTP_PROXY": "http://p:1"}


async def run(engine: FakeEngine, env: Mapping[str, str], *, rebuild: bool = False) -> tuple[str, Events]:
    events: Events = []
    return await build(engine, "core", progress=events.append, rebuild=rebuild, env=env), events


def built(engine: FakeEngine) -> list[str]:
    return [order.tag.split(":")[0].removeprefix("cloudrouter/") for order in engine.orders]


async def test_first_build_makes_parts_in_order_and_both_tags(env: dict[str, str]) -> None:
    engine = FakeEngine()
    reference, _ = await run(engine, env)
    wanted = recipe.load("core")
    assert reference == wanted.reference == f"cloudrouter/core:{wanted.digest[:12]}"
    assert built(engine) == ["core-tools", "core-node", "core-ground", "core"]
    facts = await engine.inspect_image("cloudrouter/core:latest")
    assert facts is not None
    assert reference in facts.tags
    assert facts.labels["cloudrouter.dev/image"] == "core"
    assert facts.labels["cloudrouter.dev/digest"] == wanted.digest


async def test_each_part_gets_the_references_it_needs(env: dict[str, str]) -> None:
    engine = FakeEngine()
    await run(engine, env)
    wanted = recipe.load("core")
    tools, node, ground, core = engine.orders
    assert tools.buildargs["BASE"] == base.PULLED
    assert node.buildargs["TOOLS"] == ground.buildargs["TOOLS"] == wanted.part("core-tools").reference
    assert ground.buildargs["NODE"] == wanted.part("core-node").reference
    assert core.buildargs["BELOW"] == wanted.part("core-ground").reference


async def test_certificates_of_the_host_reach_the_fetching_part_only(env: dict[str, str]) -> None:
    engine = FakeEngine()
    await run(engine, env)
    tools, node, ground, core = engine.orders
    assert read_from(node.context, "fetch/ca.pem") == b"the host's own certificate"
    for order in (tools, ground, core):
        assert b"the host's own certificate" not in order.context
        assert "LEFTOVER" not in order.buildargs
    assert all(order.buildargs["HTTP_PROXY"] == "http://p:1" for order in engine.orders)
    assert not any("http://p:1" in value for order in engine.orders for value in order.labels.values())
    assert b"http://p:1" not in b"".join(order.context for order in engine.orders)


async def test_builder_stage_is_removed_after_success_and_after_failure(env: dict[str, str]) -> None:
    engine = FakeEngine()
    await run(engine, env)
    assert await engine.find_images(label="cloudrouter.dev/leftover") == []
    failing = FakeEngine()
    failing.script = lambda order: [{"error": "no"}] if "LEFTOVER" in order.buildargs else []
    with pytest.raises(ProviderBug):
        await run(failing, env)
    assert await failing.find_images(label="cloudrouter.dev/leftover") == []


async def test_fresh_builder_stage_of_another_build_is_left_alone_and_an_old_one_removed(env: dict[str, str]) -> None:
    engine = FakeEngine()
    fresh = engine.add("", {"cloudrouter.dev/leftover": "other"}, created_at=4e12)
    engine.add("", {"cloudrouter.dev/leftover": "other"}, created_at=5.0)
    await run(engine, env)
    assert await engine.find_images(label="cloudrouter.dev/leftover") == [fresh]


async def test_second_build_does_nothing(env: dict[str, str]) -> None:
    engine = FakeEngine()
    first, _ = await run(engine, env)
    engine.orders.clear()
    second, events = await run(engine, env)
    assert (second, engine.orders, events) == (first, [], [])


async def test_changed_guest_builds_the_last_part_only(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    first, _ = await run(engine, env)
    engine.orders.clear()
    modules = payload.guest_modules()
    monkeypatch.setattr(payload, "guest_modules", lambda: {**modules, "cloudrouter/guest/new.py": b"1"})
    second, _ = await run(engine, env)
    assert built(engine) == ["core"]
    assert second != first
    assert "cloudrouter/lib/cloudrouter/guest/new.py" in names_in(engine.orders[0].context)
    latest = await engine.inspect_image("cloudrouter/core:latest")
    assert latest is not None
    assert second in latest.tags
    assert await engine.inspect_image(first) is not None


async def test_two_builds_at_once_build_once(env: dict[str, str]) -> None:
    engine = FakeEngine()
    engine.hold = asyncio.Event()
    tasks = [asyncio.create_task(run(engine, env)) for _ in range(3)]
    await engine.started.wait()
    engine.hold.set()
    results = await asyncio.gather(*tasks)
    assert built(engine) == ["core-tools", "core-node", "core-ground", "core"]
    assert len({reference for reference, _ in results}) == 1


async def test_cancelled_build_lets_the_next_one_through(env: dict[str, str]) -> None:
    engine = FakeEngine()
    engine.hold = asyncio.Event()
    task = asyncio.create_task(run(engine, env))
    await engine.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    engine.hold = None
    assert (await run(engine, env))[0] == recipe.load("core").reference


async def test_rebuild_ages_tools_keeps_node_and_drops_what_it_replaced(env: dict[str, str]) -> None:
    engine = FakeEngine()
    await run(engine, env)
    before = {facts.id for facts in engine.images.values()}
    engine.orders.clear()
    engine.now = 2000.0
    await run(engine, env, rebuild=True)
    assert built(engine) == ["core-tools", "core"]
    assert [order.from_scratch for order in engine.orders] == [True, False]
    untagged = [facts.id for facts in engine.images.values() if not facts.tags and facts.labels]
    assert untagged == []
    assert len(before & set(engine.images)) >= 1


async def test_progress_counts_every_step_forward(env: dict[str, str]) -> None:
    engine = FakeEngine()
    engine.script = transcript
    _, events = await run(engine, env)
    seen = [(event["at"], event["of"]) for event in events]
    assert seen == sorted(seen)
    assert {at for at, _ in seen} == set(range(1, seen[0][1] + 1))
    assert events[0]["step"].startswith("core 1/")
    assert events[-1]["step"].endswith(": Guest")


def transcript(order: BuildOrder) -> list[Mapping[str, Any]]:
    """What a builder prints for this Dockerfile."""
    text = read_from(order.context, "Dockerfile").decode().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [{"stream": f"Step {n}/{len(lines)} : {line}\n"} for n, line in enumerate(lines, 1)]


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("write /x: no space left on device", NoCapacity),
        ("Temporary failure resolving 'deb.debian.org'", Unreachable),
        ("E: Failed to fetch http://deb.debian.org/debian", Unreachable),
        ("SyntaxError: nonsense", ProviderBug),
    ],
)
async def test_failing_step_is_named_with_its_last_lines(
    env: dict[str, str], output: str, kind: type[CloudRouterError]
) -> None:
    engine = FakeEngine()
    engine.script = lambda order: [
        *[event for event in transcript(order) if "apt-get" in event["stream"]],
        {"stream": "".join(f"line {n}\n" for n in range(50)) + output},
        {"error": "The command '/bin/sh -c set -eu; secret words' returned a non-zero code: 100"},
    ]
    with pytest.raises(kind) as caught:
        await run(engine, env)
    error = caught.value
    assert type(error) is kind
    assert "'Debian packages'" in error.message
    assert "status 100" in error.message
    assert "secret words" not in error.message
    assert error.details["output"] == [*[f"line {n}" for n in range(36, 50)], output]
    assert error.next == "cloudrouter image build core"


async def test_engine_that_claims_success_without_image_is_not_believed(env: dict[str, str]) -> None:
    engine = FakeEngine()
    engine.keeps = False
    with pytest.raises(ProviderBug, match="does not have it"):
        await run(engine, env)


async def test_unknown_image_is_refused_before_anything_happens(env: dict[str, str]) -> None:
    engine = FakeEngine()
    with pytest.raises(NotFound):
        await build(engine, "nope", progress=lambda event: None, env=env)
    assert not engine.orders


async def test_parts_and_image_that_only_bear_our_tag_are_made_again(env: dict[str, str]) -> None:
    engine = FakeEngine()
    wanted = recipe.load("core")
    for part in wanted.parts:
        facts = engine.add(part.reference, {recipe.LABEL_DIGEST: part.digest, recipe.LABEL_IMAGE: "core"})
        engine.images[facts.id] = replace(facts, made_here=part.name == "core-node")
    assert not await is_current(engine, wanted)
    await run(engine, env)
    assert built(engine) == ["core-tools", "core-ground", "core"]
    assert await is_current(engine, wanted)
