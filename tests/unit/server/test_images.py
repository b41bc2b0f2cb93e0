"""Images over the API: what is refused, folders as streams, pruning, and what machines may boot from."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.client.transport import Transport
from cloudrouter.images.folders import FolderBuild
from cloudrouter.providers.base import Images, Progress
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.app import router_id
from cloudrouter.server.run import prepare_folders
from cloudrouter.server.services import doctor
from cloudrouter.server.settings import Settings
from cloudrouter.testing.live_router import live_router
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Conflict, InvalidSpec, NotFound, Unsupported, UsageError

from .conftest import start, wait

OLD = {"name": "core", "reference": "cloudrouter/core:0", "size_bytes": 3 * 1024**3, "current": False, "in_use": False}


class Keeper(MemoryProvider):
    """Local processes, and images that are only remembered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.built: list[str] = []
        self.orders: list[FolderBuild] = []
        self.received = b""
        self.failure: Exception | None = None
        self.fails_early = False
        self.began, self.ended = threading.Event(), threading.Event()
        self.pruned: list[dict[str, bool]] = []
        self.images: list[Mapping[str, Any]] = []

    async def check_image(self, name: str) -> None:
        if " " in name:
            raise InvalidSpec(f"{name!r} cannot be the name of an image.", field="image")

    async def resolve_image(self, name: str) -> str | None:
        return name if name in ("core", *self.built) else None

    def use_apps(self, folder: str) -> None:
        self.own_apps = folder

    async def build_image(self, name: str, *, progress: Progress, rebuild: bool = False, quiet: bool = False) -> str:
        progress({"step": f"{name} 1/1: Guest", "at": 1, "of": 1, "detail": ""})
        if self.failure is not None:
            raise self.failure
        self.built.append(name)
        return "core"  # the one image that local processes know

    async def build_folder(
        self, order: FolderBuild, tar: AsyncIterator[bytes], *, progress: Progress
    ) -> Mapping[str, str]:
        self.orders.append(order)
        self.began.set()
        try:
            if self.fails_early and self.failure is not None:
                raise self.failure
            async for piece in tar:
                self.received += piece
            progress({"step": "web 1/1: FROM x", "at": 1, "of": 1, "detail": ""})
            if self.failure is not None:
                raise self.failure
            return {"name": "build:web@0123456789ab", "reference": "cloudrouter/any:1"}
        finally:
            self.ended.set()

    async def list_images(self) -> list[Mapping[str, Any]]:
        return self.images

    async def remove_image(self, name: str) -> None:
        raise NotFound(f"There is no image of CloudRouter's called {name!r} here.")

    async def prune_images(self, *, everything: bool, dry_run: bool) -> Mapping[str, Any]:
        self.pruned.append({"everything": everything, "dry_run": dry_run})
        return {"images": [OLD], "kept": [], "freed_bytes": 5}


@pytest.fixture
def keeper(settings: Settings, tmp_path: Path) -> Keeper:
    prepare_folders(settings)
    return Keeper(router_id=router_id(settings.state_dir), clock=time.time, config={"root": str(tmp_path / "machines")})


@pytest.fixture
def router(settings: Settings, keeper: Keeper) -> Iterator[Transport]:
    with live_router(settings, lambda _id: {"memory": keeper}) as transport:
        yield transport
        for machine in transport.call("GET", routes.MACHINES)["machines"]:
            transport.call("DELETE", routes.machine(machine["id"]))


def head(**fields: Any) -> bytes:
    return json.dumps({"source": "web", **fields}).encode() + b"\n"


def test_keeper_is_a_provider_with_images(keeper: Keeper) -> None:
    assert isinstance(keeper, Images)


def test_folder_reaches_the_provider_as_it_was_sent(router: Transport, keeper: Keeper) -> None:
    tar = [bytes([number]) * 200_000 for number in range(40)]
    line = head(dockerfile="d/Dockerfile", buildargs={"A": "1"}, target="dev", origin="ab", tag="x:1", rebuild=True)
    answer = list(router.send(routes.IMAGE_BUILD_FOLDER, iter([line[:5], line[5:] + tar[0], *tar[1:]])))
    assert answer == [
        {"progress": {"step": "web 1/1: FROM x", "at": 1, "of": 1, "detail": ""}},
        {"image": {"name": "build:web@0123456789ab", "reference": "cloudrouter/any:1"}},
    ]
    assert keeper.received == b"".join(tar)
    (order,) = keeper.orders
    assert (order.dockerfile, order.buildargs, order.target) == ("d/Dockerfile", {"A": "1"}, "dev")
    assert (order.origin, order.tag, order.rebuild) == ("ab", "x:1", True)


def test_folder_whose_build_fails_is_told_with_its_last_lines(router: Transport, keeper: Keeper) -> None:
    keeper.failure = InvalidSpec("Building web failed.", output=["boom"])
    *_, last = router.send(routes.IMAGE_BUILD_FOLDER, iter([head(), b"x"]))
    assert last["error"]["details"]["output"] == ["boom"]


