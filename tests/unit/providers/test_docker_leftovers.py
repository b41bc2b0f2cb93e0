"""What a router leaves on an engine: its own by label and name, rules only when nobody else needs them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.images.fakes import FakeEngine

from cloudrouter.images import base, recipe
from cloudrouter.images.known import Known
from cloudrouter.providers.base import LABEL_MACHINE, Leftover
from cloudrouter.providers.docker import wallscript
from cloudrouter.providers.docker.leftovers import Leftovers
from cloudrouter.providers.docker.walls import Seen
from cloudrouter.providers.errors import Conflict, NotConfigured, NotFound, Unreachable, Unsupported


class Engine:
    """Answers of an engine."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.failure: Exception | None = None
        self.others: dict[str, str] = {}
        """Kind -> the router that has something of that kind here, beside ours."""

    async def settle(self, change: Any) -> Any:
        return await change

    async def call(self, method: str, path: str, *, params: Any = None, **_more: Any) -> Any:
        self.asked.append((method, path))
        if method == "DELETE" and self.failure is not None:
            raise self.failure
        if params and json.loads(params.get("filters", "{}")) == {"label": ["cloudrouter.dev/router"]}:
            found = [{"Labels": {"cloudrouter.dev/router": one}} for one in ("r1", self.others.get(path, "r1"))]
            return {"Volumes": found} if path == "volumes" else found
        if path in ("containers/json", "volumes"):
            assert json.loads(params["filters"]) == {"label": ["cloudrouter.dev/router=r1"]}
        if path == "containers/json":
            return [{"Id": "helper1", "Labels": {}}, {"Id": "machine1", "Labels": {LABEL_MACHINE: "cr_x"}}]
        if path == "volumes":
            return {"Volumes": [{"Name": "b"}, {"Name": "a"}]}
        if path == "system/df":
            return {"Volumes": [{"Name": "a", "UsageData": {"Size": 7}}, {"Name": "b", "UsageData": {"Size": -1}}]}
        return None


class Network:
    name, bridge = "cloudrouter-r1", "crb-r1"

    async def is_there(self) -> bool:
        return True


class Walls:
    def __init__(self, seen: Seen | Exception) -> None:
        self.seen = seen

    async def look(self, _find_image: Any) -> Seen:
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen


def leftovers(
    engine: Engine,
    seen: Seen | Exception,
    monkeypatch: pytest.MonkeyPatch,
    images: FakeEngine | None = None,
    known: Known | None = None,
) -> Leftovers:
    made = Leftovers(
        engine,  # type: ignore[arg-type]
        router_id="r1",
        network=Network(),  # type: ignore[arg-type]
        walls=Walls(seen),  # type: ignore[arg-type]
        find_image=lambda: None,  # type: ignore[arg-type,return-value]
        known=known or Known(),
    )
    if images is not None:
        monkeypatch.setattr(made, "_engine", lambda: images)
        return made

    async def none(**_wanted: Any) -> list[Any]:
        return []

    async def missing(_name: str) -> None:
        return None

    monkeypatch.setattr(made, "_engine", lambda: SimpleNamespace(find_images=none, inspect_image=missing))
    return made


@pytest.mark.parametrize(
    ("seen", "rules"),
    [
        (Seen(up=True, bridges=("crb-r1",)), True),
        (Seen(up=True, bridges=()), True),
        (Seen(up=True, bridges=("crb-r1", "crb-r2")), False),
        (Seen(up=False, bridges=("crb-r1",)), False),
        (NotConfigured("There is no image of ours."), False),
    ],
)
async def test_leftovers_when_found_then_are_ours_and_rules_only_those_nobody_else_needs(
    monkeypatch: pytest.MonkeyPatch, seen: Seen | Exception, rules: bool
) -> None:
    found = await leftovers(Engine(), seen, monkeypatch).find()
    wanted = [("helper", "helper1", None), ("network", "cloudrouter-r1", None)]
    wanted += [("rules", "inet cloudrouter", None)] if rules else []
    wanted += [("volume", "a", 7), ("volume", "b", None)]
    assert [(one.kind, one.name, one.size_bytes) for one in found] == wanted


