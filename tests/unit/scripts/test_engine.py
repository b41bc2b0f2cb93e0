"""The engine script: what it finds, what it asks, what it refuses, and that it stops only what is its own."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import engine_host  # noqa: E402
import engine_search  # noqa: E402

import engine  # noqa: E402


class Answer(http.server.BaseHTTPRequestHandler):
    """An engine that speaks; `bodies` by path, everything else is missing."""

    bodies: ClassVar[dict[str, bytes]] = {"/_ping": b"OK", "/version": b'{"Version": "99.1"}'}

    def do_GET(self) -> None:
        body = self.bodies.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        return

    def address_string(self) -> str:
        return "unix"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[str]:
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "live.sock"), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"unix://{tmp_path}/live.sock"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("CLOUDROUTER_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Debian host with neither engine nor systemd nor tools."""
    monkeypatch.setattr(engine_search, "candidates", lambda env: [])
    monkeypatch.setattr(engine_host, "find_program", lambda name: None)
    monkeypatch.setattr(engine, "registry_answers", lambda: False)
    monkeypatch.setattr(engine, "is_debian", lambda: True)
    monkeypatch.setattr(engine.host, "run", lambda command: pytest.fail(f"ran {command}"))


def state_of(tmp_path: Path) -> dict[str, object]:
    found = json.loads((tmp_path / "state" / "engine" / "engine.json").read_text())
    assert isinstance(found, dict)
    return found


