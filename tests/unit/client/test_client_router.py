"""Finding and starting the router: one of many at once, safe places only, versions, and failures with reasons."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudrouter import __version__
from cloudrouter.client import router, starting
from cloudrouter.client.transport import NotListening
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotConfigured, TimedOut, Unreachable, Unsupported

PROGRAM = Path(__file__).with_name("router_program.py")
TIMEOUT_S = 30


class Place:
    """Folders of one test and the routers that were started in them."""

    def __init__(self, root: str) -> None:
        self.runtime = f"{root}/run"
        self.state = f"{root}/state"
        self.socket = f"{self.runtime}/router.sock"
        os.mkdir(self.state, 0o700)

    def starts(self) -> list[int]:
        try:
            return [int(line) for line in Path(f"{self.state}/starts").read_text().split()]
        except FileNotFoundError:
            return []

    def end_all(self) -> None:
        for pid in self.starts():
            try:
                process = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                signal.pidfd_send_signal(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
            assert starting._readable(process, TIMEOUT_S)
            os.close(process)


@pytest.fixture
def place(short_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Private folders, and a Python that runs the fake router's program whatever it is asked for."""
    found = Place(short_dir)
    python = Path(f"{short_dir}/python")
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {PROGRAM} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("CLOUDROUTER_RUNTIME_DIR", found.runtime)
    monkeypatch.setenv("CLOUDROUTER_STATE_DIR", found.state)
    monkeypatch.setenv("FAKE_VERSION", __version__)
    monkeypatch.delenv("CLOUDROUTER_URL", raising=False)
    yield found
    found.end_all()


def test_connect_when_none_runs_starts_one_and_the_next_finds_it(place: Place) -> None:
    with router.connect() as first, router.connect() as second:
        pids = {way.call("GET", routes.SERVER)["pid"] for way in (first, second)}
    assert pids == set(place.starts())
    assert oct(os.stat(place.runtime).st_mode & 0o777) == "0o700"
    assert oct(os.stat(f"{place.state}/logs/router.out").st_mode & 0o777) == "0o600"


def test_started_router_has_its_own_session_and_nothing_of_ours(place: Place) -> None:
    ours = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(ours, True)
    try:
        with router.connect() as way:
            facts = way.call("GET", routes.SERVER)
    finally:
        os.close(ours)
    assert facts["sid"] == facts["pid"] != os.getsid(0)
    assert facts["cwd"] == "/"
    assert str(ours) not in facts["fds"]


def test_connect_without_start_says_that_none_runs(place: Place) -> None:
    with pytest.raises(NotListening) as caught:
        router.connect(start=False)
    assert caught.value.next == "cloudrouter server start"
    assert not place.starts()
    assert not os.path.exists(place.runtime)


def test_twenty_at_once_start_exactly_one(place: Place, short_dir: str) -> None:
    script = (
        f"import sys; sys.executable = {sys.executable!r}\n"
        "from cloudrouter.client import router\n"
        "print(router.connect().call('GET', '/v1/server')['pid'])"
    )
    real = Path(sys.executable).read_text().split()[2]
    calls = [subprocess.Popen([real, "-c", script], stdout=subprocess.PIPE) for _ in range(20)]
    answers = [int(call.communicate(timeout=60)[0]) for call in calls]
    assert len(answers) == 20
    assert set(answers) == set(place.starts())
    assert len(place.starts()) == 1


def test_socket_left_by_a_killed_router_is_replaced(place: Place) -> None:
    with router.connect() as way:
        pid = way.call("GET", routes.SERVER)["pid"]
    place.end_all()
    assert os.path.exists(place.socket)
    with router.connect() as way:
        assert way.call("GET", routes.SERVER)["pid"] != pid


def test_revive_starts_the_router_again_behind_the_same_transport(place: Place) -> None:
    with router.connect() as way:
        pid = way.call("GET", routes.SERVER)["pid"]
        place.end_all()
        router.revive(way)
        assert way.call("GET", routes.SERVER)["pid"] != pid


def test_error_that_the_router_tells_is_raised_as_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MODE", "told error")
    with pytest.raises(NotConfigured) as caught:
        router.connect()
    assert (caught.value.message, caught.value.next) == ("No engine.", "make engine")


