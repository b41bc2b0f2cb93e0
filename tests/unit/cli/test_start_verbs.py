"""start and run: the request made of flags and settings, what is printed, what is left after a failure."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.cli import background, launching
from cloudrouter.cli.progress import LiveLine, StartProgress
from cloudrouter.client import commands, launch
from cloudrouter.wire.errors import NotFound, TransferFailed

from .conftest import MACHINE, Cli, FakeTransport
from .fake_commands import FakeCommands

UPLOAD = {
    "files": 214, "dirs": 3, "links": 0, "bytes": 1_258_291, "changed": [], "skipped": [],
    "left_behind": "Left behind: 1 secret (.env); --with-secrets sends secrets.", "notes": [],
}  # fmt: skip


PLAIN: dict[str, Any] = {
    "with_secrets": False, "exclude": [], "build": None, "commands": [], "background": [], "keep_on_failure": False,
    "apps": None,
}  # fmt: skip


class FakeLaunch:
    """Stands where client.launch.launch is."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.failure: BaseException | None = None
        self.upload: dict[str, Any] | None = UPLOAD

    def __call__(self, _transport: Any, folder: str | None, request: dict[str, Any], **more: Any) -> dict[str, Any]:
        progress = more.pop("progress")
        self.calls.append({"folder": folder, "request": request, **more})
        for event in self.events:
            progress(event)
        if self.failure:
            raise self.failure
        return {**MACHINE, "upload": self.upload, "commands": [], "jobs": []}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> Iterator[FakeLaunch]:
    assert transport
    fake = FakeLaunch()
    monkeypatch.setattr(launch, "launch", fake)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield fake
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_start_when_done_then_stdout_is_the_id_alone(cli: Cli, launched: FakeLaunch) -> None:
    found = cli("start", ".")
    assert (found.code, found.out) == (0, "cr_7k2m9xqd\n")
    lines = found.err.splitlines()
    assert lines[0] == UPLOAD["left_behind"]
    assert lines[1].startswith("my-project  ready in 0.")
    assert lines[1].endswith(" s  214 files (1.2 MiB)")
    assert launched.calls[0] == {"folder": ".", "request": {}, **PLAIN}


def test_start_when_json_is_wanted_then_stdout_is_the_machine(cli: Cli, launched: FakeLaunch) -> None:
    launched.upload = None
    assert cli("create", "--json").json == {**MACHINE, "upload": None, "commands": [], "jobs": []}
    assert launched.calls[0]["folder"] is None


