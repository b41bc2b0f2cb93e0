"""The docker provider against an engine that fails: at every call, in every way, only errors of the family come out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cloudrouter.images import recipe
from cloudrouter.images.engine import ImageFacts
from cloudrouter.providers.base import MachineSpec, Need
from cloudrouter.providers.docker import DockerProvider, api, containers
from cloudrouter.providers.docker.images import DockerEngine, DockerImages
from cloudrouter.providers.errors import (
    Conflict,
    InvalidSpec,
    NoCapacity,
    NotConfigured,
    NotFound,
    ProviderBug,
    Unreachable,
    provider_errors,
)
from cloudrouter.wire import ids
from cloudrouter.wire.boot import GuestBoot
from cloudrouter.wire.errors import CloudRouterError

from .fake_engine import FakeEngine

ROUTER = "0123456789abcdef"

FAULTS = {
    "500": lambda _request: web.json_response({"message": "something broke"}, status=500),
    "404": lambda _request: web.json_response({"message": "no such thing"}, status=404),
    "409": lambda _request: web.json_response({"message": "busy"}, status=409),
    "disk full": lambda _request: web.json_response({"message": "write: no space left on device"}, status=500),
    "not json": lambda _request: web.Response(text="<html>gateway</html>", content_type="text/html"),
    "bad status, not json": lambda _request: web.Response(text="oh \xff no", status=502),
    "empty object": lambda _request: web.json_response({}),
    "number": lambda _request: web.json_response(7),
    "cut": lambda _request: None,
}


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeEngine]:
    async with FakeEngine().serving(str(tmp_path / "engine.sock")) as made:
        yield made


@pytest.fixture
async def provider(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[DockerProvider]:
    made = new_provider(tmp_path)
    yield made
    await made.aclose()


def new_provider(folder: Path, **config: Any) -> DockerProvider:
    settings = {"host": f"unix://{folder}/engine.sock", "helper_image": "sha256:helper", **config}
    return DockerProvider(router_id=ROUTER, clock=lambda: 1000.0, config=settings)


def spec(**changes: Any) -> MachineSpec:
    machine_id = changes.pop("machine_id", ids.new_machine_id())
    values = {"owner": "o", "router_id": ROUTER, "image": "image:1", "cpu": 1.0, "memory_bytes": 1 << 30, **changes}
    return MachineSpec(machine_id=machine_id, boot=GuestBoot(machine_id, "0" * 64), **values)


async def whole_life(provider: DockerProvider, wanted: MachineSpec) -> None:
    """Every call that a router makes."""
    await provider.check()
    await provider.offers(Need())
    handle = await provider.create(wanted)
    await provider.inspect(handle)
    await provider.pause(handle)
    await provider.resume(handle)
    await provider.resize(handle, cpu=2.0, memory_bytes=2 << 30)
    await provider.stop(handle)
    await provider.start(handle)
    await provider.read_console(handle)
    _seen = [seen async for seen in provider.list()]
    await provider.delete(handle)
    await provider.remove_network()


async def outcome_of_a_life(provider: DockerProvider) -> CloudRouterError | None:
    """The error that ended it, which is one of the family; None when there was none."""
    try:
        await whole_life(provider, spec())
    except provider_errors as error:
        return error
    return None


async def calls_of_a_life(folder: Path) -> int:
    async with FakeEngine().serving(str(folder / "engine.sock")) as engine:
        provider = new_provider(folder)
        await whole_life(provider, spec())
        await provider.aclose()
        assert engine.containers == engine.networks == {}
        return len(engine.calls)


@pytest.mark.parametrize("kind", FAULTS)
async def test_any_call_when_the_engine_fails_then_the_error_is_ours_and_nothing_stays_for_ever(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "APPEARANCE_DEADLINE_S", 0.1)
    for number in range(await calls_of_a_life(tmp_path)):
        (tmp_path / "engine.sock").unlink(missing_ok=True)
        async with FakeEngine().serving(str(tmp_path / "engine.sock")) as engine:
            engine.fault_at, engine.fault = number, FAULTS[kind]
            provider = new_provider(tmp_path)
            error = await outcome_of_a_life(provider)
            assert error is None or error.message.endswith("."), error.message
            assert error is None or error.retry or kind != "cut", f"call {engine.calls[number]}"
            await provider.aclose()
            engine.fault = None
            again = new_provider(tmp_path)
            for seen in [seen async for seen in again.list()]:
                await again.delete(seen.handle)
            await again.create(spec(machine_id="cr_22222222"))  # whatever happened, work goes on
            for seen in [seen async for seen in again.list()]:
                await again.delete(seen.handle)
            await again.remove_network()
            await again.aclose()
            assert engine.containers == engine.networks == {}, f"call {number}: {engine.calls}"


async def test_call_when_the_engine_hangs_then_is_unreachable(engine: FakeEngine, provider: DockerProvider) -> None:
    await provider.offers(Need())
    engine.hang_at = len(engine.calls)
    with pytest.raises(Unreachable, match="in time") as caught:
        await provider._api.call("GET", "info", deadline_s=0.05)
    assert caught.value.retry


async def test_create_when_cancelled_while_the_engine_works_then_the_container_is_settled(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    handle = await provider.create(spec())
    await provider.delete(handle)
    for number in range(12):
        wanted = spec()
        task = asyncio.create_task(provider.create(wanted))
        for _ in range(number * 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        settled = len(engine.containers)
        shown = [seen async for seen in provider.list()]
        assert len(shown) == settled
        for seen in shown:
            await provider.delete(seen.handle)
        assert engine.containers == {}


async def test_create_when_open_files_cannot_be_raised_then_is_tried_with_fewer(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    engine.start_errors = ["OCI runtime create failed: error setting rlimit type 7: operation not permitted"]
    handle = await provider.create(spec())
    limits = engine.containers[handle.data["container_id"]]["HostConfig"]["Ulimits"]
    assert limits == [{"Name": "nofile", "Soft": 4096, "Hard": 4096}]
    assert len(engine.containers) == 1


async def test_create_when_the_start_is_refused_for_good_then_says_why(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    engine.start_errors = ["OCI runtime create failed: something odd"]
    with pytest.raises(ProviderBug, match="something odd"):
        await provider.create(spec())
    assert len([seen async for seen in provider.list()]) == len(engine.containers)


async def test_create_when_no_build_of_ours_is_there_then_walls_name_the_command(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = new_provider(tmp_path, helper_image="")

    async def nothing(*_args: object, **_named: object) -> list[object]:
        return []

    monkeypatch.setattr(type(DockerImages(provider._api.docker).engine), "find_images", nothing)
    with pytest.raises(NotConfigured) as caught:
        await provider.create(spec())
    assert caught.value.next == "cloudrouter image build"
    assert engine.containers == {}
    await provider.aclose()


async def test_create_when_the_rules_do_not_read_back_then_refuses(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    for line in ('{"up": false}', '{"error": "nft: no"}', "Traceback", '["up"]'):
        engine.log_line = line
        with pytest.raises(NotConfigured, match="walls"):
            await provider.create(spec())
        assert engine.containers == {}
    engine.log_line = '{"up": true}'
    await provider.create(spec())


async def test_walls_when_just_looked_at_then_cost_the_next_machine_nothing(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    await provider.create(spec())
    before = len(engine.calls)
    await provider.create(spec())
    assert [call for call in engine.calls[before:] if "wait" in call or "logs" in call] == []


async def test_closed_provider_when_used_then_is_unreachable_and_opens_no_session(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    await provider.check()
    await provider.aclose()
    await provider.aclose()
    with pytest.raises(Unreachable, match="closed"):
        await provider.check()


async def test_network_when_a_foreign_one_has_its_name_then_is_a_conflict(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    engine.networks["cloudrouter-01234567"] = {"Id": "f" * 64, "Name": "cloudrouter-01234567", "Labels": {}}
    with pytest.raises(Conflict, match="not this router's"):
        await provider.create(spec())
    assert engine.containers == {}


async def test_refusals_when_nothing_is_asked_of_the_engine_then_it_hears_nothing(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    for changes in ({"image": ""}, {"pids": 1}, {"options": {"x": 1}}, {"router_id": "other"}):
        with pytest.raises(InvalidSpec):
            await provider.create(spec(**changes))
    assert engine.calls == []


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (404, '{"message": "x"}', NotFound),
        (409, '{"message": "x"}', Conflict),
        (400, '{"message": "x"}', InvalidSpec),
        (500, '{"message": "x: no space left on device"}', NoCapacity),
        (500, '{"message": "all predefined address pools have been fully subnetted"}', NoCapacity),
        (500, "", ProviderBug),
        (503, "[1, 2]", ProviderBug),
    ],
)
def test_refusal_when_translated_then_is_one_sentence_of_the_right_kind(
    status: int, text: str, kind: type[Exception]
) -> None:
    error = api.refusal(status, text)
    assert type(error) is kind
    assert error.message.endswith(".")
    assert "\n" not in error.message


def test_translate_when_permission_is_denied_then_names_the_group() -> None:
    error = api.translate(PermissionError(13, "Permission denied"), where="/var/run/docker.sock")
    assert type(error) is NotConfigured
    assert "docker" in error.fix


async def test_helper_when_an_image_only_looks_like_ours_then_is_a_build_of_this_router(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = new_provider(tmp_path, helper_image="", images_file=str(tmp_path / "images.json"))
    labels = {recipe.LABEL_IMAGE: "core", recipe.LABEL_DIGEST: "0123456789abcdef"}

    def facts(key: str, created_at: float, *, made_here: bool = True) -> ImageFacts:
        return ImageFacts(key, ("cloudrouter/core:0123456789ab",), labels, 1, created_at, made_here)

    async def found(*_args: object, **_named: object) -> list[ImageFacts]:
        return [facts("own", 1), facts("loaded", 2), facts("pulled", 3, made_here=False)]

    monkeypatch.setattr(DockerEngine, "find_images", found)
    assert await provider._containers.helper_image() == "loaded"
    provider._known.remember("own", "cloudrouter/core:0123456789ab")
    assert await provider._containers.helper_image() == "own"
    await provider.aclose()