def test_up_when_an_engine_answers_then_prints_its_address(
    live: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", live)
    monkeypatch.setattr(engine, "registry_answers", lambda: True)
    assert engine.main(["up"]) == 0
    out = capsys.readouterr()
    assert out.out == f"DOCKER_HOST={live}\n"
    assert engine.main(["up", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "socket": live,
        "started_by_us": False,
        "started_now": False,
        "installed": [],
    }


def test_status_shows_the_version_and_whether_it_runs(
    live: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", live)
    assert engine.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "socket": live,
        "running": True,
        "version": "99.1",
        "started_by_us": False,
    }


@pytest.mark.usefixtures("no_engine")
def test_status_without_engine_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert engine.main(["status"]) == 1
    assert "No container engine" in capsys.readouterr().out


def test_docker_host_that_does_not_answer_is_an_error_not_a_reason_to_look_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/gone.sock")
    assert engine.main(["up", "--yes"]) == 1
    assert "gone.sock" in capsys.readouterr().err


def test_something_that_listens_but_is_no_engine_does_not_count(live: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answer, "bodies", {"/_ping": b"hello"})
    assert not engine_search.answers(live)


def test_docker_context_is_tried_before_the_usual_sockets(tmp_path: Path, live: str) -> None:
    digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    meta = tmp_path / "docker" / "contexts" / "meta" / digest
    meta.mkdir(parents=True)
    (tmp_path / "docker" / "config.json").write_text('{"currentContext": "foo"}')
    (meta / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": live}}}))
    assert engine_search.find_engine(os.environ) == live


@pytest.mark.usefixtures("no_engine")
def test_up_without_terminal_and_without_yes_refuses_and_tells_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert engine.main(["up"]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert "docker.io, mmdebstrap" in out.err
    assert "scripts/engine.py up --yes" in out.err


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("answer", ["n\n", "what\n"])
def test_up_at_a_terminal_takes_no_for_an_answer(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return answer

    monkeypatch.setattr("sys.stdin", Terminal())
    assert engine.main(["up"]) == 2


@pytest.mark.usefixtures("no_engine")
def test_up_elsewhere_than_debian_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "is_debian", lambda: False)
    assert engine.main(["up", "--yes"]) == 1
    assert "Podman" in capsys.readouterr().err


@pytest.mark.usefixtures("no_engine")
def test_up_in_ci_installs_what_is_missing_and_starts_by_hand(
    tmp_path: Path, live: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []
    daemon = start_daemon(tmp_path)
    try:
        monkeypatch.setenv("CI", "true")
        monkeypatch.setattr(engine_host, "run", ran.append)
        monkeypatch.setattr(engine, "has_systemd", lambda: False)
        monkeypatch.setattr(engine, "answers_by_itself", lambda plan: False)

        def start(env: object) -> None:
            monkeypatch.setattr(engine_search, "candidates", lambda env: [live])
            monkeypatch.setattr(engine_host, "dockerd_pid", lambda: daemon.pid)

        monkeypatch.setattr(engine_host, "start_by_hand", start)
        assert engine.main(["up", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["socket"], found["started_by_us"], found["started_now"]) == (live, True, True)
        assert [command[-2:] for command in ran if "install" in command] == [["mmdebstrap", "debian-archive-keyring"]]
        assert "docker.io" in ran[-1]
        assert state_of(tmp_path)["pid"] == daemon.pid
        assert engine.main(["up", "--json"]) == 0
        again = json.loads(capsys.readouterr().out)
        assert (again["started_by_us"], again["started_now"]) == (True, False)
    finally:
        daemon.kill()
        daemon.wait()


def start_daemon(tmp_path: Path) -> subprocess.Popen[bytes]:
    """A harmless process by the name of dockerd."""
    shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / "dockerd")
    process = subprocess.Popen([str(tmp_path / "dockerd"), "1000"])
    assert engine_host.poll(lambda: bool(engine_host.process_start(process.pid)), 10)
    return process


def test_down_stops_the_process_it_started_and_forgets_it(tmp_path: Path) -> None:
    daemon = start_daemon(tmp_path)
    started = engine_host.process_start(daemon.pid)
    engine_host.write_state(os.environ, engine_host.State(pid=daemon.pid, pid_started=started))
    assert engine.main(["down"]) == 0
    assert daemon.wait(timeout=10) == -15
    assert state_of(tmp_path)["pid"] == 0
    assert engine.main(["down"]) == 0


@pytest.mark.parametrize("known", ["", "1"])
def test_down_leaves_a_process_alone_that_it_did_not_start(tmp_path: Path, known: str) -> None:
    daemon = start_daemon(tmp_path)
    try:
        engine_host.write_state(os.environ, engine_host.State(pid=daemon.pid, pid_started=known))
        assert engine.main(["down"]) == 0
        assert daemon.poll() is None
    finally:
        daemon.kill()
        daemon.wait()


def test_mmdebstrap_is_wanted_only_without_registry_and_without_base(
    live: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_host, "find_program", lambda name: None)
    monkeypatch.setattr(engine, "is_debian", lambda: True)
    monkeypatch.setattr(engine, "registry_answers", lambda: False)
    assert "mmdebstrap" in engine.make_plan(live).packages
    monkeypatch.setattr(engine, "registry_answers", lambda: True)
    assert engine.make_plan(live).words == ()
    monkeypatch.setattr(engine, "registry_answers", lambda: False)
    monkeypatch.setattr(Answer, "bodies", {"/images/cloudrouter/base:bookworm/json": b'{"Id": "1"}'})
    assert engine.make_plan(live).words == ()


def test_daemon_that_gives_up_fails_at_once_with_the_end_of_its_log(tmp_path: Path) -> None:
    lives = iter([False, True, True, False])
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}\n" for n in range(100)) + "the real reason\n")
    with pytest.raises(engine.Failed, match="ended by itself") as caught:
        engine_host.wait_for(lambda: False, 60, lambda: engine_host.end_of(str(log)), _alive(lives))
    assert "the real reason" in str(caught.value)
    assert "line 3\n" not in str(caught.value)


def _alive(lives: Iterator[bool]) -> engine_host.Callable[[], bool]:
    seen = [False]

    def alive() -> bool:
        now = next(lives)
        seen[0] = seen[0] or now
        return now or not seen[0]

    return alive
