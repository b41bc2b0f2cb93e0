"""cp: where things go, by the rules of `docker cp`, here and in machines."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.client.fake_guest import FakeGuest
from tests.unit.client.fake_router import Answer, FakeRouter, Seen
from websockets.sync.server import ServerConnection

from cloudrouter.client import copying, relaying
from cloudrouter.client.copying import Place, read_place
from cloudrouter.client.transport import Transport
from cloudrouter.wire.errors import Conflict, NotFound, TransferFailed, UsageError

Make = Callable[..., FakeRouter]


@pytest.fixture
def world(tmp_path: Path, fake_router: Make, monkeypatch: pytest.MonkeyPatch) -> Transport:
    """A folder here, and two machines: `one` and `two`, each a folder beside it."""
    guests = {}
    for name in ("here", "one", "two"):
        (tmp_path / name / "tree" / "sub").mkdir(parents=True)
        (tmp_path / name / "tree" / "sub" / "leaf").write_text(name)
        (tmp_path / name / "file").write_text(name)
        (tmp_path / name / "room").mkdir()
        guests[name] = FakeGuest(str(tmp_path / name))
    monkeypatch.chdir(tmp_path / "here")

    def talk(connection: ServerConnection, path: str) -> None:
        guests[path.split("/")[3]].talk(connection, path)

    def handle(seen: Seen) -> Answer:
        return Answer(body={"id": seen.path.rsplit("/", 1)[1].removesuffix("-by-name")})

    guests["one-by-name"] = guests["one"]
    return Transport(fake_router(handle=handle, talk=talk).path)


def paths(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


RULES = [
    # source, target, where the source's content then is
    ("file", "new", "new"),
    ("file", "room", "room/file"),
    ("file", "room/", "room/file"),
    ("file", "room/new", "room/new"),
    ("tree", "new", "new/sub/leaf"),
    ("tree", "new/", "new/sub/leaf"),
    ("tree", "room", "room/tree/sub/leaf"),
    ("tree/", "room", "room/tree/sub/leaf"),
    ("tree/.", "room", "room/sub/leaf"),
    ("tree/.", "new", "new/sub/leaf"),
    ("tree/sub", "room", "room/sub/leaf"),
    ("tree", "tree", "tree/tree/sub/leaf"),
]


@pytest.mark.parametrize(("source", "target", "lands"), RULES)
@pytest.mark.parametrize(("start", "end"), [("here", "one"), ("one", "here"), ("one", "two")])
def test_copy_when_between_any_two_places_then_follows_the_rules(
    world: Transport, tmp_path: Path, source: str, target: str, lands: str, start: str, end: str
) -> None:
    places = [Place(None if name == "here" else name, path) for name, path in ((start, source), (end, target))]
    report = copying.copy(world, places[0], places[1])
    assert (tmp_path / end / lands).read_text() == start
    assert report["files"] == 1
    assert report["bytes"] == len(start)
    assert report["kind"] == ("tree" if "tree" in source else "file")


@pytest.mark.parametrize(("start", "end"), [("here", "one"), ("one", "here"), ("one", "two")])
@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        ("nothing", "new", NotFound),
        ("file", "no/such", NotFound),
        ("tree", "no/such", NotFound),
        ("file", "new/", NotFound),
        ("tree", "file", Conflict),
        ("tree/.", "file", Conflict),
        ("file", "over", Conflict),
    ],
)
def test_copy_when_it_cannot_be_then_nothing_changes_and_a_way_out_is_named(
    world: Transport, tmp_path: Path, start: str, end: str, source: str, target: str, kind: type[Exception]
) -> None:
    (tmp_path / end / "over" / "file").mkdir(parents=True)
    before = paths(tmp_path / end)
    places = [Place(None if name == "here" else name, path) for name, path in ((start, source), (end, target))]
    with pytest.raises(kind) as caught:
        copying.copy(world, places[0], places[1])
    assert paths(tmp_path / end) == before
    assert isinstance(caught.value, (NotFound, Conflict))
    assert caught.value.fix
    assert caught.value.next


@pytest.mark.parametrize(
    ("word", "place"),
    [
        ("lab:path", Place("lab", "path")),
        ("lab:", Place("lab", ".")),
        ("cr_7k2m9xqd:/etc/x:y", Place("cr_7k2m9xqd", "/etc/x:y")),
        ("./a:b", Place(None, "./a:b")),
        ("/a:b", Place(None, "/a:b")),
        ("dir/a:b", Place(None, "dir/a:b")),
        (".a:b", Place(None, ".a:b")),
        (":x", Place(None, ":x")),
        ("plain", Place(None, "plain")),
        ("-", Place(None, "-")),
    ],
)
def test_place_when_read_then_a_colon_before_any_slash_names_a_machine(word: str, place: Place) -> None:
    assert read_place(word) == place


@given(st.text())
def test_any_word_when_read_behind_a_dot_and_slash_then_is_here(word: str) -> None:
    assert read_place(f"./{word}") == Place(None, f"./{word}")


def test_git_when_it_comes_here_then_is_left_out_unless_asked_for(world: Transport, tmp_path: Path) -> None:
    (tmp_path / "one" / "tree" / ".git").mkdir()
    (tmp_path / "one" / "tree" / ".git" / "config").write_text("x")
    report = copying.copy(world, Place("one", "tree"), Place(None, "plain"))
    assert report["git_left_out"] is True
    assert paths(tmp_path / "here" / "plain") == {"sub", "sub/leaf"}
    assert copying.copy(world, Place("one", "tree"), Place(None, "whole"), with_git=True)["git_left_out"] is False
    assert (tmp_path / "here" / "whole" / ".git" / "config").exists()
    copying.copy(world, Place("one", "tree"), Place("two", "whole"))
    assert (tmp_path / "two" / "whole" / ".git" / "config").exists()


def test_stdin_when_copied_in_then_is_one_file(world: Transport, tmp_path: Path) -> None:
    data = os.urandom(3 * 2**20)
    report = copying.copy_in(world, io.BytesIO(data), Place("one", "room/blob"))
    assert (tmp_path / "one" / "room" / "blob").read_bytes() == data
    assert (report["files"], report["bytes"]) == (1, len(data))
    for path in ("room", "room/", "."):
        with pytest.raises(UsageError, match="has no name of its own"):
            copying.copy_in(world, io.BytesIO(b"x"), Place("one", path))
    with pytest.raises(NotFound, match="no folder"):
        copying.copy_in(world, io.BytesIO(b"x"), Place("one", "no/such"))


def test_stdout_when_copied_to_then_gets_the_file_and_nothing_of_a_folder(world: Transport) -> None:
    out = io.BytesIO()
    copying.copy_out(world, Place("one", "file"), out)
    assert out.getvalue() == b"one"
    with pytest.raises(UsageError, match="is a folder"):
        copying.copy_out(world, Place("one", "tree"), out)
    with pytest.raises(NotFound):
        copying.copy_out(world, Place("one", "nothing"), out)
    assert out.getvalue() == b"one"


INSIDE = [
    ("tree", "tree/sub"),
    ("tree", "tree/new"),
    ("tree", "tree"),
    (".", "room"),
    ("tree", "link"),
    ("tree/sub/..", "tree"),
]


@pytest.mark.parametrize("again", ["one", "one-by-name"])
@pytest.mark.parametrize(("source", "target"), INSIDE)
def test_copy_when_a_folder_would_go_into_itself_then_is_refused(
    world: Transport, tmp_path: Path, source: str, target: str, again: str
) -> None:
    (tmp_path / "one" / "link").symlink_to("tree/sub")
    before = paths(tmp_path / "one")
    with pytest.raises(UsageError, match="itself, or inside it"):
        copying.copy(world, Place("one", source), Place(again, target))
    assert paths(tmp_path / "one") == before


def test_copy_when_a_folder_goes_beside_itself_then_is_copied(world: Transport, tmp_path: Path) -> None:
    (tmp_path / "one" / "tree2").mkdir()
    copying.copy(world, Place("one", "tree"), Place("one", "tree2"))
    assert (tmp_path / "one" / "tree2" / "tree" / "sub" / "leaf").exists()


def test_machine_that_sends_a_folder_for_a_file_then_writes_nothing(fake_router: Make, tmp_path: Path) -> None:
    """A hostile machine says `file` when it is asked what is there, and sends a tree into the folder here."""
    told = iter(["file", "tree"])

    def talk(connection: ServerConnection, _path: str) -> None:
        connection.recv()
        connection.send(json.dumps({"started": {"kind": next(told), "name": "notes"}}))

    with pytest.raises(TransferFailed, match="Nothing was written"):
        copying.copy(Transport(fake_router(talk=talk).path), Place("m", "notes"), Place(None, str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_missing_machine_when_asked_what_is_there_then_is_not_taken_for_a_missing_file(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        connection.recv()
        connection.send(json.dumps({"error": NotFound("There is no machine 'm'.", next="cloudrouter ls").to_json()}))

    with pytest.raises(NotFound, match="no machine 'm'"):
        relaying.kind_of(Transport(fake_router(talk=talk).path), "m", "x")


@pytest.mark.parametrize("counts", [{"files": 2}, {"bytes": 1}, {"files": None}, {"refused": [["a\x1b", "denied"]]}])
def test_relay_when_the_machines_do_not_agree_then_is_a_failure(
    world: Transport, fake_router: Make, tmp_path: Path, counts: dict[str, Any]
) -> None:
    assert world
    one, two = FakeGuest(str(tmp_path / "one")), FakeGuest(str(tmp_path / "two"))
    two.alter = lambda message: {"done": {**message["done"], **counts}} if "done" in message else message

    def talk(connection: ServerConnection, path: str) -> None:
        (one if "/one/" in path else two).talk(connection, path)

    with pytest.raises(TransferFailed) as caught:
        relaying.relay(Transport(fake_router(talk=talk).path), ("one", "file"), ("two", "new"), "file")
    assert "\x1b" not in caught.value.message
    assert caught.value.fix
    assert caught.value.next