def test_router_that_dies_gives_the_end_of_its_log(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MODE", "silent death")
    Path(f"{place.state}/logs").mkdir(0o700)
    Path(f"{place.state}/logs/router.out").write_text("an older failure\n")
    with pytest.raises(Unreachable) as caught:
        router.connect()
    assert "ImportError: no module ?[31mx" in caught.value.message
    assert "older" not in caught.value.message
    assert f"{place.state}/logs/router.out" in caught.value.fix


def test_router_that_never_serves_is_ended_at_the_deadline(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MODE", "hangs")
    monkeypatch.setattr(starting, "READY_DEADLINE_S", 1.0)
    with pytest.raises(Unreachable, match="did not serve within 1 s: still migrating"):
        router.connect()
    process = starting._watch(place.starts()[0])
    if process is not None:
        assert starting._readable(process, TIMEOUT_S)
        os.close(process)


def test_full_log_is_put_aside(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_LOG_LIMIT", 10)
    log = Path(f"{place.state}/logs/router.out")
    log.parent.mkdir(0o700)
    log.write_text("x" * 11)
    router.connect().close()
    assert Path(f"{log}.1").read_text() == "x" * 11
    assert log.read_text() == ""


# -- places that are not safe -----------------------------------------------------------------------------------


def test_folder_open_for_others_is_refused(place: Place) -> None:
    os.mkdir(place.runtime)
    os.chmod(place.runtime, 0o755)
    with pytest.raises(NotConfigured, match="other users may enter") as caught:
        router.connect()
    assert f"chmod 700 {place.runtime}" in caught.value.fix
    assert not place.starts()


def test_folder_that_is_a_link_is_refused(place: Place, short_dir: str) -> None:
    os.mkdir(f"{short_dir}/elsewhere", 0o700)
    os.symlink(f"{short_dir}/elsewhere", place.runtime)
    with pytest.raises(NotConfigured, match="symbolic link"):
        router.connect()
    assert not place.starts()


def test_folder_of_another_user_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkdir(place.runtime, 0o700)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(NotConfigured, match="belongs to user"):
        router.connect()
    assert not place.starts()


@pytest.mark.parametrize("kind", ["a file", "a folder", "a symbolic link"])
def test_path_that_is_no_socket_is_refused_and_left_alone(place: Place, kind: str) -> None:
    os.mkdir(place.runtime, 0o700)
    if kind == "a file":
        Path(place.socket).write_text("precious")
    elif kind == "a folder":
        os.mkdir(place.socket)
    else:
        os.symlink("/dev/null", place.socket)
    with pytest.raises(NotConfigured, match=kind) as caught:
        router.connect()
    assert caught.value.to_text().count("\n") == 2
    assert os.path.lexists(place.socket)
    assert not place.starts()


def test_runtime_folder_that_cannot_be_made_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDROUTER_RUNTIME_DIR", "/proc/nothing/here")
    with pytest.raises(NotConfigured, match="/proc/nothing/here"):
        router.connect()


def test_state_folder_that_cannot_be_written_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDROUTER_STATE_DIR", "/proc/nothing")
    with pytest.raises(NotConfigured, match=r"router\.out"):
        router.connect()


def test_remote_router_is_refused_and_not_ignored(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDROUTER_URL", "https://example.org")
    with pytest.raises(Unsupported, match="CLOUDROUTER_URL"):
        router.connect()
    assert not place.starts()


# -- versions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours", "replaced"),
    [
        ("0.1.0", "0.1.0", False),
        ("0.1.0", "0.2.0", True),
        ("0.9.0", "0.10.0", True),
        ("0.10.0", "0.9.0", False),
        ("0.1.0", "0.1.0.dev3", True),
        ("", "0.1.0", True),
        ("1.0", "0.9.9", False),
    ],
)
def test_only_a_router_that_is_not_newer_is_replaced(theirs: str, ours: str, replaced: bool) -> None:
    assert router.replaces(theirs, ours) is replaced


def test_older_router_is_replaced_and_its_process_gone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VERSION", "0.0.9")
    with router.connect() as way:
        old = way.call("GET", routes.SERVER)["pid"]
        assert way.server_version == "0.0.9"
        monkeypatch.setenv("FAKE_VERSION", __version__)
        assert router.ensure_version(way) is way
        assert way.server_version == __version__
        assert way.call("GET", routes.SERVER)["pid"] == place.starts()[1]
    assert not Path(f"/proc/{old}/cwd").exists()
    assert len(place.starts()) == 2


def test_router_of_our_version_stays(place: Place) -> None:
    with router.connect() as way:
        router.ensure_version(way)
        router.ensure_version(way)
    assert len(place.starts()) == 1


def test_router_that_somebody_else_has_replaced_meanwhile_stays(place: Place) -> None:
    with router.connect() as way:
        way.server_version = "0.0.1"
        router.ensure_version(way)
    assert len(place.starts()) == 1


def test_older_router_that_does_not_stop_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "STOP_DEADLINE_S", 0.1)
    with router.connect() as way:
        pid = place.starts()[0]
        monkeypatch.setattr(routes, "SERVER_STOP", "/v1/ignored")
        way.server_version = "0.0.1"
        monkeypatch.setattr(starting, "__version__", "0.2.0")
        with pytest.raises(TimedOut, match=str(pid)) as caught:
            router.ensure_version(way)
    assert caught.value.next == f"kill {pid}"


def test_stale_socket_is_never_removed_by_the_client(place: Place) -> None:
    """A router between bind and listen refuses connections too; its socket is not ours to take away."""
    os.mkdir(place.runtime, 0o700)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(place.socket)
        with pytest.raises(NotListening):
            router.connect(start=False)
        assert os.path.exists(place.socket)
