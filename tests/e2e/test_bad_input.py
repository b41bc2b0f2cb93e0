"""Bad input costs nothing and is answered in three lines."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Done, User, until

pytestmark = pytest.mark.engine


def refused(done: Done, code: int, *words: str) -> None:
    """The command ended with this code and said, in three lines at most, these words."""
    assert done.code == code, done.err_text
    lines = [line for line in done.err_text.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("cloudrouter:", "Fix:", "Next:"))]
    assert said, done.err_text
    assert said[0].startswith("cloudrouter: ")
    assert len(said) >= 2, f"no way out is named: {done.err_text}"
    assert "Traceback" not in done.err_text
    for word in words:
        assert word in done.err_text, done.err_text


def test_a_missing_folder(user: User) -> None:
    refused(user.run("start", "/no/such/folder"), 4, "/no/such/folder")
    assert user.machines() == []


def test_a_file_instead_of_a_folder(user: User, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(user.run("start", tmp_path / "file"), 2, "file")
    assert user.machines() == []


def test_an_unreadable_file_inside(user: User, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    os.chmod(tmp_path / "secret", 0o000)
    words = ["start", str(tmp_path)]
    if os.getuid() == 0:
        # Root reads everything unless it gives that power away.
        powers = "--bounding-set=-dac_override,-dac_read_search"
        refused(user.run(*words, under=["setpriv", powers]), 1, "secret")
    else:
        refused(user.run(*words), 1, "secret")
    assert user.machines() == []


def test_an_unknown_machine(user: User) -> None:
    refused(user.run("status", "nothing"), 4, "no machine")
    refused(user.run("delete", "cr_zzzzzzzz"), 4, "no machine")


def test_an_ambiguous_or_short_prefix(user: User, machine: str) -> None:
    refused(user.run("delete", machine[:8]), 4, "whole id", machine)
    refused(user.run("status", machine[:5]), 4, "no machine")
    assert user.json("status", machine[:8])["id"] == machine


def test_a_gone_machine(user: User, machine: str) -> None:
    user.ok("delete", machine)
    refused(user.run("ssh", machine, "true"), 255, machine)
    refused(user.run("stop", machine), 4, machine)
    assert user.json("status", machine)["state"] == "gone"


def test_a_wrong_image_size_name_and_duration(user: User) -> None:
    refused(user.run("start", "--image", "Bad Image!"), 2, "Bad Image!")
    # Not there, and no registry that could have it: nothing is wrong with the words.
    refused(user.run("start", "--image", "no-such.invalid/image:1"), 1, "no-such.invalid/image:1")
    refused(user.run("start", "--size", "huge"), 2, "huge")
    refused(user.run("start", "--memory", "100000g"), 2, "larger than this host")
    refused(user.run("start", "--name", "Bad Name"), 2, "Bad Name")
    refused(user.run("start", "--timeout", "soon"), 2, "soon")
    refused(user.run("start", "--env", "NO_SUCH_VARIABLE_HERE"), 2, "NO_SUCH_VARIABLE_HERE")
    refused(user.run("start", "--disk", "5g"), 2, "disk")
    refused(user.run("start", "--provider", "moon"), 1, "moon")
    assert user.machines() == []


def test_an_unknown_verb_and_flag(user: User) -> None:
    refused(user.run("strat"), 2, "start")
    refused(user.run("ls", "--no-such-flag"), 2, "--no-such-flag")


def test_no_engine(user: User) -> None:
    user.env["DOCKER_HOST"] = f"unix://{user.base}/nothing.sock"
    refused(user.run("start"), 1, "engine")
    assert user.machines() == []


def test_the_socket_path_is_taken(user: User) -> None:
    run = user.base / "run"
    run.mkdir(mode=0o700)
    (run / "router.sock").write_text("not a socket")
    refused(user.run("ls"), 1, "router.sock")
    assert (run / "router.sock").read_text() == "not a socket"


def test_the_runtime_folder_is_open_to_others(user: User) -> None:
    run = user.base / "run"
    run.mkdir(mode=0o700)
    run.chmod(0o755)
    refused(user.run("ls"), 1, "0700")


def test_a_stale_socket_is_replaced(user: User) -> None:
    run = user.base / "run"
    run.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(run / "router.sock"))
    assert user.machines() == []


def test_a_broken_config(user: User) -> None:
    (user.base / "config.toml").write_text("size = [broken\n")
    refused(user.run("start"), 2, "config.toml")


def test_a_full_disk_in_the_machine(user: User, machine: str, tmp_path: Path) -> None:
    user.ok("ssh", machine, "mkdir small && sudo mount -t tmpfs -o size=1m,uid=1000 tmpfs small || true")
    (tmp_path / "big").write_bytes(os.urandom(3_000_000))
    done = user.run("upload", machine, tmp_path / "big", "/dev/shm/../shm/big-enough")
    assert done.code == 0, done.err_text
    user.ok("ssh", machine, "head -c 2G /dev/zero > /dev/shm/fill; true")
    done = user.run("upload", machine, tmp_path / "big", "/dev/shm/second")
    refused(done, 1, "space")
    assert user.run("ssh", machine, "test -e /dev/shm/second").code == 1


def test_names_that_are_not_utf8(user: User, tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff\xfe", "wb") as file:
        file.write(b"odd")
    machine = user.start(tmp_path)
    assert user.ok("ssh", machine, "cat *").out == b"odd"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_100_000_small_files(user: User, tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / f"d{folder}").mkdir()
        for number in range(1000):
            with open(f"{tmp_path}/d{folder}/{number}", "wb") as file:
                file.write(b"%d" % number)
    machine = str(user.json("start", tmp_path, timeout=200)["id"])
    assert user.ok("ssh", machine, "find . -type f | wc -l").out.strip() == b"100000"


def test_the_engine_that_goes_away_is_named(user: User, machine: str, tmp_path: Path) -> None:
    # A proxy in front of the engine's socket stands for an engine that dies midway.
    user.ok("server", "stop")
    path = str(user.base / "engine.sock")
    relay = subprocess.Popen([sys.executable, str(Path(__file__).parent / "relay.py"), path, "/var/run/docker.sock"])
    until(lambda: os.path.exists(path), "the relay")
    try:
        user.env["DOCKER_HOST"] = f"unix://{path}"
        assert user.ok("ssh", machine, "echo here", timeout=60).out == b"here\n"
        relay.terminate()
        relay.wait()
        refused(user.run("start"), 1, "engine")
    finally:
        relay.kill()
        relay.wait()
        user.run("server", "stop")
        del user.env["DOCKER_HOST"]


def test_places_that_are_not_there(user: User, machine: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(user.run("upload", machine, tmp_path / "nothing"), 4, "nothing")
    refused(user.run("download", machine, "nothing", tmp_path / "here"), 4, "nothing")
    refused(user.run("upload", machine, tmp_path / "file", "/etc/file"), 1, "denied")
    refused(user.run("cp", f"{machine}:nothing", "."), 4, f"{machine}:nothing")
    refused(user.run("cp", tmp_path / "file", f"{machine}:no/such/file"), 4, "no/such")
    refused(user.run("cp", tmp_path / "file", "cr_zzzzzzzz:x"), 4, "no machine")
    refused(user.run("cp", tmp_path / "file", tmp_path / "other"), 2, "ID:path")
    user.ok("ssh", machine, "mkdir dist && touch dist/a")
    refused(user.run("download", machine, "dist"), 2, f"cloudrouter download {machine} dist .")
    assert not Path("dist").exists()


def test_empty_words(user: User) -> None:
    refused(user.run("start", ""), 2, "empty")
    refused(user.run("run", "", "true"), 255, "empty")
    assert user.machines() == []


def test_words_of_other_versions(user: User) -> None:
    refused(user.run("start", "--git", "https://example.com/x"), 2, "not there yet")
    refused(user.run("start", "https://example.com/x"), 2, "not there yet")
    refused(user.run("pause", "cr_zzzzzzzz"), 2, "yet")
    assert user.machines() == []
