"""Which image a start gets that names none, and what is built behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.services.readying import AGAIN_S, Readying
from cloudrouter.wire.errors import ProviderBug, Unreachable

from .test_images import Keeper


class Shop(Keeper):
    """Builds when it is told to go on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ready: set[str] = set()
        self.asked: list[tuple[str, bool]] = []
        self.go = asyncio.Event()
        self.broken: Exception | None = None

    async def resolve_image(self, name: str) -> str | None:
        if isinstance(self.broken, Unreachable):
            raise self.broken
        return name if name in self.ready else None

    async def build_image(self, name: str, *, progress: Any, rebuild: bool = False, quiet: bool = False) -> str:
        self.asked.append((name, quiet))
        progress({"step": f"{name} 1/2: App desktop"})
        await self.go.wait()
        if self.broken is not None:
            raise self.broken
        self.ready.add(name)
        return name


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
async def readying(now: list[float]) -> AsyncIterator[Readying]:
    made = Readying(lambda: now[0])
    yield made
    await made.aclose()


@pytest.fixture
def shop(tmp_path: Any) -> Shop:
    return Shop(router_id="r", clock=lambda: 0.0, config={"root": str(tmp_path)})


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_full_when_it_is_ready_then_nothing_is_told_or_built(readying: Readying, shop: Shop) -> None:
    shop.ready = {"full"}
    assert await readying.choose(shop, "full") == ("full", [])
    assert readying.list("memory") == []


async def test_full_when_it_is_missing_then_desktop_with_a_note_and_both_are_built_quietly_in_order(
    readying: Readying, shop: Shop
) -> None:
    image, (note,) = await readying.choose(shop, "full")
    assert image == "desktop"
    assert "vscode and jupyter" in note
    assert "cloudrouter image ls" in note
    await settle()
    assert shop.asked == [("desktop", True)]
    (shown,) = readying.list("memory")
    assert (shown["name"], shown["kind"], shown["reference"]) == ("full", "building", "desktop 1/2: App desktop")
    assert readying.list("docker") == []
    shop.go.set()
    await settle()
    assert shop.asked == [("desktop", True), ("full", True)]
    assert readying.list("memory") == []
    assert await readying.choose(shop, "full") == ("full", [])


async def test_second_start_meanwhile_begins_no_second_build(readying: Readying, shop: Shop) -> None:
    await readying.choose(shop, "full")
    await readying.choose(shop, "full")
    await settle()
    assert shop.asked == [("desktop", True)]


async def test_failed_build_is_told_with_its_command_and_tried_again_later(
    readying: Readying, shop: Shop, now: list[float]
) -> None:
    shop.broken = ProviderBug("The step broke.\nits tail")
    shop.go.set()
    await readying.choose(shop, "full")
    await settle()
    (shown,) = readying.list("memory")
    assert (shown["kind"], shown["reference"]) == ("failed", "The step broke.")
    _image, (note,) = await readying.choose(shop, "full")
    assert "The step broke." in note
    assert "cloudrouter image build full" in note
    assert len(shop.asked) == 1
    now[0] += AGAIN_S + 1
    shop.broken = None
    await readying.choose(shop, "full")
    await settle()
    assert "full" in shop.ready


async def test_other_default_is_taken_as_it_is_said(readying: Readying, shop: Shop) -> None:
    assert await readying.choose(shop, "debian:trixie") == ("debian:trixie", [])
    assert await readying.choose(shop, "core") == ("core", [])
    assert shop.asked == []


async def test_provider_without_images_has_one_of_its_own(readying: Readying, tmp_path: Any) -> None:
    bare = MemoryProvider(router_id="r", clock=lambda: 0.0, config={"root": str(tmp_path)})
    assert await readying.choose(bare, "full") == ("core", [])


async def test_engine_that_does_not_answer_is_left_to_the_making_of_the_machine(readying: Readying, shop: Shop) -> None:
    shop.broken = Unreachable("gone")
    assert await readying.choose(shop, "full") == ("full", [])


async def test_closing_ends_what_is_being_built(readying: Readying, shop: Shop) -> None:
    await readying.choose(shop, "full")
    await settle()
    await readying.aclose()
    assert [one["kind"] for one in readying.list("memory")] == ["failed"]