def test_folder_whose_build_ends_before_all_is_sent_is_told_all_the_same(router: Transport, keeper: Keeper) -> None:
    keeper.failure, keeper.fails_early = InvalidSpec("The engine would not begin."), True
    pieces = [head(), *[b"x" * 250_000] * 200]
    (last,) = router.send(routes.IMAGE_BUILD_FOLDER, iter(pieces))
    assert last["error"]["message"] == "The engine would not begin."


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ([b"not json\n"], UsageError, "not JSON"),
        ([b"[" * 100_000 + b"\n"], UsageError, "not JSON"),
        ([b'{"source": "web", "more": 1}\n'], UsageError, "more"),
        ([b'{"dockerfile": "x"}\n'], UsageError, "source"),
        ([head(dockerfile="../x")], InvalidSpec, "inside the folder"),
        ([b"x" * 600_000, b"x" * 600_000], UsageError, "too long"),
        ([head(provider="nowhere")], Exception, "no provider"),
    ],
)
def test_folder_that_is_not_described_well_is_refused_and_heard_to_its_end(
    router: Transport, keeper: Keeper, body: list[bytes], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        list(router.send(routes.IMAGE_BUILD_FOLDER, iter([*body, *[b"x" * 250_000] * 20])))
    assert keeper.orders == []


def test_body_without_a_line_is_refused(router: Transport) -> None:
    with pytest.raises(UsageError, match="must begin with a line"):
        list(router.send(routes.IMAGE_BUILD_FOLDER, iter([b"no line at all"])))


def test_sender_that_leaves_in_the_middle_ends_the_build(router: Transport, keeper: Keeper) -> None:
    def pieces() -> Iterator[bytes]:
        yield head()
        assert keeper.began.wait(20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(router.send(routes.IMAGE_BUILD_FOLDER, pieces()))
    assert keeper.ended.wait(20)


def test_build_of_a_foreign_image_prepares_it(router: Transport, keeper: Keeper) -> None:
    *_, last = router.lines("POST", routes.IMAGE_BUILD, {"name": "debian:trixie"})
    assert last == {"image": {"name": "debian:trixie", "reference": "core"}}
    assert keeper.built == ["debian:trixie"]
    *_, refused = router.lines("POST", routes.IMAGE_BUILD, {"name": "a b"})
    assert refused["error"]["code"] == "invalid_spec"


def test_prune_passes_on_what_is_wanted(router: Transport, keeper: Keeper) -> None:
    assert router.call("POST", routes.IMAGE_PRUNE, {"dry_run": True})["freed_bytes"] == 5
    router.call("POST", routes.IMAGE_PRUNE, {"all": True})
    assert keeper.pruned == [{"everything": False, "dry_run": True}, {"everything": True, "dry_run": False}]


def test_image_with_slashes_in_its_name_is_removed_by_it(router: Transport) -> None:
    with pytest.raises(NotFound, match="cloudrouter/core:0123"):
        router.call("DELETE", routes.image("cloudrouter/core:0123"))


def test_machine_from_a_foreign_image_waits_until_it_is_prepared(router: Transport, keeper: Keeper) -> None:
    machine = start(router, image="debian:trixie", provider="memory")
    assert "machine" in wait(router, machine["id"])
    assert keeper.built == ["debian:trixie"]
    with pytest.raises(Conflict, match="is used by"):
        router.call("DELETE", routes.image("debian:trixie"))


def test_machine_from_what_cannot_be_an_image_is_refused_at_once(router: Transport, keeper: Keeper) -> None:
    with pytest.raises(InvalidSpec, match="cannot be the name"):
        start(router, image="a b")
    assert router.call("GET", routes.MACHINES)["machines"] == []
    assert keeper.built == []


def test_doctor_speaks_of_old_builds_only_where_they_hold_much(
    router: Transport, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> list[str]:
        checks = router.call("GET", routes.DOCTOR)["checks"]
        return [check["message"] for check in checks if check["name"] == "old images" and check["ok"]]

    keeper.images = [OLD, {**OLD, "current": True}, {**OLD, "in_use": True}]
    assert said() == ["1 that nobody needs hold up to 3 GiB: cloudrouter image prune"]
    monkeypatch.setattr(doctor, "MANY_OLD_BYTES", 4 * 1024**3)
    assert said() == []


def test_provider_without_images_refuses_one(settings: Settings, tmp_path: Path) -> None:
    plain = MemoryProvider(router_id="0" * 16, clock=time.time, config={"root": str(tmp_path / "m")})
    with (
        live_router(settings, lambda _id: {"memory": plain}) as transport,
        pytest.raises(Unsupported, match="no images"),
    ):
        start(transport, image="debian:trixie")
