"""Commands in a machine behave like local ones."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import User

pytestmark = pytest.mark.engine


def test_the_exit_code_is_the_commands(resident: User, home: str) -> None:
    assert resident.run("ssh", home, "exit 7").code == 7
    assert resident.run("exec", home, "--", "sh", "-c", "exit 3").code == 3
    assert resident.run("ssh", home, "kill -9 $$").code == 137
    assert resident.run("ssh", home, "--", "no-such-program").code == 127


def test_words_are_joined_for_the_shell_and_kept_after_two_dashes(resident: User, home: str) -> None:
    assert resident.ok("ssh", home, "echo", "a  b", "&&", "echo", "$HOME").out == b"a b\n/home/user\n"
    assert resident.ok("ssh", home, "--", "printf", "[%s]", "a  b", "$HOME", "*", "").out == b"[a  b][$HOME][*][]"


def test_stdout_and_stderr_stay_apart(resident: User, home: str) -> None:
    done = resident.ok("ssh", home, "echo out; echo err >&2")
    assert (done.out, done.err) == (b"out\n", b"err\n")


def test_who_and_where(resident: User, home: str) -> None:
    done = resident.ok("ssh", home, "id -un; id -u; pwd; sudo -n id -u; echo $LANG; date +%Z")
    assert done.out.split() == [b"user", b"1000", b"/home/user/workspace", b"0", b"C.UTF-8", b"UTC"]


def test_200_megabytes_come_byte_exact(resident: User, home: str) -> None:
    script = (
        "import sys,random; r=random.Random(7); [sys.stdout.buffer.write(r.randbytes(1000000)) for _ in range(200)]"
    )
    expected = hashlib.sha256(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout)
    with resident.popen("ssh", home, "--", "python3", "-c", script) as process:
        seen, size = hashlib.sha256(), 0
        assert process.stdout is not None
        while block := process.stdout.read(1 << 20):
            seen.update(block)
            size += len(block)
    assert process.returncode == 0
    assert (size, seen.hexdigest()) == (200_000_000, expected.hexdigest())


def test_output_is_seen_while_the_command_runs(resident: User, home: str) -> None:
    with resident.popen("ssh", home, "echo first; read line; echo $line", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        # The command cannot end before it is answered, so this line came while it ran.
        assert process.stdout.readline() == b"first\n"
        out, _ = process.communicate(b"second\n", timeout=20)
    assert out == b"second\n"


def test_stdin_is_piped_to_its_end(resident: User, home: str, tmp_path: Path) -> None:
    data = os.urandom(20_000_000)
    (tmp_path / "big").write_bytes(data)
    with (tmp_path / "big").open("rb") as file:
        done = resident.ok("ssh", home, "sha256sum", stdin=file)
    assert done.out.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_stdin_and_stdout_flow_at_once(resident: User, home: str) -> None:
    data = os.urandom(8_000_000)
    assert resident.ok("ssh", home, "cat", input=data).out == data


def test_ctrl_c_ends_the_remote_command_with_130(resident: User, home: str) -> None:
    with resident.popen("ssh", home, "echo ready; exec sleep 1234") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"sleep 1234" not in resident.ok("ssh", home, "ps -eo args | grep -v grep").out


def test_a_client_that_is_killed_takes_its_command_along(resident: User, home: str) -> None:
    with resident.popen("ssh", home, "echo ready; exec sleep 1235") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.communicate(timeout=20)
    until = time.monotonic() + 15
    while b"sleep 1235" in resident.ok("ssh", home, "ps -eo args | grep -v grep").out:
        assert time.monotonic() < until, "the command lives on"


def test_a_timeout_ends_with_124(resident: User, home: str) -> None:
    assert resident.run("ssh", "--timeout", "1", home, "sleep 60").code == 124


def test_a_machine_that_does_not_exist_gives_255_and_says_so(resident: User, home: str) -> None:
    done = resident.run("ssh", "cr_zzzzzzzz", "true")
    assert done.code == 255
    assert done.err_text.startswith("cloudrouter: There is no machine")
    close = home[:-1] + ("2" if home[-1] != "2" else "3")
    assert home in resident.run("ssh", close, "true").err_text


def test_a_pipe_that_closes_early_ends_quietly(resident: User, home: str) -> None:
    with resident.popen("ssh", home, "yes") as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"y\ny\n"
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def in_a_terminal(user: User, *words: str) -> tuple[int, bytes]:
    """Run a command of the CLI in a terminal of 100 columns; its exit status and what the screen got."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with user.popen(*words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        screen = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # what Linux says when nobody holds the other end any more
                break
            if not piece:
                break
            screen += piece
    os.close(ours)
    return process.returncode, screen


def test_a_terminal_is_a_terminal(resident: User, home: str) -> None:
    line = "test -t 0 && test -t 1 && stty size && exit 5"
    code, screen = in_a_terminal(resident, "ssh", "-t", home, line)
    assert (code, screen.strip()) == (5, b"40 100")
    assert resident.run("ssh", home, "test -t 1").code == 1


def test_env_cwd_and_json(resident: User, home: str) -> None:
    script = "echo $A; pwd; echo no >&2; exit 4"
    done = resident.run("ssh", "--json", "--env", "A=b c", "--cwd", "/tmp", home, script)
    body = json.loads(done.out)
    assert done.code == 4
    assert body["exit_code"] == 4
    assert body["stdout"] == "b c\n/tmp\n"
    assert body["stderr"] == "no\n"
    assert body["truncated"] is False
    assert body["duration_ms"] >= 0


def test_fifty_commands_at_once(resident: User, home: str) -> None:
    running = [resident.popen("ssh", home, f"echo {number}; exit {number}") for number in range(50)]
    for number, process in enumerate(running):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (number, f"{number}\n".encode()), err
