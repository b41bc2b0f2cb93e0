"""The supervisor's loop, run for real with a stand-in for the guest."""

from __future__ import annotations

import os
import signal
import subprocess
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
    command = "/usr/bin/python3 -I -S /opt/cloudrouter/lib"
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
