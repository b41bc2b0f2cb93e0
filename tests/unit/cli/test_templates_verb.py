"""templates, and start and run with -T: a template is flags that were not given."""

from __future__ import annotations

import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.cli.progress import ForeignLines
from cloudrouter.cli.verbs.templates import IMAGES
from cloudrouter.client import launch

from .conftest import MACHINE, Cli, FakeTransport

WEB = """
[web]
description = "a project"
image = "node:24"
cpu = 2
memory = "1g"
disk = 10240
gpu = "T4:2"
provider = "docker"
timeout = "8h"
env = { MODE = "test", TOKEN = "$TOKEN" }
labels = { agent = "me", team = "x" }
volumes = ["data:/data", "npm:~/.npm"]
package_cache = false
commands = ["npm ci", "npm run build"]
background = ["npm run dev"]
"""


@pytest.fixture
def own(places: Path) -> Path:
    folder = places / "home" / ".config" / "cloudrouter"
    folder.mkdir(parents=True)
    return folder / "templates.toml"


@pytest.fixture
def project(places: Path) -> Path:
    folder = places / "work" / ".cloudrouter"
    folder.mkdir()
    return folder / "templates.toml"


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> Iterator[list[dict[str, Any]]]:
    """What each launch was asked for."""
    assert transport
    calls: list[dict[str, Any]] = []

    def fake(_transport: Any, folder: str | None, request: dict[str, Any], **more: Any) -> dict[str, Any]:
        calls.append({"folder": folder, "request": request, **more})
        return {**MACHINE, "upload": None, "commands": [{"command": "npm ci"}], "jobs": []}

    monkeypatch.setattr(launch, "launch", fake)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield calls
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.flag("start --template")
def test_start_when_a_template_is_named_then_asks_for_what_it_says(
    cli: Cli, own: Path, launched: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "own value")
    own.write_text(WEB)
    found = cli("start", "-T", "web")
    assert found.code == 0, found.err
    assert found.err.endswith("  1 command\n")
    request = launched[0]["request"]
    assert request == {
        "image": "node:24", "cpu": 2.0, "memory_bytes": 2**30, "disk_bytes": 10 * 2**30, "gpu": "T4:2",
        "provider": "docker", "timeout_seconds": 8 * 3600.0, "env": {"MODE": "test", "TOKEN": "own value"},
        "labels": {"template": "web", "agent": "me", "team": "x"}, "package_cache": False,
        "mounts": [
            {"volume": "data", "path": "/data", "read_only": False},
            {"volume": "npm", "path": "/home/user/.npm", "read_only": False},
        ],
    }  # fmt: skip
    assert launched[0]["commands"] == ["npm ci", "npm run build"]
    assert launched[0]["background"] == ["npm run dev"]


def test_start_when_flags_are_given_too_then_they_are_stronger(
    cli: Cli, own: Path, launched: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, places: Path
) -> None:
    monkeypatch.setenv("TOKEN", "own value")
    monkeypatch.setenv("CLOUDROUTER_TIMEOUT", "5m")
    own.write_text(WEB)
    (places / "work" / "vars").write_text("MODE=file\nMORE=1\n")
    cli(
        "start", "-T", "web", "--image", "core", "--cpu", "1", "--memory", "2g", "--timeout", "1h", "--env", "MORE=2",
        "--env-file", "vars", "--label", "agent=you", "--volume", "mine:/data:ro", "--name", "lab",
    )  # fmt: skip
    request = launched[0]["request"]
    assert (request["image"], request["cpu"], request["memory_bytes"]) == ("core", 1.0, 2 * 2**30)
    assert (request["timeout_seconds"], request["name"]) == (3600.0, "lab")
    assert request["env"] == {"MODE": "file", "TOKEN": "own value", "MORE": "2"}
    assert request["labels"]["agent"] == "you"
    assert {mount["volume"]: mount["path"] for mount in request["mounts"]} == {
        "mine": "/data",
        "npm": "/home/user/.npm",
    }


def test_template_when_it_has_apps_then_flags_are_stronger(cli: Cli, own: Path, launched: list[dict[str, Any]]) -> None:
    own.write_text('[web]\napps = ["vscode", "jupyter"]\nwithout = ["browser"]\napp = ["db=postgres:16"]\n')
    cli("start", "-T", "web")
    cli("start", "-T", "web", "--without", "jupyter")
    cli("start", "-T", "web", "--apps", "browser", "--app", "cache=redis:7")
    found = [one["apps"] for one in launched]
    assert [(one.apps, one.without) for one in found] == [
        (["vscode", "jupyter"], ["browser"]),
        (["vscode"], ["browser", "jupyter"]),
        (["browser"], []),
    ]
    assert [[one["name"] for one in each.sidecars] for each in found] == [["db"], ["db"], ["db", "cache"]]


