"""What a person does at a machine: open what is in it, forward ports, sit at its terminals, picture its desktop."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cloudrouter.client import pictures
from tests.e2e.conftest import User, until

pytestmark = pytest.mark.engine

BROWSER = ("Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none")
BUILD_S = 900


def serve(user: User, machine: str, port: int) -> str:
    """A web server in the machine, on its 127.0.0.1; its job."""
    folder = f"mkdir -p site{port}; cd site{port}; echo from {port} >page"
    line = f"{folder}; exec python3 -m http.server {port} --bind 127.0.0.1"
    job = user.ok("ssh", machine, "--bg", line).out_text.strip()
    user.ok("wait", machine, job, "--port", str(port))
    return job


def fetch(url: str, jar: Path) -> str:
    """A page as a browser gets it, by way of the ticket and the cookie."""
    place = urlsplit(url)
    words = ["curl", "-sSL", "-c", str(jar), "-b", str(jar), "--resolve", f"{place.hostname}:{place.port}:127.0.0.1"]
    headers = [word for header in BROWSER for word in ("-H", header)]
    return subprocess.run([*words, *headers, url], check=True, capture_output=True, text=True, timeout=60).stdout


def read_url(url: str) -> str:
    done = subprocess.run(["curl", "-sS", "-m", "20", url], check=False, capture_output=True, text=True, timeout=60)
    return done.stdout


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# -- doors and ports ------------------------------------------------------------------------------------------------


def test_open_when_one_server_runs_then_its_page_is_seen_once_by_the_ticket(
    resident: User, home: str, tmp_path: Path
) -> None:
    job = serve(resident, home, 8801)
    (port,) = resident.json("ports", home)["ports"]
    assert (port["port"], port["process"], port["app"]) == (8801, "python3", None)
    url = resident.ok("open", home).out_text.strip()
    deep = resident.ok("open", home, "http://localhost:8801/page").out_text.strip()
    assert fetch(deep, tmp_path / "jar") == "from 8801\n"
    assert fetch(deep, tmp_path / "other") != "from 8801\n"  # the ticket is used up
    assert url.startswith(port["url"])
    assert resident.json("open", home, "--revoke")["closed"] >= 2  # one session, one ticket that nobody used
    assert fetch(port["url"] + "page", tmp_path / "jar") != "from 8801\n"
    resident.ok("kill", home, job)


@contextmanager
def forwarding(user: User, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """`forward ... --json` while the block lasts, and a function that reads its next event."""
    with user.popen("forward", *words, "--json") as process:
        out = process.stdout
        assert out is not None

        def event() -> Any:
            return json.loads(out.readline())

        try:
            yield process, event
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130


def test_forward_when_the_router_is_killed_then_goes_on(user: User, machine: str) -> None:
    serve(user, machine, 8802)
    port = free_port()
    with forwarding(user, machine, f"8802:{port}") as (_, event):
        assert event() == {
            "event": "forward", "target": "8802", "local_port": port, "url": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        assert read_url(f"http://127.0.0.1:{port}/page") == "from 8802\n"
        os.kill(user.json("server", "status")["pid"], signal.SIGKILL)
        assert read_url(f"http://127.0.0.1:{port}/page") == "from 8802\n"


def test_forward_when_all_are_wanted_then_a_later_server_is_reached_too(resident: User, home: str) -> None:
    jobs = [serve(resident, home, 8803)]
    with forwarding(resident, home, "--all") as (_, event):
        first = event()
        assert (first["event"], first["target"]) == ("forward", "8803")
        jobs.append(serve(resident, home, 8804))
        second = event()
        assert second["target"] == "8804"
        assert [read_url(one["url"] + "/page") for one in (first, second)] == ["from 8803\n", "from 8804\n"]
    for job in jobs:
        resident.ok("kill", home, job)


def test_forward_when_the_machine_is_deleted_then_ends_with_the_reason(resident: User) -> None:
    machine = resident.start("--image", "core")
    with resident.popen("forward", machine, str(free_port())) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        resident.ok("delete", machine)
        try:
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 4
    assert f"{machine} is gone" in err.decode()


# -- terminals ------------------------------------------------------------------------------------------------------


class Desk:
    """Somebody at a terminal who runs `pty`."""

    def __init__(self, user: User, *words: str, size: tuple[int, int] = (100, 40)) -> None:
        self.fd, theirs = pty.openpty()
        self.resize(*size)
        self.process = user.popen("pty", *words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.screen = b""

    def resize(self, columns: int, rows: int) -> None:
        """The window gets another size."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.fd, text.encode())

    def see(self, text: str, seconds: float = 30) -> bytes:
        """Wait until the screen has got this; returns what came up to it."""
        deadline = time.monotonic() + seconds
        while text.encode() not in self.screen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come: {self.screen!r}"
            if select.select([self.fd], [], [], left)[0]:
                self.screen += self._read()
        before, _, self.screen = self.screen.partition(text.encode())
        return before

    def end(self) -> int:
        """The exit status, once it has ended."""
        while piece := self._read():
            self.screen += piece
        os.close(self.fd)
        return self.process.wait(20)

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 65536)
        except OSError:  # what Linux says when nobody holds the other end any more
            return b""

    def leave(self) -> None:
        """End it whatever it is doing; for the end of a test that failed."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)


@pytest.fixture
def sit() -> Iterator[Callable[..., Desk]]:
    """Makes desks; those that a failing test leaves are ended."""
    made: list[Desk] = []

    def make(user: User, *words: str, size: tuple[int, int] = (100, 40)) -> Desk:
        made.append(Desk(user, *words, size=size))
        return made[-1]

    yield make
    for desk in made:
        desk.leave()


def terminals(user: User, machine: str) -> dict[str, dict[str, Any]]:
    return {one["name"] or one["id"]: one for one in user.json("pty-list", machine)["ptys"]}


def test_pty_when_left_and_joined_then_the_program_has_gone_on(
    resident: User, home: str, sit: Callable[..., Desk]
) -> None:
    desk = sit(resident, "--name", "left", home, "bash", "--norc")
    desk.see("leaves it running")
    desk.type("stty -echo; word=k$((6*7))pt\n")
    desk.type("echo got:$word\n")
    desk.see("got:k42pt")
    desk.type("\x10\x11")
    assert desk.end() == 0
    assert b"it goes on" in desk.screen
    assert terminals(resident, home)["left"]["clients"] == 0

    desk = sit(resident, "--session", "left", home)
    desk.see("got:k42pt")  # what stood there is shown again
    desk.type("echo again:$word; exit 7\n")
    desk.see("again:k42pt")
    assert desk.end() == 7


def test_pty_when_its_window_is_closed_then_the_program_goes_on(
    resident: User, home: str, sit: Callable[..., Desk]
) -> None:
    desk = sit(resident, "--name", "closed", home, "bash", "--norc")
    desk.type("echo up:$((40+2))\n")
    desk.see("up:42")
    os.close(desk.fd)  # SIGHUP and the end of input
    desk.process.wait(20)
    until(lambda: terminals(resident, home)["closed"]["clients"] == 0, "leaving")
    assert resident.json("pty", "--kill", "closed", home)["pty"]["name"] == "closed"
    until(lambda: "closed" not in terminals(resident, home), "ending")


def test_pty_when_two_are_at_it_then_both_see_and_type_and_the_smaller_window_counts(
    resident: User, home: str, sit: Callable[..., Desk]
) -> None:
    first = sit(resident, "--name", "shared", home, "bash", "--norc", size=(120, 40))
    first.type("stty -echo; echo up:$((40+2))\n")
    first.see("up:42")
    second = sit(resident, "--session", "shared", home, size=(90, 50))
    until(lambda: terminals(resident, home)["shared"]["clients"] == 2, "joining")
    second.type("stty size\n")
    first.see("40 90")
    second.see("40 90")
    first.type("echo ü-$((1+1))\n")
    second.see("ü-2")
    second.resize(80, 30)
    os.kill(second.process.pid, signal.SIGWINCH)
    until(lambda: (one := terminals(resident, home)["shared"])["cols"] == 80 and one["rows"] == 30, "resizing")
    third = sit(resident, "--session", "shared", "--read-only", home)
    third.see("ü-2")
    third.type("exit 9\n")
    first.type("echo still:$((2+2)); exit 5\n")
    for desk in (first, second, third):
        desk.see("still:4")
        assert desk.end() == 5


def test_pty_when_the_router_is_killed_then_is_joined_again(user: User, machine: str, sit: Callable[..., Desk]) -> None:
    desk = sit(user, machine, "bash", "--norc")
    desk.type("stty -echo; word=kept; echo up:$((40+2))\n")
    desk.see("up:42")
    os.kill(user.json("server", "status")["pid"], signal.SIGKILL)
    desk.see("the connection broke")
    desk.see("up:42")  # shown again by the machine
    desk.type("echo after:$word; exit 6\n")
    desk.see("after:kept")
    assert desk.end() == 6


# -- apps -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desktop(resident: User) -> str:
    """A machine with a desktop."""
    return str(resident.json("start", "--apps", "desktop", timeout=BUILD_S)["id"])


def test_apps_when_started_and_stopped_then_the_list_says_so(resident: User, desktop: str) -> None:
    assert resident.json("status", desktop)["apps"] == ["desktop"]
    state = resident.json("apps", desktop, "start", "desktop")
    assert (state["state"], state["reason"]) == ("running", "")
    (app,) = resident.json("apps", desktop)["apps"]
    assert app["memory_bytes"] > 10 * 1024**2
    assert app["url"] == resident.json("status", desktop)["urls"]["desktop"]
    assert resident.json("apps", desktop, "stop", "desktop")["state"] == "off"
    assert resident.run("apps", desktop, "start", "vscode").code == 4
    assert "cloudrouter start --apps vscode" in resident.run("code", desktop).err_text


def test_screenshot_when_taken_then_is_the_whole_desktop(resident: User, desktop: str, tmp_path: Path) -> None:
    done = resident.json("screenshot", desktop, str(tmp_path / "out.png"))
    assert (done["width"], done["height"]) == (1280, 800)
    assert pictures.check_png((tmp_path / "out.png").read_bytes()) == (1280, 800)
    assert done["bytes"] > 100_000, "a black screen takes 14 KiB; the session had not drawn it yet"
    assert resident.run("screenshot", desktop, str(tmp_path / "out.png")).code == 1
    assert pictures.check_png(resident.ok("screenshot", desktop, "-").out) == (1280, 800)


def test_record_when_stopped_then_the_film_is_here_and_not_there(resident: User, desktop: str, tmp_path: Path) -> None:
    path = resident.json("record", desktop, "start")["path"]
    assert resident.run("record", desktop, "start").code == 1
    until(lambda: (resident.json("record", desktop, "status")["bytes"] or 0) > 0, "filming")
    resident.ok("ssh", desktop, "xsetroot -solid red; sleep 1.5")
    film = tmp_path / "out.mp4"
    assert resident.json("record", desktop, "stop", str(film))["bytes"] == film.stat().st_size > 1000
    assert film.read_bytes()[4:8] == b"ftyp"
    resident.ok("upload", desktop, str(film), "film.mp4")
    probe = resident.ok(
        "ssh", desktop, "ffprobe -v error -show_entries stream=codec_name,width,height -of csv film.mp4"
    )
    assert probe.out_text.strip() == "stream,h264,1280,800"
    assert resident.run("ssh", desktop, f"test -e {path}").code == 1
    assert resident.json("record", desktop, "status")["recording"] is False


FEATURE = '{"id": "notes", "version": "1.0.0", "name": "Notes"}'
INSTALL = "#!/bin/sh\nset -e\nmkdir -p /srv/notes\necho made by $(id -un) >/srv/notes/index.html\n"
APP = """\
name = "notes"
title = "Notes"
view = "http"
command = ["python3", "-m", "http.server", "8765", "--bind", "127.0.0.1", "--directory", "/srv/notes"]
port = 8765
idle_stop_s = 600
"""


def test_own_app_when_its_folder_is_named_then_is_built_started_and_seen(resident: User, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, text in (("devcontainer-feature.json", FEATURE), ("install.sh", INSTALL), ("app.toml", APP)):
        (folder / name).write_text(text)
    machine = resident.json("start", "--app", str(folder), timeout=BUILD_S)
    assert machine["apps"] == ["notes"]
    url = resident.ok("open", machine["id"], "notes").out_text.strip()
    assert fetch(url, tmp_path / "jar") == "made by root\n"
    with forwarding(resident, machine["id"], "notes") as (_, event):
        assert read_url(event()["url"]) == "made by root\n"
    resident.ok("delete", machine["id"])
