"""The supervisor's loop, run for real with a stand-in for the guest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudrouter.images import recipe


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    text = recipe.load("core").parts[-1].files["cloudrouter/supervise"].data.decode()
    guest = tmp_path / "guest"
    log = tmp_path / "log"
    guest.write_text(f"#!/bin/sh\ntrap 'echo term >> {log}; exit 0' TERM\necho $$ >> {log}\nread x <{tmp_path}/fifo\n")
    guest.chmod(0o755)
    os.mkfifo(tmp_path / "fifo")
    command = '"$python" -I -S /opt/cloudrouter/lib'
    assert command in text
    script = tmp_path / "supervise"
    script.write_text(text.replace(command, str(guest)))
    process = subprocess.Popen(["/bin/sh", str(script)], stderr=subprocess.PIPE, text=True, start_new_session=True)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_lines(tmp_path: Path, count: int) -> list[str]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        lines = (tmp_path / "log").read_text().split() if (tmp_path / "log").exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(0.02)
    raise AssertionError((tmp_path / "log").read_text())


def test_guest_that_is_killed_is_started_again(tmp_path: Path, loop: subprocess.Popen[str]) -> None:
    (first,) = wait_lines(tmp_path, 1)
    os.kill(int(first), signal.SIGKILL)
    second = wait_lines(tmp_path, 2)[1]
    assert second != first
    assert loop.poll() is None


def test_term_ends_the_guest_and_then_the_loop(tmp_path: Path, loop: subprocess.Popen[str]) -> None:
    wait_lines(tmp_path, 1)
    loop.terminate()
    assert loop.wait(timeout=20) == 0
    assert wait_lines(tmp_path, 2)[1] == "term"


def test_term_during_the_pause_ends_at_once(tmp_path: Path, loop: subprocess.Popen[str]) -> None:
    assert loop.stderr is not None
    for count in (1, 2, 3):
        os.kill(int(wait_lines(tmp_path, count)[-1]), signal.SIGKILL)
        while "started again" not in (line := loop.stderr.readline()):
            assert line
    assert "in 4 s" in line
    began = time.monotonic()
    loop.terminate()
    assert loop.wait(timeout=20) == 0
    assert time.monotonic() - began < 3


def test_variables_for_the_images_own_programs_are_held_back_from_the_guest(tmp_path: Path) -> None:
    text = recipe.load("core").parts[-1].files["cloudrouter/supervise"].data.decode()
    script = tmp_path / "supervise"
    shown = text.replace('"$python" -I -S /opt/cloudrouter/lib &', "env; kill $$ &")
    script.write_text(shown)
    env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": "/a b", "LD_PRELOAD": "", "OTHER": "x"}
    done = subprocess.run(["/bin/sh", str(script)], env=env, capture_output=True, text=True, timeout=20, check=False)
    lines = done.stdout.splitlines()
    assert "CLOUDROUTER_HELD_LD_LIBRARY_PATH=/a b" in lines
    assert "OTHER=x" in lines
    assert not [line for line in lines if line.startswith("LD_LIBRARY_PATH=")]


def test_a_system_without_sleep_or_date_restarts_the_guest_all_the_same(tmp_path: Path) -> None:
    text = recipe.load("core").parts[-1].files["cloudrouter/supervise"].data.decode()
    assert "date" not in text.replace("look_at_clock", "")
    log = tmp_path / "log"
    script = tmp_path / "supervise"
    text = text.replace('"$python" -I -S /opt/cloudrouter/lib &', f"echo again >> {log} &")
    script.write_text(text.replace('[ -x "$python" ] || python=/usr/bin/python3', f"python={sys.executable}"))
    process = subprocess.Popen(["/bin/sh", str(script)], stderr=subprocess.DEVNULL, env={"PATH": "/nowhere"})
    try:
        assert wait_lines(tmp_path, 2) == ["again", "again"]
    finally:
        process.kill()
        process.wait()