def test_template_when_settings_say_something_else_then_is_stronger(
    cli: Cli, own: Path, launched: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDROUTER_TIMEOUT", "5m")
    monkeypatch.setenv("CLOUDROUTER_SIZE", "large")
    own.write_text('[web]\ntimeout = "1h"\nsize = "small"\n')
    cli("start", "-T", "web")
    assert launched[0]["request"]["timeout_seconds"] == 3600.0
    assert launched[0]["request"]["size"] == "small"


@pytest.mark.flag("run --template")
def test_run_when_a_template_is_named_then_its_timeout_is_the_machines(
    cli: Cli, own: Path, launched: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, transport: FakeTransport
) -> None:
    from cloudrouter.client import commands

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(commands, "run", lambda _stream, request, **_more: asked.append(request) or {"code": 0})
    transport.answers["DELETE", "/v1/machines/cr_7k2m9xqd"] = MACHINE
    own.write_text('[web]\ntimeout = "1h"\ncommands = ["npm ci"]\n')
    assert cli("run", "-T", "web", "true").code == 0
    assert launched[0]["request"] == {"timeout_seconds": 3600.0, "labels": {"template": "web"}}
    assert launched[0]["commands"] == ["npm ci"]
    assert "timeout_s" not in asked[0]


def test_project_template_when_used_then_says_what_it_takes_and_hides(
    cli: Cli, own: Path, project: Path, launched: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "own value")
    own.write_text("[web]\n")
    project.write_text('[web]\nenv = { A = "$TOKEN" }\n')
    found = cli("start", "-T", "web", ".")
    assert found.err.splitlines()[:2] == [
        "cloudrouter: the template web is the project's (.cloudrouter/templates.toml), not the user one.",
        "cloudrouter: .cloudrouter/templates.toml gives the machine your own TOKEN.",
    ]
    assert "own value" not in found.err + found.out
    assert launched[0]["request"]["env"] == {"A": "own value"}


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        ("[web]\nsiez = 'small'\n", "[web] siez: there is no such key", 2),
        ("[web]\nenv = { A = '$NOT_SET_HERE' }\n", "takes NOT_SET_HERE from your environment", 2),
        ("[other]\n", "There is no template 'web'.", 4),
    ],
)
def test_start_when_the_template_cannot_be_used_then_nothing_is_made(
    cli: Cli, own: Path, launched: list[dict[str, Any]], text: str, words: str, code: int
) -> None:
    own.write_text(text)
    found = cli("start", "-T", "web")
    assert (found.code, launched) == (code, [])
    assert words in found.err
    assert "\nNext: cloudrouter templates " in found.err


@pytest.mark.parametrize("verb", ["start", "run"])
@pytest.mark.flag("start --env-file")
@pytest.mark.flag("run --env-file")
def test_env_file_when_given_then_its_variables_are_sent(
    cli: Cli, launched: list[dict[str, Any]], places: Path, verb: str
) -> None:
    (places / "work" / "vars").write_text('A="1 2"\nB=3\n')
    cli(verb, "--env-file", "vars", "--env", "B=4", *(["true"] if verb == "run" else []))
    assert launched[0]["request"]["env"] == {"A": "1 2", "B": "4"}


@pytest.mark.flag("start --keep-on-failure")
def test_keep_on_failure_when_given_then_the_launch_keeps_the_machine(cli: Cli, launched: list[dict[str, Any]]) -> None:
    cli("start", "--keep-on-failure")
    cli("start")
    assert [call["keep_on_failure"] for call in launched] == [True, False]


def test_run_when_kept_then_is_kept_after_a_failed_start_too(cli: Cli, launched: list[dict[str, Any]]) -> None:
    cli("run", "--keep", "true")
    assert launched[0]["keep_on_failure"] is True


# -- the verb -------------------------------------------------------------------------------------------------------


@pytest.mark.flag("templates ls --json")
def test_templates_when_listed_then_shows_those_that_count(cli: Cli, own: Path) -> None:
    own.write_text(WEB)
    found = cli("templates")
    assert found.out.splitlines()[0].split() == ["NAME", "FROM", "IMAGE", "SIZE", "DESCRIPTION"]
    assert [line.split()[:4] for line in found.out.splitlines()[1:]] == [
        ["core", "built-in", "core", "-"],
        ["desktop", "built-in", "desktop", "-"],
        ["full", "built-in", "full", "-"],
        ["web", "user", "node:24", "2"],
    ]
    assert all(image in found.err for image, _ in IMAGES)
    listed = cli("templates", "--json").json
    assert [one["name"] for one in listed["templates"]] == ["core", "desktop", "full", "web"]
    assert listed["templates"][3]["env"] == {"MODE": "test", "TOKEN": "$TOKEN"}
    assert listed["images"][0]["image"] == "core"
    assert cli("template", "ls").out == found.out


