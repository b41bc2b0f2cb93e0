"""Building a person's Dockerfile: what the engine is asked, how the result is named, and failures in words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from tests.unit.images.fakes import FakeEngine

from cloudrouter.images import recipe
from cloudrouter.images.engine import BuildOrder
from cloudrouter.images.folders import FolderBuild, build_folder
from cloudrouter.wire.errors import CloudRouterError, InvalidSpec, NoCapacity, Unreachable


async def tar() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


async def build(engine: FakeEngine, **options: Any) -> tuple[str, list[Mapping[str, Any]]]:
    events: list[Mapping[str, Any]] = []
    order = FolderBuild(**{"source": "web", **options})
    return await build_folder(engine, order, tar(), progress=events.append), events


async def test_result_is_named_by_folder_and_image_and_the_passing_tag_is_gone() -> None:
    engine = FakeEngine()
    name, _ = await build(engine)
    (facts,) = engine.images.values()
    assert name.startswith("build:web@")
    assert facts.tags == (f"cloudrouter/build:{name.partition('@')[2]}",)
    assert recipe.is_ours(facts)
    assert engine.contexts == [b"onetwo"]


async def test_order_carries_all_that_was_asked_for() -> None:
    engine = FakeEngine()
    await build(
        engine,
        origin="abc",
        dockerfile="docker/Dockerfile.dev",
        target="dev",
        buildargs={"A": "1", "HTTP_PROXY": "mine"},
        proxies={"HTTP_PROXY": "http://p:1", "https_proxy": "http://q:1"},
        rebuild=True,
    )
    (order,) = engine.orders
    assert (order.dockerfile, order.target, order.from_scratch) == ("docker/Dockerfile.dev", "dev", True)
    assert order.buildargs == {"A": "1", "HTTP_PROXY": "mine", "https_proxy": "http://q:1"}
    assert order.labels[recipe.LABEL_SOURCE] == "web"
    assert order.labels[recipe.LABEL_ORIGIN] == "abc"
    assert not order.host_network


async def test_proxy_on_the_hosts_loopback_is_reached_in_the_hosts_network() -> None:
    engine = FakeEngine()
    await build(engine, proxies={"HTTP_PROXY": "http://127.0.0.1:3128"})
    assert engine.orders[0].host_network


async def test_tag_is_one_more_name() -> None:
    engine = FakeEngine()
    await build(engine, tag="web:dev")
    facts = await engine.inspect_image("web:dev")
    assert facts is not None
    assert len(facts.tags) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"buildargs": {"A B": "1"}},
        {"target": "a b"},
        {"dockerfile": "../Dockerfile"},
        {"dockerfile": "/etc/passwd"},
        {"dockerfile": ""},
        {"tag": "A b"},
        {"tag": "cloudrouter/core:1"},
        {"tag": "core"},
        {"origin": "zz"},
    ],
)
async def test_what_no_builder_could_take_is_refused_before_the_engine_is_asked(options: dict[str, Any]) -> None:
    engine = FakeEngine()
    with pytest.raises(InvalidSpec):
        await build(engine, **options)
    assert not engine.orders


async def test_steps_are_the_dockerfiles_own() -> None:
    engine = FakeEngine()
    engine.script = lambda order: [
        {"stream": f"Step 1/{2 + len(order.labels)} : FROM x\n ---> abc\nStep 2/"},
        {"stream": f"{2 + len(order.labels)} : RUN make\nall\n"},
        {"stream": f"Step 3/{2 + len(order.labels)} : LABEL cloudrouter.dev/image=build\n"},
    ]
    _, events = await build(engine)
    assert [(event["step"], event["detail"]) for event in events] == [
        ("web 1/2: FROM x", ""),
        ("web 2/2: RUN make", ""),
        ("web 2/2: RUN make", "all"),
    ]


def failing(*text: str, error: str) -> Any:
    def script(order: BuildOrder) -> list[Mapping[str, Any]]:
        head = f"Step 2/{2 + len(order.labels)} : {text[0]}\n"
        return [{"stream": head}, *({"stream": f"{line}\n"} for line in text[1:]), {"error": error}]

    return script


@pytest.mark.parametrize(
    ("text", "error", "kind", "words"),
    [
        (["RUN make", "cc: error"], "The command returned a non-zero code: 2", InvalidSpec, "RUN make: .*status 2"),
        (["RUN apt", "Could not resolve 'deb'"], "non-zero code: 100", Unreachable, "step 2 of 2"),
        (["RUN dd"], "write: no space left on device", NoCapacity, "no space"),
        (["RUN --mount=x"], "the --mount option requires BuildKit.", InvalidSpec, "BuildKit"),
        (["FROM no/such:1"], "pull access denied for no/such", CloudRouterError, "no/such:1 is not in the engine"),
        (["FROM r.io/x"], 'Get "https://r.io/v2/": dial tcp: no such host', Unreachable, "registry cannot be reached"),
    ],
)
async def test_failure_names_step_and_reason(
    text: list[str], error: str, kind: type[CloudRouterError], words: str
) -> None:
    engine = FakeEngine()
    engine.script = failing(*text, error=error)
    with pytest.raises(kind, match=words) as caught:
        await build(engine)
    assert caught.value.fix
    assert not engine.images
    if len(text) > 1:
        assert caught.value.details["output"] == text[1:]


async def test_failure_keeps_fifteen_lines_without_the_builders_own_words() -> None:
    engine = FakeEngine()
    lines = [f"line {number}" for number in range(40)]
    engine.script = failing("RUN x", *lines, "\x1b[0mRemoving intermediate container 1", error="non-zero code: 1")
    with pytest.raises(InvalidSpec) as caught:
        await build(engine)
    assert caught.value.details["output"] == lines[-15:]
