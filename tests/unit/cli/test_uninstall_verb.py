"""`uninstall`: shows and asks, refuses while there are machines, removes what is asked for and nothing else."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.cli import ownfolders, stopping
from cloudrouter.cli.verbs import uninstall as verb
from cloudrouter.client import sshinclude
from cloudrouter.wire.errors import Unreachable

from .conftest import Cli, FakeTransport

NETWORK = {"provider": "docker", "kind": "network", "name": "cloudrouter-ab", "size_bytes": None, "shared": False}
IMAGE = {"provider": "docker", "kind": "image", "name": "cloudrouter/core:1", "size_bytes": 2**20, "shared": True}
VOLUME = {"provider": "docker", "kind": "volume", "name": "cloudrouter-ab-data", "size_bytes": 7, "shared": False}
GET, POST = ("GET", "/v1/uninstall"), ("POST", "/v1/uninstall")


@pytest.fixture
def host(transport: FakeTransport, places: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTransport:
    """A host with a router, its state, a configuration, and a foreign file beside our own."""
    stopped: list[bool] = []
    monkeypatch.setattr(stopping, "stop_router", lambda _transport: stopped.append(True))
    transport.stopped = stopped  # type: ignore[attr-defined]
    transport.answers[GET] = {"machines": [], "leftovers": [NETWORK, VOLUME, IMAGE], "errors": []}
    transport.answers[POST] = {"removed": [NETWORK], "kept": [], "errors": []}
    for path in ("state/router.db", "state/logs/router.log", "home/.config/cloudrouter/config.toml", "run/start.lock"):
        (places / path).parent.mkdir(parents=True, exist_ok=True)
        (places / path).write_text("x" * 100)
    return transport


def exists(places: Path) -> list[str]:
    names = ("state/router.db", "home/.config/cloudrouter", "run")
    return [name for name in names if (places / name).exists()]


@pytest.mark.flag("uninstall --yes")
@pytest.mark.flag("uninstall --json")
def test_uninstall_when_nothing_more_is_said_then_network_and_router_go_and_the_rest_stays(
    cli: Cli, host: FakeTransport, places: Path
) -> None:
    found = cli("uninstall", "--yes", "--json")
    assert found.code == 0
    assert host.asked[-1] == (*POST, {"images": False, "volumes": False})
    assert found.json["removed"] == [NETWORK]
    assert [one["kind"] for one in found.json["kept"]] == ["volume", "image", "folder", "folder"]
    assert "cloudrouter" in found.json["package"]
    assert host.stopped == [True]  # type: ignore[attr-defined]
    assert exists(places) == ["state/router.db", "home/.config/cloudrouter"]
    assert host.versions_checked == 1


@pytest.mark.parametrize(
    ("words", "images", "volumes", "left"),
    [
        pytest.param(["--images"], True, False, 2, marks=pytest.mark.flag("uninstall --images")),
        pytest.param(["--volumes"], False, True, 2, marks=pytest.mark.flag("uninstall --volumes")),
        pytest.param(["--state"], False, False, 0, marks=pytest.mark.flag("uninstall --state")),
        pytest.param(["--all"], False, True, 0, marks=pytest.mark.flag("uninstall --all")),
        pytest.param(["--all", "--images"], True, True, 0),
    ],
)
def test_uninstall_when_more_is_said_then_that_goes_too(
    cli: Cli, host: FakeTransport, places: Path, words: list[str], images: bool, volumes: bool, left: int
) -> None:
    assert cli("uninstall", "-y", *words).code == 0
    assert host.asked[-1][2] == {"images": images, "volumes": volumes}
    assert len(exists(places)) == left


@pytest.mark.flag("uninstall --dry-run")
def test_uninstall_when_dry_then_shows_and_changes_nothing(cli: Cli, host: FakeTransport, places: Path) -> None:
    found = cli("uninstall", "--all", "--dry-run", "--json")
    assert [one["kind"] for one in found.json["would_remove"]] == ["network", "volume", "folder", "folder"]
    assert [one["kind"] for one in found.json["kept"]] == ["image"]
    assert found.json["removed"] == []
    assert [method for method, _path, _body in host.asked] == ["GET"]
    assert len(exists(places)) == 3
    shown = cli("uninstall", "--dry-run").err
    assert "This is removed:\n  network           cloudrouter-ab\n" in shown
    assert "cloudrouter/core:1  1 MiB  (also other routers')  --images\n" in shown
    assert f"{places / 'state'}  200 B  --state" in shown


@pytest.mark.flag("uninstall --all")
def test_uninstall_when_no_other_router_has_anything_here_then_all_takes_the_images_too(
    cli: Cli, host: FakeTransport
) -> None:
    host.answers[GET]["leftovers"] = [{**IMAGE, "shared": False}]
    assert cli("uninstall", "-y", "--all").code == 0
    assert host.asked[-1][2] == {"images": True, "volumes": True}


def test_uninstall_when_an_image_is_in_use_then_stays_with_its_reason_and_nothing_failed(
    cli: Cli, host: FakeTransport, places: Path
) -> None:
    host.answers[POST] = {"removed": [], "kept": [{**IMAGE, "reason": "Containers still use it."}], "errors": []}
    found = cli("uninstall", "-y", "--all", "--images")
    assert found.code == 0
    assert (
        "kept  image             cloudrouter/core:1  1 MiB  (also other routers')  Containers still use it.\n"
        in found.err
    )
    assert exists(places) == []


@pytest.mark.flag("uninstall --machines")
def test_uninstall_when_there_are_machines_then_refuses_unless_they_are_to_go_too(
    cli: Cli, host: FakeTransport, places: Path
) -> None:
    host.answers[GET]["machines"] = [{"id": "cr_aaaaaaaa", "name": "web", "state": "running"}]
    found = cli("uninstall", "--all", "--yes")
    assert found.code == 1
    assert "There is still 1 machine: web." in found.err
    assert [method for method, _path, _body in host.asked] == ["GET"]
    host.answers["DELETE", "/v1/machines/cr_aaaaaaaa"] = {"id": "cr_aaaaaaaa", "name": "web", "state": "gone"}
    found = cli("uninstall", "--machines", "--yes", "--json")
    assert [one["name"] for one in found.json["removed"]] == ["cr_aaaaaaaa", "cloudrouter-ab"]


def test_uninstall_when_a_machine_cannot_be_deleted_then_ends_there(
    cli: Cli, host: FakeTransport, places: Path
) -> None:
    host.answers[GET]["machines"] = [{"id": "cr_aaaaaaaa", "name": "", "state": "running"}]
    host.answers["DELETE", "/v1/machines/cr_aaaaaaaa"] = Unreachable("The engine does not answer.")
    found = cli("uninstall", "--machines", "--all", "--yes", "--json")
    assert found.code == 1
    assert [one["name"] for one in found.json["errors"]] == ["cr_aaaaaaaa"]
    assert POST not in [(method, path) for method, path, _body in host.asked]
    assert host.stopped == []  # type: ignore[attr-defined]
    assert {"state/router.db", "run"} <= set(exists(places))  # the router goes on, and needs its socket


def test_uninstall_when_something_stays_by_a_failure_then_the_book_stays_too(
    cli: Cli, host: FakeTransport, places: Path
) -> None:
    host.answers[POST] = {"removed": [], "kept": [], "errors": [{**NETWORK, "message": "In use.", "fix": "Wait."}]}
    found = cli("uninstall", "--all", "--yes")
    assert found.code == 1
    assert "network cloudrouter-ab: In use." in found.err
    assert "state/router.db" in exists(places)


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("\n", 1)])
def test_uninstall_when_asked_then_only_yes_goes_on(
    cli: Cli, host: FakeTransport, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    monkeypatch.setattr("cloudrouter.cli.output.is_terminal", lambda stream: stream is not sys.stdout)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    found = cli("uninstall")
    assert found.code == code
    assert "This is removed:" in found.err
    assert "Remove all that? [y/N] " in found.err
    assert host.stopped == [True] * (1 - code)  # type: ignore[attr-defined]


def test_uninstall_when_nobody_can_be_asked_then_status_2_and_nothing_happens(cli: Cli, host: FakeTransport) -> None:
    assert cli("uninstall").code == 2
    assert [method for method, _path, _body in host.asked] == ["GET"]


@pytest.mark.usefixtures("no_router")
def test_uninstall_when_there_never_was_a_router_then_there_is_nothing_to_do(cli: Cli) -> None:
    found = cli("uninstall", "--all", "--yes")
    assert (found.code, found.out) == (0, "There is nothing to remove.\n")


def test_uninstall_when_there_are_many_of_a_kind_then_tells_their_number(cli: Cli, host: FakeTransport) -> None:
    images = [{**IMAGE, "name": f"cloudrouter/core:{number}"} for number in range(9)]
    host.answers[GET]["leftovers"] = images
    assert (
        "image             9 of them, 9 MiB at most  (also other routers')  --images\n"
        in cli("uninstall", "--dry-run").err
    )


def test_a_folder_when_there_is_more_in_it_then_only_ours_is_removed(tmp_path: Path) -> None:
    here = tmp_path / "chosen"
    here.mkdir()
    folder = ownfolders.OwnFolder("state", str(here), ownfolders.STATE_ENTRIES)
    (here / "router.db").write_text("x")
    (here / "thesis.tex").write_text("x")
    (here / "outside").mkdir()
    (here / "logs").symlink_to(here / "outside")
    folder.remove()
    assert sorted(path.name for path in here.iterdir()) == ["outside", "thesis.tex"]
    assert folder.foreign() == ["outside", "thesis.tex"]


def test_the_configuration_when_its_place_was_chosen_then_only_that_file_is_ours(tmp_path: Path) -> None:
    for name in ("mine.toml", "config.toml", "templates.toml"):
        (tmp_path / name).write_text("x")
    _state, config, _runtime = ownfolders.own_folders({"CLOUDROUTER_CONFIG": str(tmp_path / "mine.toml")})
    assert config.entries() == [str(tmp_path / "mine.toml")]
    config.remove()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == ["config.toml", "templates.toml"]


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/home/a/.local/share/uv/tools/cloudrouter", "uv tool uninstall cloudrouter"),
        ("/home/a/.local/pipx/venvs/cloudrouter", "pipx uninstall cloudrouter"),
    ],
)
def test_the_package_when_installed_by_a_tool_then_that_tool_removes_it(
    monkeypatch: pytest.MonkeyPatch, prefix: str, command: str
) -> None:
    monkeypatch.setattr(sys, "prefix", prefix)
    told: Any = verb._package_command()
    assert told == command


def test_uninstall_when_the_state_goes_then_the_lines_for_ssh_go_too(
    cli: Cli, host: FakeTransport, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = places / "ssh_config"
    monkeypatch.setattr(sshinclude, "default_file", lambda: str(own))
    own.write_bytes(b"Host a\n")
    own.chmod(0o600)
    sshinclude.install(str(own), f"{places}/state/ssh-client/config")
    item = {"kind": "include", "name": str(own)}
    assert item in cli("uninstall", "--yes", "--json").json["kept"]
    assert sshinclude.is_included(str(own), f"{places}/state/ssh-client/config")
    assert item in cli("uninstall", "--state", "--yes", "--json").json["removed"]
    assert own.read_bytes() == b"Host a\n"


def test_uninstall_when_the_lines_are_another_routers_then_they_stay(
    cli: Cli, host: FakeTransport, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = places / "ssh_config"
    monkeypatch.setattr(sshinclude, "default_file", lambda: str(own))
    sshinclude.install(str(own), "/elsewhere/ssh-client/config")
    before = own.read_bytes()
    found = cli("uninstall", "--state", "--yes", "--json").json
    assert "include" not in {one["kind"] for one in (*found["removed"], *found["kept"])}
    assert own.read_bytes() == before
