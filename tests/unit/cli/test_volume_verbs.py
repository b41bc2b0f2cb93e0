"""`volume` and its verbs, `--volume` of start and run, and what status and delete say of volumes."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from cloudrouter.client import commands, launch
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Conflict, NotFound, Unsupported

from .conftest import MACHINE, Cli, FakeTransport

MOUNT = {"volume": "data", "path": "/data", "read_only": False}
USE = {"id": "cr_7k2m9xqd", "name": "web", "state": "stopped", "path": "/data", "read_only": True}


def volume(name: str, **changes: Any) -> dict[str, Any]:
    known = {"name": name, "provider": "docker", "size_bytes": None, "created_at": None, "machines": []}
    return {**known, **changes}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> list[dict[str, Any]]:
    """The requests of every start; the machine has the volumes that it asked for."""
    requests: list[dict[str, Any]] = []

    def fake(_transport: Any, _folder: str | None, request: dict[str, Any], **_more: Any) -> dict[str, Any]:
        requests.append(request)
        return {**MACHINE, "mounts": request.get("mounts", []), "upload": None, "commands": [], "jobs": []}

    monkeypatch.setattr(launch, "launch", fake)
    transport.answers["GET", f"{routes.VOLUMES}?provider=docker"] = {"volumes": []}
    return requests


# start and run


@pytest.mark.flag("start --volume")
def test_start_when_volumes_are_named_then_asks_for_them(cli: Cli, launched: list[dict[str, Any]]) -> None:
    assert cli("start", "--volume", "npm-cache:~/.npm", "--volume", "models:/models:ro").code == 0
    assert launched[0]["mounts"] == [
        {"volume": "npm-cache", "path": "/home/user/.npm", "read_only": False},
        {"volume": "models", "path": "/models", "read_only": True},
    ]


@pytest.mark.flag("run --volume")
def test_run_when_a_volume_is_named_then_asks_for_it(
    cli: Cli, launched: list[dict[str, Any]], transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = {"exit": {"code": 0}}
    monkeypatch.setattr(commands, "run", lambda *_words, **_more: ended)
    transport.answers["DELETE", routes.machine("cr_7k2m9xqd")] = {**MACHINE, "state": "gone"}
    cli("run", "--volume", "data:/data", "ls")
    assert launched[0]["mounts"] == [MOUNT]


def test_start_when_no_volume_is_named_then_asks_for_none_and_for_no_list(
    cli: Cli, launched: list[dict[str, Any]], transport: FakeTransport
) -> None:
    assert cli("start").code == 0
    assert "mounts" not in launched[0]
    assert transport.asked == []


def test_start_when_a_volume_is_new_then_says_so(
    cli: Cli, launched: list[dict[str, Any]], transport: FakeTransport
) -> None:
    transport.answers["GET", f"{routes.VOLUMES}?provider=docker"] = {
        "volumes": [
            volume("data", created_at="2026-07-31T12:00:00.100Z"),
            volume("old", created_at="2026-07-30T12:00:00.100Z"),
            volume("unknown"),
        ]
    }
    words = [word for name in ("data", "old", "unknown") for word in ("--volume", f"{name}:/{name}")]
    found = cli("start", *words)
    assert (found.code, found.out) == (0, "cr_7k2m9xqd\n")
    assert [line for line in found.err.splitlines() if "volume" in line] == ["new volume data at /data"]
    assert launched


def test_start_when_the_volumes_cannot_be_listed_then_the_machine_is_told_all_the_same(
    cli: Cli, launched: list[dict[str, Any]], transport: FakeTransport
) -> None:
    transport.answers["GET", f"{routes.VOLUMES}?provider=docker"] = Unsupported("No.")
    found = cli("start", "--volume", "data:/data")
    assert (found.code, found.out) == (0, "cr_7k2m9xqd\n")
    assert launched


@pytest.mark.parametrize("words", [["./x:/data"], ["data"], ["data:/etc"], ["a:/x", "--volume", "b:/x/y"]])
def test_start_when_a_volume_cannot_be_then_nothing_is_made(
    cli: Cli, launched: list[dict[str, Any]], words: list[str]
) -> None:
    found = cli("start", "--volume", *words)
    assert (found.code, found.out, launched) == (2, "", [])
    assert "\nFix:  " in found.err


# volume create, ls, inspect


def test_create_when_made_then_says_so_and_how_to_use_it(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["POST", routes.VOLUMES] = {**volume("data"), "made": True}
    found = cli("volume", "create", "data")
    assert (found.code, found.out) == (0, "data  made\n")
    assert "cloudrouter start --volume data:/data" in found.err
    assert transport.asked == [("POST", routes.VOLUMES, {"name": "data"})]


def test_create_when_it_was_there_then_says_that(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["POST", routes.VOLUMES] = {**volume("data"), "made": False}
    assert cli("volumes", "create", "data") == (0, "data  was there already\n", "")


@pytest.mark.flag("volume create --json")
@pytest.mark.flag("volume create --provider")
def test_create_when_for_programs_and_a_provider_then_both_are_kept(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["POST", routes.VOLUMES] = {**volume("data"), "made": True}
    assert cli("volume", "create", "data", "--json", "-p", "other").json["made"] is True
    assert transport.asked[0][2] == {"name": "data", "provider": "other"}


def test_ls_when_there_are_some_then_shows_who_has_them(cli: Cli, transport: FakeTransport) -> None:
    twice = [USE, {**USE, "path": "/again"}, {**USE, "id": "cr_4hq2wn8t", "name": ""}]
    transport.answers["GET", routes.VOLUMES] = {"volumes": [volume("data", machines=twice), volume("free")]}
    found = cli("volume", "ls")
    assert [line.split() for line in found.out.splitlines()] == [
        ["NAME", "AGE", "MACHINES"],
        ["data", "-", "web,", "cr_4hq2wn8t"],
        ["free", "-", "-"],
    ]


def test_ls_when_there_are_none_then_says_how_to_get_one(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", routes.VOLUMES] = {"volumes": []}
    found = cli("volume", "ls")
    assert (found.code, found.out) == (0, "")
    assert "cloudrouter start --volume NAME:PATH" in found.err


@pytest.mark.flag("volume ls --size")
def test_ls_when_sizes_are_wanted_then_they_are_measured_and_shown(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", f"{routes.VOLUMES}?size=true"] = {"volumes": [volume("data", size_bytes=3 << 20)]}
    assert "3 MiB" in cli("volume", "ls", "--size").out


@pytest.mark.flag("volume ls --json")
@pytest.mark.flag("volume ls --provider")
def test_ls_when_for_programs_and_a_provider_then_both_are_kept(cli: Cli, transport: FakeTransport) -> None:
    answer = {"volumes": [volume("data", machines=[USE])]}
    transport.answers["GET", f"{routes.VOLUMES}?size=true&provider=a%26b"] = answer
    assert cli("volume", "ls", "--json", "--size", "--provider", "a&b").json == answer


def test_inspect_when_shown_then_tells_size_age_and_every_machine(cli: Cli, transport: FakeTransport) -> None:
    shown = volume("data", size_bytes=1536, created_at="2026-07-31T12:00:00.100Z", machines=[USE])
    transport.answers["GET", routes.volume("data")] = shown
    found = cli("volume", "inspect", "data")
    assert found.out.startswith("data\n")
    assert "1.5 KiB" in found.out
    assert "cr_7k2m9xqd  web  stopped  at /data, only read" in found.out


@pytest.mark.flag("volume inspect --json")
@pytest.mark.flag("volume inspect --provider")
def test_inspect_when_for_programs_and_a_provider_then_both_are_kept(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", f"{routes.volume('data')}?provider=other"] = volume("data")
    assert cli("volume", "inspect", "data", "--json", "--provider", "other").json == volume("data")


@pytest.mark.parametrize("verb", ["inspect", "rm"])
def test_name_when_it_can_be_none_then_the_router_is_not_asked(cli: Cli, transport: FakeTransport, verb: str) -> None:
    found = cli("volume", verb, "../machines")
    assert found.code == 2
    assert "is not a volume's name" in found.err
    assert transport.asked == []


# volume rm


def test_rm_when_one_fails_then_the_others_go_and_the_status_is_its_own(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["DELETE", routes.volume("a")] = Conflict("The volume a is used by web.", next="x")
    transport.answers["DELETE", routes.volume("b")] = {"removed": "b"}
    found = cli("volume", "rm", "a", "b", "b")
    assert (found.code, found.out) == (1, "b  removed\n")
    assert "The volume a is used by web." in found.err
    assert len(transport.asked) == 2


@pytest.mark.flag("volume rm --json")
@pytest.mark.flag("volume rm --provider")
def test_rm_when_for_programs_then_tells_both_lists(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["DELETE", f"{routes.volume('a')}?provider=p"] = NotFound("There is no volume 'a'.")
    transport.answers["DELETE", f"{routes.volume('b')}?provider=p"] = {"removed": "b"}
    found = cli("volume", "rm", "a", "b", "--json", "-p", "p")
    assert found.code == 4
    assert found.json["removed"] == ["b"]
    assert [(one["ref"], one["code"]) for one in found.json["errors"]] == [("a", "not_found")]


@pytest.mark.parametrize("words", [[], ["a", "--all"]])
def test_rm_when_nothing_or_both_is_said_then_nothing_is_removed(
    cli: Cli, transport: FakeTransport, words: list[str]
) -> None:
    assert cli("volume", "rm", *words).code == 2
    assert transport.asked == []


@pytest.mark.flag("volume rm --all")
@pytest.mark.flag("volume rm --yes")
def test_rm_when_all_and_sure_then_every_one_is_tried(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", routes.VOLUMES] = {"volumes": [volume("a"), volume("b")]}
    transport.answers["DELETE", routes.volume("a")] = {"removed": "a"}
    transport.answers["DELETE", routes.volume("b")] = {"removed": "b"}
    assert cli("volume", "rm", "--all", "--yes").out == "a  removed\nb  removed\n"


def test_rm_when_all_and_nobody_can_be_asked_then_nothing_is_removed(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    transport.answers["GET", routes.VOLUMES] = {"volumes": [volume("a")]}
    assert cli("volume", "rm", "--all").code == 2
    assert [method for method, _path, _body in transport.asked] == ["GET"]


@pytest.mark.flag("volume rm --all")
def test_rm_when_all_and_machines_have_some_then_those_stay_and_are_named(cli: Cli, transport: FakeTransport) -> None:
    used = volume("used", machines=[USE, {**USE, "id": "cr_4hq2wn8t", "name": ""}])
    transport.answers["GET", routes.VOLUMES] = {"volumes": [volume("a"), used]}
    transport.answers["DELETE", routes.volume("a")] = {"removed": "a"}
    found = cli("volume", "rm", "--all", "--yes")
    assert found == (0, "a  removed\n", "used stays: used by web, cr_4hq2wn8t.\n")
    transport.answers["GET", routes.VOLUMES] = {"volumes": [used]}
    found = cli("volume", "rm", "--all", "--json")
    assert (found.code, found.json) == (0, {"removed": [], "errors": []})
    assert "used stays" in found.err


@pytest.mark.parametrize(("answer", "removed"), [("y\n", "a  removed\n"), ("n\n", ""), ("", "")])
def test_rm_when_all_and_asked_then_the_answer_decides(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch, answer: str, removed: str
) -> None:
    transport.answers["GET", routes.VOLUMES] = {"volumes": [volume("a")]}
    transport.answers["DELETE", routes.volume("a")] = {"removed": "a"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    monkeypatch.setattr("cloudrouter.cli.output.is_terminal", lambda _stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    found = cli("volume", "rm", "--all")
    assert (found.code, found.out) == (0 if removed else 1, removed)
    assert "Remove 1 volume with all that is in them: a?" in found.err


# status and delete


def test_status_when_there_are_volumes_then_shows_where(cli: Cli, transport: FakeTransport) -> None:
    mounts = [MOUNT, {"volume": "models", "path": "/models", "read_only": True}]
    transport.answers["GET", routes.machine("web")] = {**MACHINE, "mounts": mounts}
    out = cli("status", "web").out
    assert "data at /data\n" in out
    assert "models at /models, only read\n" in out


def test_delete_when_machines_have_volumes_then_says_once_that_they_stay(cli: Cli, transport: FakeTransport) -> None:
    for ref in ("web", "api"):
        transport.answers["DELETE", routes.machine(ref)] = {**MACHINE, "state": "gone", "mounts": [MOUNT]}
    found = cli("delete", "web", "api")
    assert found.err == "The volume stays: data. Remove with: cloudrouter volume rm data\n"
    assert "data" not in found.out


def test_delete_when_there_are_no_volumes_then_says_nothing(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["DELETE", routes.machine("web")] = {**MACHINE, "state": "gone"}
    assert cli("delete", "web").err == ""