async def test_leftover_when_removed_then_missing_is_success_and_in_use_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine()
    made = leftovers(engine, Seen(up=False, bridges=()), monkeypatch)
    engine.failure = NotFound("No such volume.")
    await made.remove(Leftover("volume", "a"))
    await made.remove(Leftover("helper", "helper1"))
    assert engine.asked == [("DELETE", "volumes/a"), ("DELETE", "containers/helper1")]
    for failure in (Conflict("In use."), Unreachable("Gone.")):
        engine.failure = failure
        with pytest.raises(type(failure)):
            await made.remove(Leftover("volume", "a"))
    await made.remove(Leftover("image", "no-such-image"))
    with pytest.raises(Unsupported):
        await made.remove(Leftover("moon", "x"))


@pytest.mark.parametrize(
    ("tables", "up"), [([("inet", "cloudrouter")], True), ([("ip", "cloudrouter")], False), ([], False)]
)
def test_look_when_run_then_tells_our_table_and_every_machines_bridge(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tables: list[tuple[str, str]], up: bool
) -> None:
    def run(*command: str, text: str = "") -> str:
        assert not text, "looking loads nothing"
        if command[0] == "ip":
            return json.dumps([{"ifname": "lo"}, {"ifname": "crb-aa"}, {"ifname": "docker0"}])
        return json.dumps({"nftables": [{"metainfo": {}}, *({"table": {"family": f, "name": n}} for f, n in tables)]})

    monkeypatch.setattr(wallscript, "run", run)
    assert wallscript.main(["look", "crb-*"]) == 0
    assert json.loads(capsys.readouterr().out) == {"up": up, "bridges": ["crb-aa"]}


NOTHING = Seen(up=False, bridges=())
DIGEST = "0123456789abcdef"
CORE = {recipe.LABEL_IMAGE: "core", recipe.LABEL_DIGEST: DIGEST}
BUILT = {recipe.LABEL_IMAGE: "build", recipe.LABEL_DIGEST: ""}


async def listed(made: Leftovers) -> list[Leftover]:
    return [one for one in await made.find() if one.kind == "image"]


async def test_images_when_listed_then_are_those_of_our_names_and_untagged_ones_only_when_we_built_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, known = FakeEngine(), Known()
    core = images.add(f"cloudrouter/core:{DIGEST[:12]}", CORE, created_at=4)
    images.add("cloudrouter/build:0123", BUILT, created_at=3)
    await images.tag_image("cloudrouter/build:0123", new="aapp:1.0")
    images.add(base.OWN, created_at=2)
    ours = images.add("", CORE, created_at=1)
    images.add("", CORE, created_at=0)
    images.add("mine:1", CORE)
    known.remember(ours.id, core.tags[0])
    found = await listed(leftovers(Engine(), NOTHING, monkeypatch, images, known))
    assert [one.name for one in found] == [core.tags[0], "cloudrouter/build:0123", base.OWN, ours.id]


async def test_images_when_they_have_a_persons_tag_too_then_lose_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    images = FakeEngine()
    images.add("cloudrouter/build:0123", BUILT)
    await images.tag_image("cloudrouter/build:0123", new="myapp:1.0")
    await leftovers(Engine(), NOTHING, monkeypatch, images).remove(Leftover("image", "cloudrouter/build:0123"))
    assert images.removed == ["cloudrouter/build:0123"]
    assert [one.tags for one in images.images.values()] == [("myapp:1.0",)]


async def test_image_when_it_is_a_persons_then_stays_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = FakeEngine()
    inherited = images.add("", CORE)
    made = leftovers(Engine(), NOTHING, monkeypatch, images)
    await made.remove(Leftover("image", inherited.id))
    images.add("mine:1", CORE)
    await made.remove(Leftover("image", "mine:1"))
    assert images.removed == []


async def test_image_when_a_container_uses_it_then_keeps_all_its_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    images = FakeEngine()
    core = images.add(f"cloudrouter/core:{DIGEST[:12]}", CORE)
    await images.tag_image(core.id, new="cloudrouter/core:latest")
    images.used = {core.id}
    with pytest.raises(Conflict, match="use"):
        await leftovers(Engine(), NOTHING, monkeypatch, images).remove(Leftover("image", core.tags[0]))
    assert images.removed == []


@pytest.mark.parametrize("where", ["", "containers/json", "networks", "volumes"])
async def test_images_when_other_routers_have_things_here_then_are_shared(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    engine, images = Engine(), FakeEngine()
    images.add(base.OWN)
    engine.others = {where: "r2"}
    (found,) = await listed(leftovers(engine, NOTHING, monkeypatch, images))
    assert found.shared == bool(where)
