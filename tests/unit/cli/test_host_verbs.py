"""doctor, image, server, completion, upload, download: the verbs about this host and about files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cloudrouter import __version__
from cloudrouter.cli import routerlog
from cloudrouter.cli.routerlog import RouterLog
from cloudrouter.client import relaying, transfer
from cloudrouter.wire.errors import Conflict, NotConfigured, TransferFailed, Unreachable

from .conftest import Cli, FakeTransport

FACTS: dict[str, Any] = {
    "pid": 0, "version": __version__, "socket": "/run/x/router.sock", "gateway_url": None, "router_id": "abc",
    "state_dir": "/state", "started_at": "2026-07-31T12:00:00.000Z", "machines": 2, "providers": ["docker"],
}  # fmt: skip


# -- doctor ---------------------------------------------------------------------------------------------------------


def test_doctor_when_a_check_fails_then_shows_the_remedy_and_status_1(cli: Cli, transport: FakeTransport) -> None:
    checks = [
        {"name": "folders", "ok": True, "message": "private", "fix": ""},
        {"name": "image core", "ok": False, "message": "is not built", "fix": "cloudrouter image build"},
    ]
    transport.answers["GET", "/v1/server"] = FACTS
    transport.answers["GET", "/v1/doctor"] = {"checks": checks}
    found = cli("doctor")
    assert found.code == 1
    assert found.out.splitlines() == [
        "ok  configuration  0 defaults set; no file is there",
        f"ok  router         version {__version__}, pid 0, 2 machines",
        "ok  folders        private",
        "✗   image core     is not built",
        "    Fix:  cloudrouter image build",
    ]
    assert "1 of 4 checks failed." in found.err
    assert cli("doctor", "--json").json["checks"][-1] == checks[-1]


def test_doctor_when_all_is_well_then_status_0(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/server"] = FACTS
    transport.answers["GET", "/v1/doctor"] = {"checks": []}
    found = cli("doctor")
    assert (found.code, found.err) == (0, "\nAll is well.\n")


def test_doctor_when_the_router_cannot_start_then_that_is_a_check(
    cli: Cli, transport: FakeTransport, places: Path
) -> None:
    (places / "work" / ".cloudrouter.toml").write_text("size = 7\n")
    transport.answers["GET", "/v1/server"] = NotConfigured("No engine answers.", fix="Install one.")
    found = cli("doctor")
    assert found.code == 1
    assert "✗   router         No engine answers.\n    Fix:  Install one.\n" in found.out
    assert "line 1: there is no size '7'" in found.out


# -- image ----------------------------------------------------------------------------------------------------------


def test_image_build_when_it_works_then_says_steps_once_and_prints_the_image(
    cli: Cli, transport: FakeTransport
) -> None:
    image = {"name": "core", "reference": "cloudrouter/core:123"}
    transport.answers["POST", "/v1/images/build"] = [
        {"progress": {"step": "core 1/2: base", "at": 1, "of": 2, "detail": "a"}},
        {"progress": {"step": "core 1/2: base", "at": 1, "of": 2, "detail": "b"}},
        {"progress": {"step": "core 2/2: tools\x1b", "at": 2, "of": 2, "detail": ""}},
        {"image": image},
    ]
    found = cli("image", "build")
    assert found.code == 0
    assert found.err.splitlines() == ["core 1/2: base", "core 2/2: tools\\x1b"]
    assert found.out.startswith("core  cloudrouter/core:123  ready in 0.")
    assert transport.asked == [("POST", "/v1/images/build", {"name": "core", "rebuild": False})]
    assert cli("image", "build", "base", "--rebuild", "-p", "docker", "--json").json == image
    assert transport.asked[-1][2] == {"name": "base", "rebuild": True, "provider": "docker"}


def test_image_build_when_on_a_terminal_then_shows_it_live(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrouter.cli.output.is_terminal", lambda _stream: True)
    monkeypatch.setenv("TERM", "xterm")
    transport.answers["POST", "/v1/images/build"] = [
        {"progress": {"step": "[red]1/2", "at": 1, "of": 2, "detail": "[bold]line"}},
        {"image": {"name": "core", "reference": "r"}},
    ]
    found = cli("image", "build")
    assert found.code == 0
    assert found.out.startswith("core  r  ready in")


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{"error": NotConfigured("No base image.", fix="Install mmdebstrap.").to_json()}], "No base image."),
        ([{"progress": {"step": "a"}}], "The router went away in the middle of the build."),
    ],
)
def test_image_build_when_it_fails_then_status_1(
    cli: Cli, transport: FakeTransport, messages: list[Any], message: str
) -> None:
    transport.answers["POST", "/v1/images/build"] = messages
    found = cli("image", "build")
    assert (found.code, found.out) == (1, "")
    assert f"cloudrouter: {message}\n" in found.err


def test_image_ls_when_there_are_images_then_prints_a_table(cli: Cli, transport: FakeTransport) -> None:
    images = [
        {"name": "core", "kind": "image", "base": "", "reference": "cloudrouter/core:1", "size_bytes": 3 * 1024**3,
         "created_at": None, "current": True, "in_use": False},
    ]  # fmt: skip
    transport.answers["GET", "/v1/images"] = {"images": images}
    assert cli("image", "ls").out.splitlines() == [
        "NAME  KIND   REFERENCE           SIZE   AGE  CURRENT  IN USE",
        "core  image  cloudrouter/core:1  3 GiB  -    yes      no",
    ]
    assert cli("image", "ls", "--json").json == {"images": images}
    transport.answers["GET", "/v1/images?provider=a%26b"] = {"images": []}
    assert "cloudrouter image build" in cli("image", "ls", "-p", "a&b").err


def test_image_rm_when_a_provider_is_named_then_it_is_asked(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["DELETE", "/v1/images/old?provider=memory"] = {"removed": "old"}
    assert cli("image", "rm", "--provider", "memory", "old").code == 0


def test_image_rm_when_one_is_in_use_then_the_others_go(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["DELETE", "/v1/images/core"] = Conflict("The image core is used by cr_x.")
    transport.answers["DELETE", "/v1/images/old"] = {"removed": "old"}
    found = cli("image", "rm", "core", "old")
    assert (found.code, found.out) == (1, "old  removed\n")
    both = cli("image", "rm", "core", "old", "--json").json
    assert both["removed"] == ["old"]
    assert both["errors"][0]["ref"] == "core"


# -- server ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_router")
def test_server_status_when_none_runs_then_status_6_and_none_is_started(cli: Cli) -> None:
    found = cli("server", "status")
    assert (found.code, found.out) == (6, "")
    assert found.err.splitlines()[0] == "cloudrouter: The router is not running."


@pytest.mark.usefixtures("no_router")
def test_server_stop_when_none_runs_then_is_success(cli: Cli) -> None:
    assert cli("server", "stop") == (0, "No router was running.\n", "")
    assert cli("server", "stop", "--json").json == {"stopped": False, "pid": None}


def test_server_status_and_start_when_it_runs_then_show_its_facts(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/server"] = FACTS
    assert "  socket     /run/x/router.sock\n" in cli("server", "status").out
    assert cli("server", "status", "--json").json == FACTS
    assert cli("server", "start").out == f"The router runs already: pid 0, version {__version__}, /run/x/router.sock\n"
    assert cli("server", "start", "--json").json == FACTS


def test_server_stop_when_it_runs_then_waits_until_its_process_is_gone(cli: Cli, transport: FakeTransport) -> None:
    reading, writing = os.pipe()
    router = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=reading)
    os.close(reading)
    transport.answers["GET", "/v1/server"] = {**FACTS, "pid": router.pid}

    class Stopping(dict[Any, Any]):
        def __getitem__(self, key: tuple[str, str]) -> Any:
            if key == ("POST", "/v1/server/stop"):
                threading.Timer(0.2, os.close, (writing,)).start()
                return {"stopping": True}
            return super().__getitem__(key)

    transport.answers = Stopping(transport.answers)
    found = cli("server", "stop")
    assert router.poll() == 0
    assert found.out == f"The router (pid {router.pid}) has stopped; machines and their commands go on.\n"
    assert transport.closed


def test_server_stop_when_it_does_not_end_then_says_so(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrouter.cli.stopping.STOP_DEADLINE_S", 0.05)
    transport.answers["GET", "/v1/server"] = {**FACTS, "pid": os.getpid()}
    transport.answers["POST", "/v1/server/stop"] = {"stopping": True}
    found = cli("server", "stop")
    assert found.code == 124
    assert f"Next: kill -9 {os.getpid()}" in found.err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (b"ok\n", {"pid": os.getpid(), "version": __version__}),
        (b'error {"code": "conflict", "message": "taken"}\n', {"error": {"code": "conflict", "message": "taken"}}),
    ],
)
def test_server_run_when_json_is_wanted_then_tells_when_it_serves(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, word: bytes, told: dict[str, Any]
) -> None:
    seen: dict[str, Any] = {}

    def main(*, detached: bool, ready_fd: int | None, given: dict[str, str]) -> int:
        seen["detached"] = detached
        assert ready_fd is not None
        os.write(ready_fd, word)
        os.close(ready_fd)
        return 0

    monkeypatch.setattr("cloudrouter.server.run.main", main)
    reading, writing = os.pipe()
    found = cli("server", "run", "--detached", "--json", "--ready-fd", str(writing))
    assert seen["detached"] is True
    assert told.items() <= found.json.items()
    with open(reading, "rb") as pipe:
        assert pipe.read() == word


def test_server_run_when_called_then_passes_its_flags_and_status(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cloudrouter.server.run.main",
        lambda **flags: 3 if flags == {"detached": True, "ready_fd": 9, "given": {}} else 0,
    )
    assert cli("server", "run", "--detached", "--ready-fd", "9").code == 3


def log_file(places: Path) -> Path:
    path = places / "state" / "logs" / "router.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_server_logs_when_read_then_are_lines_for_people(cli: Cli, places: Path) -> None:
    entries = [
        {"event": "router serves", "pid": 7, "level": "info", "timestamp": "2026-07-31T12:00:00.123Z"},
        {"event": "broke\x1b", "level": "error", "timestamp": "2026-07-31T12:00:01Z", "exception": "Traceback\n  x"},
    ]
    log_file(places).write_text("".join(json.dumps(one) + "\n" for one in entries) + "plain\n")
    assert cli("server", "logs").out.splitlines() == [
        "2026-07-31T12:00:00  info     router serves  pid=7",
        "2026-07-31T12:00:01  error    broke\\x1b",
        "    Traceback",
        "      x",
        "plain",
    ]
    assert cli("server", "logs", "--tail", "1").out == "plain\n"
    assert cli("server", "logs", "--tail", "0").out == ""
    assert json.loads(cli("server", "logs", "--json").out.splitlines()[0]) == entries[0]


def test_server_logs_when_the_file_is_long_then_only_its_end_is_read(cli: Cli, places: Path) -> None:
    log_file(places).write_text("".join(f"line {number} {'x' * 90}\n" for number in range(20_000)))
    assert cli("server", "logs", "--tail", "2").out.split("\n")[0].startswith("line 19998 ")


def test_server_logs_when_there_are_none_then_says_what_to_do(cli: Cli) -> None:
    found = cli("server", "logs")
    assert found.code == 4
    assert "Next: cloudrouter server start" in found.err


def test_server_logs_when_follow_is_wanted_then_goes_on_after_the_end(
    cli: Cli, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = []
    monkeypatch.setattr(RouterLog, "follow", lambda self: followed.append(self))
    log_file(places).write_text("one\n")
    assert cli("server", "logs", "--follow").out == "one\n"
    assert len(followed) == 1


def test_server_logs_when_followed_then_goes_on_across_a_rotation(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log_file(places)
    path.write_text("one\n")

    def add(text: str) -> None:
        with path.open("a") as file:
            file.write(text)

    steps = iter(
        [
            lambda: add("two\nthr"),
            lambda: (add("ee\n"), path.rename(f"{path}.1"), path.write_text("four\n")),
            lambda: add("five\n"),
        ]
    )

    def wait(*_args: object) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(routerlog.select, "select", wait)
    with RouterLog(str(path), as_json=False) as log:
        log.print_tail(10)
        with pytest.raises(KeyboardInterrupt):
            log.follow()
    assert capsys.readouterr().out.splitlines() == ["one", "two", "three", "four", "five"]


# -- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> list[tuple[str, ...]]:
    seen: list[tuple[str, ...]] = []

    def upload(given: Any, machine: str, local: str, remote: str, *, progress: Any) -> dict[str, Any]:
        assert given is transport
        progress({"phase": "uploading", "files": 1, "bytes": 5, "rate": 5, "done": True})
        seen.append(("upload", machine, local, remote))
        return {"path": remote, "kind": "tree", "files": 1, "bytes": 5, "changed": ["a"], "skipped": ["b\x1b"]}

    def download(given: Any, machine: str, remote: str, local: str, *, with_git: bool, progress: Any) -> dict[str, Any]:
        assert given is transport
        progress({"phase": "downloading", "files": 1, "bytes": 5, "rate": 5, "done": True})
        seen.append(("download", machine, remote, local))
        return {"git_left_out": not with_git, "path": local, "kind": "tree", "files": 1200, "bytes": 2048}

    monkeypatch.setattr(transfer, "upload", upload)
    monkeypatch.setattr(transfer, "download", download)
    monkeypatch.setattr(relaying, "kind_of", lambda _transport, _machine, path: "tree" if path == "dist" else None)
    return seen


@pytest.mark.parametrize(
    ("words", "local", "remote"),
    [
        ([], ".", "."),
        (["src"], "src", "."),
        (["src", "dst"], "src", "dst"),
        (["-r", "dst"], ".", "dst"),
        (["src", "--remote", "dst"], "src", "dst"),
    ],
)
def test_upload_when_called_then_sends_local_to_remote(
    cli: Cli, transfers: list[tuple[str, ...]], words: list[str], local: str, remote: str
) -> None:
    found = cli("upload", "x", *words)
    assert transfers == [("upload", "x", local, remote)]
    where = "the workspace" if remote == "." else remote
    assert found.out == f"1 file (5 B) up to {where} in x\n"
    assert found.err == "changed while being sent: a\nnot sent, no file or folder: b\\x1b\n"
    assert cli("upload", "x", *words, "--json").json["path"] == remote


def test_download_when_a_repository_is_left_there_then_says_so_unless_asked(cli: Cli, transfers: list[Any]) -> None:
    assert "--with-git" in cli("download", "x").err
    assert "--with-git" not in cli("download", "x", "--with-git").err
    assert len(transfers) == 2


@pytest.mark.parametrize(
    ("words", "remote", "local"),
    [
        ([], ".", "."),
        (["out"], ".", "out"),
        (["dist", "out"], "dist", "out"),
        (["-r", "dist"], "dist", "."),
        (["out", "-r", "dist"], "dist", "out"),
    ],
)
def test_download_when_called_then_fetches_remote_to_local(
    cli: Cli, transfers: list[tuple[str, ...]], words: list[str], remote: str, local: str
) -> None:
    found = cli("download", "x", *words)
    assert transfers == [("download", "x", remote, local)]
    assert found.out == f"1,200 files (2 KiB) down from x to {local}\n"
    assert cli("download", "x", *words, "--json").json["files"] == 1200


@pytest.mark.parametrize(
    "words",
    [["upload", "x", "a", "b", "-r", "c"], ["download", "x", "a", "b", "-r", "c"], ["download", "x", "a", "b", "c"]],
)
def test_transfer_when_places_are_given_twice_then_status_2(
    cli: Cli, transfers: list[tuple[str, ...]], words: list[str]
) -> None:
    assert cli(*words).code == 2
    assert transfers == []


def test_transfer_when_it_fails_half_way_then_status_1_and_what_arrived(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transport

    def fail(*_args: object, **_more: object) -> None:
        raise TransferFailed("Not everything could be written. 3 files arrived in out.")

    monkeypatch.setattr(transfer, "download", fail)
    found = cli("download", "x")
    assert (found.code, found.out) == (1, "")
    assert "3 files arrived in out." in found.err


def test_version_as_json_when_the_router_hangs_then_is_null(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/server"] = Unreachable("It hangs.")
    assert cli("version", "--json").json["router_version"] is None
    transport.answers["GET", "/v1/server"] = FACTS
    assert cli("version", "--json").json["router_version"] == __version__


def test_download_when_the_only_word_is_in_the_machine_and_not_here_then_says_how_to_write_it(
    cli: Cli, transfers: list[tuple[str, ...]], places: Path
) -> None:
    found = cli("download", "x", "dist")
    assert (found.code, found.out, transfers) == (2, "", [])
    assert found.err.splitlines()[1:] == [
        "Fix:  To fetch it, name both places. For the whole workspace: cloudrouter download x . dist",
        "Next: cloudrouter download x dist .",
    ]
    (places / "work" / "dist").mkdir()
    assert cli("download", "x", "dist").code == 0  # it is here, so it is the place
    assert cli("download", "x", "dist", "-r", "src").code == 0
    assert transfers == [("download", "x", ".", "dist"), ("download", "x", "src", "dist")]


@pytest.mark.parametrize(
    "words",
    [
        ["upload", "x", ""], ["upload", "x", "a", ""], ["upload", "x", "-r", ""], ["upload", "x", "a", "b", "-r", "c"],
        ["download", "x", ""], ["download", "x", "-r", ""], ["download", "x", "a", "b", "c"], ["cp", "x:a", ""],
        ["download", "x", "a", "b", "-r", "c"],
    ],
)  # fmt: skip
def test_bad_places_when_given_then_nothing_is_sent_and_a_way_out_is_named(
    cli: Cli, transfers: list[tuple[str, ...]], words: list[str]
) -> None:
    found = cli(*words)
    assert (found.code, found.out, transfers) == (2, "", [])
    assert [line.split(":")[0] for line in found.err.splitlines()] == ["cloudrouter", "Fix", "Next"]


def test_server_logs_when_read_by_people_then_say_nothing_twice() -> None:
    line = {
        "timestamp": "2026-11-24T07:53:32.1Z", "level": "info", "event": "machine.ready", "machine": "cr_7k2m9xqd",
        "message": "cr_7k2m9xqd answers", "ready_ms": 310, "router": {"pid": 5},
    }  # fmt: skip
    assert routerlog.readable(json.dumps(line)) == ["2026-11-24T07:53:32  info     cr_7k2m9xqd answers  ready_ms=310"]


@pytest.mark.flag("server run --domain")
@pytest.mark.flag("server run --tls-cert")
@pytest.mark.flag("server run --tls-key")
@pytest.mark.flag("server run --gateway-address")
def test_server_run_when_a_teams_gateway_is_wanted_then_the_router_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr("cloudrouter.server.run.main", lambda **flags: told.append(flags["given"]) or 0)
    flags = ("--domain", "x.example", "--tls-cert", "c.pem", "--tls-key", "k.pem", "--gateway-address", "0.0.0.0")
    assert cli("server", "run", *flags).code == 0
    assert told == [
        {
            "CLOUDROUTER_DOMAIN": "x.example",
            "CLOUDROUTER_TLS_CERT": "c.pem",
            "CLOUDROUTER_TLS_KEY": "k.pem",
            "CLOUDROUTER_GATEWAY_ADDRESS": "0.0.0.0",
        }
    ]