def test_start_when_on_a_terminal_then_says_what_comes_next(
    cli: Cli, launched: FakeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launched
    monkeypatch.setattr("cloudrouter.cli.output.is_terminal", lambda _stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    found = cli("start", ".")
    assert found.out.startswith("cr_7k2m9xqd  my-project  ready in 0.")
    assert "  cloudrouter ssh my-project     a shell in it\n" in found.err
    assert "  cloudrouter delete my-project  throw it away\n" in found.err


def test_start_when_flags_are_given_then_they_are_in_the_request(
    cli: Cli, launched: FakeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "own value")
    cli(
        "new", "-n", "lab", "--size", "small", "--cpu", "0.5", "--memory", "512m", "--disk", "10g", "--image", "core",
        "-p", "memory", "--env", "A=1", "--env", "TOKEN", "--label", "k=v=w", "--timeout", "2h", "--with-secrets",
        "-e", "*.log", "--exclude", "tmp", "here",
    )  # fmt: skip
    assert launched.calls == [
        {
            **PLAIN,
            "folder": "here",
            "with_secrets": True,
            "exclude": ["*.log", "tmp"],
            "request": {
                "name": "lab", "size": "small", "cpu": 0.5, "memory_bytes": 512 * 1024**2,
                "disk_bytes": 10 * 1024**3, "image": "core", "provider": "memory",
                "env": {"A": "1", "TOKEN": "own value"}, "labels": {"k": "v=w"}, "timeout_seconds": 7200.0,
            },
        }
    ]  # fmt: skip


def test_start_when_settings_exist_then_flags_are_stronger(
    cli: Cli, launched: FakeLaunch, monkeypatch: pytest.MonkeyPatch, places: Path
) -> None:
    project = places / "work" / "project"
    project.mkdir()
    (project / ".cloudrouter.toml").write_text('size = "large"\ntimeout = 600\n')
    monkeypatch.setenv("CLOUDROUTER_SIZE", "medium")
    cli("start", "project", "--size", "small")
    cli("start", "project")
    cli("start")
    assert [call["request"] for call in launched.calls] == [
        {"size": "small", "timeout_seconds": 600.0},
        {"size": "medium", "timeout_seconds": 600.0},
        {"size": "medium"},
    ]


def test_start_when_the_configuration_is_broken_then_nothing_is_made(
    cli: Cli, launched: FakeLaunch, places: Path
) -> None:
    (places / "work" / ".cloudrouter.toml").write_text("image = \n")
    found = cli("start")
    assert found.code == 2
    assert found.err.splitlines()[0].endswith("/.cloudrouter.toml, line 1: invalid value.")
    assert launched.calls == []


def test_start_when_it_fails_then_tells_it_and_prints_no_id(cli: Cli, launched: FakeLaunch) -> None:
    launched.failure = TransferFailed("3 of 9 files arrived. The machine cr_7k2m9xqd was removed again.", next="x")
    found = cli("start", ".")
    assert (found.code, found.out) == (1, "")
    assert found.err.startswith("cloudrouter: 3 of 9 files arrived.")


@pytest.mark.parametrize("fate", ["removed", None])
def test_start_when_interrupted_then_nothing_is_left_and_130(cli: Cli, launched: FakeLaunch, fate: str | None) -> None:
    if fate:
        launched.events = [{"phase": fate, "id": "cr_7k2m9xqd"}]
    launched.failure = KeyboardInterrupt()
    assert cli("start", ".") == (130, "", "cloudrouter: interrupted; no machine is left.\n")


def test_start_when_interrupted_and_not_removed_then_the_id_is_printed(cli: Cli, launched: FakeLaunch) -> None:
    launched.events = [{"phase": "kept", "id": "cr_7k2m9xqd", "reason": "as asked"}]
    launched.failure = KeyboardInterrupt()
    found = cli("start", ".")
    assert (found.code, found.out) == (130, "cr_7k2m9xqd\n")
    assert "Next: cloudrouter delete cr_7k2m9xqd" in found.err


def test_start_when_terminated_then_unwinds_as_after_ctrl_c(cli: Cli, launched: FakeLaunch) -> None:
    def terminate(_event: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    launched.failure = None
    launched.events = [{"phase": "creating"}]
    original = StartProgress.__call__
    try:
        StartProgress.__call__ = lambda _self, event: terminate(event)  # type: ignore[method-assign]
        assert cli("start", ".").code == 143
    finally:
        StartProgress.__call__ = original  # type: ignore[method-assign]


def test_upload_notes_when_something_is_odd_then_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    launching.tell_upload({**UPLOAD, "left_behind": "", "notes": ["a\x1b"], "changed": list("abcd"), "skipped": ["s"]})
    assert capsys.readouterr().err.splitlines() == [
        "a\\x1b",
        "4 changed while being sent: a, b, c, ...",
        "1 not sent, no file or folder: s",
    ]


def test_progress_when_there_is_no_terminal_then_says_each_long_step_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = StartProgress()
    for event in (
        {"phase": "creating"},
        {"phase": "created", "id": "cr_x"},
        {"phase": "booting", "event": {"kind": "machine.starting"}},
        {"phase": "booting", "progress": {"step": "booting"}},
        {"phase": "booting", "progress": {"step": "core 1/9: packages", "at": 1, "of": 9, "detail": "a"}},
        {"phase": "booting", "progress": {"step": "core 1/9: packages", "at": 1, "of": 9, "detail": "b"}},
        {"phase": "uploading", "files": 1, "bytes": 1, "rate": 1},
        {"phase": "ready", "id": "cr_x"},
    ):
        progress(event)
    assert capsys.readouterr().err.splitlines() == ["cr_x boots", "core 1/9: packages"]
    assert (progress.machine_id, progress.fate) == ("cr_x", "ready")


def test_live_line_when_redrawn_often_then_is_throttled_cut_and_cleared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrouter.cli.output.is_terminal", lambda _stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    now = [0.0]
    line = LiveLine(clock=lambda: now[0])
    line.show("a" * 50)
    now[0] = 0.05
    line.show("b", at_once=False)
    now[0] = 0.2
    line.show("c\x1b", at_once=False)
    line.clear()
    line.clear()
    assert capsys.readouterr().err == f"\r\x1b[K{'a' * 18}…\r\x1b[Kc\\x1b\r\x1b[K"


class FakeRun:
    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.failure: BaseException | None = None
        self.stdin_fd: int | None = -1

    def __call__(self, _stream: Any, request: dict[str, Any], *, on_stdout: Any, **more: Any) -> dict[str, Any]:
        self.requests.append(request)
        self.stdin_fd = more["stdin_fd"]
        if self.failure:
            raise self.failure
        on_stdout(memoryview(b"tested\n"))
        return {"code": 5, "duration_ms": 1}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, launched: FakeLaunch, transport: FakeTransport) -> FakeRun:
    assert launched
    fake = FakeRun()
    monkeypatch.setattr(commands, "run", fake)
    transport.answers["DELETE", "/v1/machines/cr_7k2m9xqd"] = {**MACHINE, "state": "gone"}
    return fake


DELETED = ("DELETE", "/v1/machines/cr_7k2m9xqd", None)


def test_run_when_the_command_ends_then_its_status_is_ours_and_the_machine_is_gone(
    cli: Cli, ran: FakeRun, launched: FakeLaunch, transport: FakeTransport
) -> None:
    found = cli("run", ".", "pytest", "-q")
    assert (found.code, found.out) == (5, "tested\n")
    assert found.err == f"{UPLOAD['left_behind']}\n"
    assert ran.requests == [{"op": "exec", "line": "pytest -q"}]
    assert launched.calls[0]["folder"] == "."
    assert transport.asked == [DELETED]


def test_run_when_json_and_keep_are_wanted_then_names_the_machine_and_keeps_it(
    cli: Cli, ran: FakeRun, transport: FakeTransport
) -> None:
    assert ran
    found = cli("run", "--keep", "--json", ".", "x")
    assert found.code == 5
    assert found.json["stdout"] == "tested\n"
    assert (found.json["machine"], found.json["kept"]) == ("cr_7k2m9xqd", True)
    assert "cr_7k2m9xqd is kept" in found.err
    assert transport.asked == []


@pytest.mark.parametrize(("failure", "code"), [(KeyboardInterrupt(), 130), (NotFound("gone"), 255)])
def test_run_when_it_breaks_then_the_machine_is_removed_all_the_same(
    cli: Cli, ran: FakeRun, transport: FakeTransport, failure: BaseException, code: int
) -> None:
    ran.failure = failure
    assert cli("run", "x").code == code
    assert transport.asked == [DELETED]


def test_run_when_removing_fails_then_says_so_and_keeps_the_status(
    cli: Cli, ran: FakeRun, transport: FakeTransport
) -> None:
    assert ran
    transport.answers["DELETE", "/v1/machines/cr_7k2m9xqd"] = NotFound("odd")
    found = cli("run", "x")
    assert found.code == 5
    assert "cloudrouter: odd\n" in found.err
    assert "Next: cloudrouter delete cr_7k2m9xqd\n" in found.err


MACHINE_WORDS = [
    (["--name", "web-2"], {"name": "web-2"}),
    (["--size", "small"], {"size": "small"}),
    (["--cpu", "1.5"], {"cpu": 1.5}),
    (["--memory", "512M"], {"memory_bytes": 512 * 1024**2}),
    (["--disk", "1G"], {"disk_bytes": 1024**3}),
    (["--provider", "memory"], {"provider": "memory"}),
]


@pytest.mark.parametrize(("words", "asked"), MACHINE_WORDS, ids=[words[0] for words, _ in MACHINE_WORDS])
def test_run_when_a_machine_is_described_then_that_one_is_asked_for(
    cli: Cli, ran: FakeRun, launched: FakeLaunch, words: list[str], asked: dict[str, Any]
) -> None:
    assert cli("run", *words, ".", "x").code == 5
    assert launched.calls[0]["request"] == asked
    assert ran.requests == [{"op": "exec", "line": "x"}]


def test_run_when_the_folder_is_narrowed_then_launch_is_told(cli: Cli, ran: FakeRun, launched: FakeLaunch) -> None:
    assert ran
    cli("run", "--with-secrets", "--exclude", "*.bin", ".", "x")
    assert launched.calls[0]["with_secrets"] is True
    assert launched.calls[0]["exclude"] == ["*.bin"]


def test_run_when_the_command_is_described_then_the_guest_is_told(cli: Cli, ran: FakeRun) -> None:
    cli("run", "--cwd", "web", "--timeout", "90s", ".", "x")
    assert ran.requests == [{"op": "exec", "line": "x", "cwd": "web", "timeout_s": 90}]


def test_run_when_no_input_is_wanted_then_gives_none(cli: Cli, ran: FakeRun) -> None:
    cli("run", ".", "x")
    assert ran.stdin_fd == 0
    cli("run", "--no-stdin", ".", "x")
    assert ran.stdin_fd is None


def test_run_when_a_terminal_is_wanted_and_there_is_none_then_is_refused(cli: Cli, launched: FakeLaunch) -> None:
    found = cli("run", "--tty", ".", "x")
    assert found.code == 255
    assert "--tty needs a terminal on stdin" in found.err
    assert launched.calls == []


def test_start_when_detached_then_the_launch_goes_on_by_itself(
    cli: Cli, launched: FakeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "begin", lambda _launch: {**MACHINE, "state": "pending", "left_behind": ""})
    assert cli("start", "--detach").out == "cr_7k2m9xqd\n"
    assert launched.calls == []


@pytest.mark.parametrize("words", [["."], [], ["--size", "small"]])
def test_run_when_there_is_no_command_then_nothing_is_made(cli: Cli, launched: FakeLaunch, words: list[str]) -> None:
    found = cli("run", *words)
    assert found.code == 255
    assert found.err.startswith("cloudrouter: `run` needs a command.\n")
    assert launched.calls == []


def test_start_when_only_stderr_is_a_terminal_then_the_line_there_has_the_id_too(
    cli: Cli, launched: FakeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launched
    monkeypatch.setattr("cloudrouter.cli.output.is_terminal", lambda stream: stream is sys.stderr)
    monkeypatch.setenv("NO_COLOR", "1")
    found = cli("start", ".")
    assert found.out == "cr_7k2m9xqd\n"
    last = found.err.splitlines()[-1].split("  ")
    assert (last[0], last[1], last[3]) == ("cr_7k2m9xqd", "my-project", "214 files (1.2 MiB)")


@pytest.mark.parametrize("words", [["run", "", "npm", "test"], ["run", " "]])
def test_run_when_its_first_word_is_empty_then_is_refused(cli: Cli, launched: FakeLaunch, words: list[str]) -> None:
    found = cli(*words)
    assert (found.code, launched.calls) == (255, [])
    assert found.err.startswith("cloudrouter: The first word of `run` is empty")


@pytest.mark.flag("start --apps")
@pytest.mark.flag("start --without")
@pytest.mark.flag("start --app")
@pytest.mark.flag("run --apps")
@pytest.mark.flag("run --without")
@pytest.mark.flag("run --app")
@pytest.mark.parametrize(("verb", "more"), [("start", []), ("run", ["true"])])
def test_apps_when_chosen_then_the_launch_gets_them(
    cli: Cli, launched: FakeLaunch, machine: FakeCommands, transport: FakeTransport, verb: str, more: list[str]
) -> None:
    assert machine
    transport.answers["DELETE", "/v1/machines/cr_7k2m9xqd"] = MACHINE
    cli(verb, "--apps", "vscode, desktop", "--apps", "jupyter", *more)
    cli(verb, "--without", "jupyter,vscode", *more)
    cli(verb, "--app", "db=postgres:16,port=5432", *more)
    apps, without, own = (call["apps"] for call in launched.calls)
    assert (apps.apps, apps.without) == (["vscode", "desktop", "jupyter"], [])
    assert (without.apps, without.without) == ([], ["jupyter", "vscode"])
    assert [one["name"] for one in own.sidecars] == ["db"]
    assert cli(verb, "--app", "none", *more).code in (4, 255)
    assert len(launched.calls) == 3


def test_start_when_the_router_has_notes_then_they_are_told(
    cli: Cli, launched: FakeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launched
    note = "vscode is being built\x1b; see it with:  cloudrouter image ls"
    monkeypatch.setitem(MACHINE, "notes", [note])
    found = cli("start", ".")
    assert found.out == "cr_7k2m9xqd\n"
    assert "vscode is being built\\x1b; see it with:  cloudrouter image ls\n" in found.err


def test_start_when_there_is_a_desktop_then_says_how_to_watch_it(
    cli: Cli, launched: FakeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launched
    monkeypatch.setattr("cloudrouter.cli.output.is_terminal", lambda _stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setitem(MACHINE, "apps", ["desktop"])
    assert "  cloudrouter vnc my-project     watch its desktop\n" in cli("start", ".").err
