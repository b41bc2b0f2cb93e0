"""Apps in real machines: what starts and how fast it is seen, Chromium's sandbox, strangers' apps, forbidden calls."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import User, users

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1800)]

CALLS = """
import ctypes, errno, json, socket
libc = ctypes.CDLL(None, use_errno=True)
numbers = {"kexec_load": 246, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "open_by_handle_at": 304,
           "reboot": 169, "init_module": 175, "swapon": 167, "syslog": 103, "quotactl": 179, "settimeofday": 164,
           "clone3": 435, "keyctl": 250, "add_key": 248, "io_uring_setup": 425, "fsopen": 430, "open_tree": 428}
found = {}
for name, number in numbers.items():
    ctypes.set_errno(0)
    libc.syscall(number, 0, 0, 0, 0, 0)
    found[name] = errno.errorcode.get(ctypes.get_errno(), "0")
for family in (38, 40, 2, 1, 16):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 16 else socket.SOCK_STREAM).close()
        found[f"socket {family}"] = "made"
    except OSError as error:
        found[f"socket {family}"] = errno.errorcode[error.errno]
print(json.dumps(found))
"""
NAMESPACE = "unshare --user --map-root-user --pid --fork --mount-proc sh -c 'hostname inside 2>&1; echo $$; id -u'"
RENDERERS = "for one in /proc/[0-9]*; do grep -qs -e --type=renderer $one/cmdline && grep NSpid $one/status; done; true"
SANDBOX = """
import json, os, socket, base64, struct, urllib.request
ask = urllib.request.Request("http://127.0.0.1:9222/json/new?chrome://sandbox", method="PUT")
print(urllib.request.urlopen(ask).status)
"""


@pytest.fixture(scope="module")
def person() -> Iterator[User]:
    """One user with a router of their own for this file, and the image with everything."""
    with users() as make:
        made = make()
        made.ok("image", "build", "full", timeout=1700)
        yield made


@pytest.fixture(scope="module")
def machine(person: User) -> str:
    return person.start("--image", "full")


def apps(person: User, machine: str) -> dict[str, dict[str, object]]:
    return {str(one["name"]): one for one in person.json("apps", machine)["apps"]}


def test_calls_that_reach_the_host_fail_as_root_and_as_user(person: User, machine: str) -> None:
    for before in ("", "sudo "):
        done = person.ok("ssh", machine, f"{before}python3 -c '{CALLS}'".replace("\n", "\n"))
        found = json.loads(done.out)
        absent = ("clone3", "keyctl", "add_key", "io_uring_setup", "fsopen", "open_tree")
        sockets = {name: found.pop(name) for name in list(found) if name.startswith("socket")}
        assert {name: found.pop(name) for name in absent} == dict.fromkeys(absent, "ENOSYS")
        assert set(found.values()) == {"EPERM"}, found
        assert {"socket 38": "EPERM", "socket 40": "EPERM"}.items() <= sockets.items()
        assert (sockets["socket 1"], sockets["socket 2"]) == ("made", "made")


def test_namespaces_of_a_users_own_can_be_made(person: User, machine: str) -> None:
    done = person.ok("ssh", machine, NAMESPACE.replace("--pid --fork --mount-proc", "--pid --fork"))
    assert done.out_text.split()[-2:] == ["1", "0"]


def test_control_groups_cannot_be_had_in_a_namespace_by_the_machines_root(person: User, machine: str) -> None:
    done = person.run("ssh", machine, "sudo unshare -UrmC true")
    assert done.code != 0
    assert "Operation not permitted" in done.err_text
    mount = "mkdir -p /tmp/cg; mount -t cgroup -o memory none /tmp/cg || mount -t cgroup2 none /tmp/cg"
    assert person.run("ssh", machine, f"sudo unshare -Urm sh -c '{mount}'").code != 0


def test_chromium_runs_in_its_own_sandbox_and_is_seen_on_the_desktop(person: User, machine: str) -> None:
    person.ok("apps", machine, "start", "browser")
    lines = person.ok("ssh", machine, RENDERERS).out_text.splitlines()
    deep = [line for line in lines if len(line.split()) > 2]
    assert deep, lines  # a renderer has a process number of its own inside a namespace
    assert "--no-sandbox" not in person.ok("ssh", machine, "ps -eo args").out_text
    titles = person.ok("ssh", machine, "xdotool search --class chromium getwindowname %@").out_text
    assert "Chromium" in titles
    found = apps(person, machine)
    assert found["desktop"]["state"] == found["browser"]["state"] == "running"
    together = sum(int(str(found[name]["memory_bytes"])) for name in ("desktop", "browser"))
    assert together < 600_000_000


def test_screen_is_pictured_and_filmed(person: User, machine: str, tmp_path: Path) -> None:
    person.ok("screenshot", machine, tmp_path / "screen.png")
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
    film = (
        "timeout -s INT 2 /opt/cloudrouter/apps/desktop/record /tmp/film.mp4; ffprobe -v error -of json -show_streams"
    )
    streams = json.loads(person.ok("ssh", machine, f"{film} /tmp/film.mp4").out)["streams"]
    assert [(one["codec_name"], one["width"], one["height"]) for one in streams] == [("h264", 1280, 800)]


def test_clipboard_of_the_screen_is_there_for_programs(person: User, machine: str) -> None:
    person.ok("apps", machine, "start", "desktop")
    person.ok("ssh", machine, "printf hello | xclip -selection clipboard")
    assert person.ok("ssh", machine, "xclip -o -selection clipboard").out_text == "hello"


@pytest.mark.parametrize("app", ["vscode", "jupyter"])
def test_app_answers_on_its_socket_which_is_the_users_alone(person: User, machine: str, app: str) -> None:
    person.ok("apps", machine, "start", app)
    socket = f"/run/cloudrouter/apps/{app}/socket"
    assert person.ok("ssh", machine, f"stat -c '%a %U' {socket}").out_text == "600 user\n"
    page = person.ok("ssh", machine, f"curl -sL --unix-socket {socket} http://localhost/").out_text
    assert "<html" in page.lower()


def make_feature(folder: Path, install: str) -> Path:
    """A dev container Feature that is not ours."""
    folder.mkdir()
    options = {"greeting": {"type": "string", "default": "hello there"}}
    feature = {"id": "greeter", "version": "1.0.0", "options": options, "containerEnv": {"GREETED": "yes"}}
    (folder / "devcontainer-feature.json").write_text(json.dumps(feature))
    (folder / "install.sh").write_text(install)
    (folder / "app.toml").write_text(
        'name = "greeter"\ntitle = "Greeter"\nview = "http"\nport = 8123\n'
        'command = ["/usr/bin/python3", "-m", "http.server", "-b", "127.0.0.1", "-d", "${app}/pages", "8123"]\n'
        '[health]\npath = "/"\n'
    )
    return folder


def test_strangers_feature_is_built_in_and_runs(person: User, tmp_path: Path) -> None:
    install = '#!/bin/bash\nset -e\nmkdir -p pages\necho "$GREETING, $_REMOTE_USER" >pages/index.html\n'
    folder = make_feature(tmp_path / "greeter", install)
    one = person.json("start", "--app", folder, timeout=600)
    assert one["apps"] == ["greeter"]
    person.ok("apps", one["id"], "start", "greeter")
    assert person.ok("ssh", one["id"], "curl -s localhost:8123; echo $GREETED").out_text == "hello there, user\nyes\n"
    (found,) = [image for image in person.json("image", "ls")["images"] if image["name"] == one["image"]]
    assert found["current"]
    assert [app.partition("@")[0] for app in found["apps"]] == ["greeter"]
    person.ok("delete", one["id"])
    person.ok("image", "rm", one["image"])


def test_strangers_feature_that_fails_is_told_with_its_last_lines(person: User, tmp_path: Path) -> None:
    folder = make_feature(tmp_path / "greeter", "#!/bin/sh\necho about to fail\nexit 7\n")
    done = person.run("start", "--app", folder, timeout=600)
    assert done.code != 0
    assert "about to fail" in done.err_text
    assert "status 7" in done.err_text
    assert "greeter" in done.err_text


def test_image_without_debians_packages_is_refused_for_apps(person: User) -> None:
    name = "cloudrouter-test/no-apt:1"
    recipe = "FROM cloudrouter/core:latest\nUSER root\nRUN rm -f /usr/bin/apt-get\n"
    subprocess.run(["docker", "build", "-q", "-t", name, "-"], input=recipe.encode(), check=True, capture_output=True)
    try:
        done = person.run("start", "--image", f"{name}+desktop", timeout=600)
        assert done.code != 0
        assert "no apt-get" in done.err_text
    finally:
        subprocess.run(["docker", "rmi", name], check=False, capture_output=True)