@pytest.mark.flag("templates ls --provider")
def test_templates_when_a_provider_is_named_then_only_those_it_can_make(cli: Cli, own: Path) -> None:
    own.write_text('[a]\nprovider = "qemu"\n[b]\n')
    names = [one["name"] for one in cli("templates", "ls", "-p", "docker", "--json").json["templates"]]
    assert names == ["b", "core", "desktop", "full"]


@pytest.mark.flag("templates show --json")
def test_show_when_printed_then_is_toml_that_can_be_read_again(cli: Cli, own: Path) -> None:
    own.write_text(WEB)
    text = cli("templates", "show", "web").out
    assert text.startswith(f"# {own}\n[web]\n")
    assert tomllib.loads(text) == tomllib.loads(WEB)
    assert cli("templates", "show", "web", "--json").json["commands"] == ["npm ci", "npm run build"]
    assert cli("templates", "show", "wbe").code == 4


def test_show_when_a_value_is_hostile_then_is_escaped(cli: Cli, own: Path) -> None:
    own.write_text('[web]\ncommands = ["echo \\u001b[2J\\u202e"]\n')
    out = cli("templates", "show", "web").out
    assert out.isascii()
    assert "\x1b" not in out
    assert tomllib.loads(out)["web"]["commands"] == ["echo \x1b[2J\u202e"]


@pytest.mark.flag("templates path --json")
def test_path_when_asked_then_names_the_files_that_are_read(cli: Cli, own: Path, project: Path) -> None:
    assert cli("templates", "path").out == f"{own}\n"
    project.write_text("")
    assert cli("templates", "path").out == f"{own}\n{project}\n"
    assert cli("templates", "path", "--json").json == {"user": str(own), "project": str(project)}


@pytest.mark.flag("templates example --json")
def test_example_when_saved_then_can_be_used(cli: Cli, own: Path) -> None:
    own.write_text(cli("templates", "example").out)
    assert cli("templates", "check").out == (
        f"{own}: web, plain: well\n    [web] takes NPM_TOKEN from your environment, where it is not set.\n"
    )
    assert tomllib.loads(cli("templates", "example", "--json").json["example"])


@pytest.mark.flag("templates check --json")
def test_check_when_a_file_is_broken_then_says_so_and_still_reads_the_other(cli: Cli, own: Path, project: Path) -> None:
    own.write_text("[web]\ncpu = 'x'\n")
    project.write_text("[good]\nbuild = 'docker'\n")
    found = cli("templates", "check")
    assert found.code == 2
    assert f"{own}, line 2: [web] cpu: 'x' is not a number of cpus." in found.out
    assert f"{project}: good: well" in found.out
    assert "where no Dockerfile is" in found.out
    files = cli("templates", "check", "--json").json["files"]
    assert [(file["source"], file["error"] is None) for file in files] == [("user", False), ("project", True)]


def test_check_when_a_build_leads_out_of_the_project_then_is_that_files_error(
    cli: Cli, own: Path, project: Path
) -> None:
    own.write_text("[mine]\nenv = { A = '$NOT_SET_HERE' }\n")
    project.write_text("[out]\nbuild = '../..'\n[after]\nenv = { A = '$NOT_SET_HERE' }\n")
    found = cli("templates", "check")
    assert found.code == 2
    assert f"{own}: mine: well" in found.out
    assert "[out] build: it leads out of the project" in found.out
    assert "[after] takes NOT_SET_HERE" in found.out
    done = cli("templates", "check", "--json")
    assert done.code == 2
    assert [(file["source"], file["error"] is None) for file in done.json["files"]] == [
        ("user", True),
        ("project", False),
    ]


def test_check_when_there_is_no_file_then_says_how_to_begin(cli: Cli) -> None:
    found = cli("templates", "check")
    assert (found.code, found.out) == (0, "")
    assert "cloudrouter templates example" in found.err


def test_output_of_a_command_when_shown_then_is_lines_that_harm_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    lines = ForeignLines()
    lines.take(b"one\ntw")
    lines.take(b"o\x1b[2J\n10%\r50%\r100%\r\n\xff\n")
    assert capfd.readouterr().err == "  one\n  two\\x1b[2J\n  100%\n  \ufffd\n"
    lines.take(b"x" * (ForeignLines.LIMIT + 1))
    assert capfd.readouterr().err == f"  {'x' * (ForeignLines.LIMIT + 1)}\n"
    lines.take(b"rest")
    lines.finish()
    lines.finish()
    assert capfd.readouterr().err == "  rest\n"
