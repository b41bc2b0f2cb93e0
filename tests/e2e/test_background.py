"""Background commands outlive everything but their machine, and what is said of them is true."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.e2e.conftest import User, until

pytestmark = pytest.mark.engine

NUMBERS = "i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo line $i; [ $((i % 300)) = 0 ] && sleep 0.15; done; exit 7"
"""Writes for some seconds, and every line tells its place."""


def lines(count: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(1, count + 1))


def kill_router(user: User) -> None:
    """As the kernel would do it, out of memory."""
    os.kill(int(user.json("server", "status")["pid"]), signal.SIGKILL)


def kill_guest(user: User, machine: str) -> None:
    """Inside, with no chance to say goodbye."""
    program = "/opt/cloudrouter/lib$"
    before = user.ok("ssh", machine, f"pgrep -f -- '-S {program}'").out
    user.run("ssh", machine, f"sudo kill -9 $(pgrep -f -- '-S {program}')")
    until(lambda: user.run("ssh", machine, f"pgrep -f -- '-S {program}'").out not in (b"", before), "another guest")


def background(user: User, machine: str, line: str) -> str:
    return user.ok("ssh", machine, "--bg", line).out.decode().strip()


class Reader:
    """A command whose output is read as it comes."""

    def __init__(self, user: User, *words: str, **options: object) -> None:
        self.process = user.popen(*words, **options)
        self.out = b""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while piece := os.read(self.process.stdout.fileno(), 1 << 20):
            self.out += piece

    def finish(self) -> int:
        """Its exit status."""
        self._thread.join(90)
        assert not self._thread.is_alive()
        _, self.err = self.process.communicate(timeout=30)
        return self.process.returncode


def test_a_server_outlives_router_and_guest_and_its_log_and_code_are_true(user: User, machine: str) -> None:
    server = "echo up; trap 'echo ending; exit 42' TERM; python3 -m http.server 3000 & wait"
    job = background(user, machine, server)
    user.ok("ssh", machine, "--bg", "sleep 1234")
    found = user.json("wait", machine, job, "--port", "3000", "--url", "/")
    assert (found["ready"], found["last"]) == (True, "HTTP 200")
    user.ok("ssh", machine, "curl -sf localhost:3000/before >/dev/null || true")
    waiting = user.popen("wait", machine, job)
    kill_router(user)
    user.ok("ssh", machine, "curl -sf localhost:3000/ >/dev/null")
    kill_guest(user, machine)
    user.ok("ssh", machine, "curl -sf localhost:3000/ >/dev/null")
    assert [one["state"] for one in user.json("ps", machine)["jobs"]] == ["running", "running"]
    assert user.ok("kill", machine, job).out.endswith(b"exited 42\n")
    assert user.run("wait", machine, job).code == 42
    out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (42, f"{job}  exited 42\n".encode())
    log = user.ok("logs", machine, job)
    assert log.out == b"up\nending\n"
    assert log.err.count(b'"GET / HTTP/1.1" 200') == 3
    assert b"GET /before" in log.err


def test_configuration_and_ca_are_still_there_after_the_guest_was_killed(user: User, tmp_path: Path) -> None:
    machine = user.start("--env", "KEPT=yes")
    before = user.ok("ssh", machine, "echo $KEPT; echo $SSL_CERT_FILE; cat ${SSL_CERT_FILE:-/dev/null} | sha256sum").out
    kill_guest(user, machine)
    again = user.ok("ssh", machine, "echo $KEPT; echo $SSL_CERT_FILE; cat ${SSL_CERT_FILE:-/dev/null} | sha256sum").out
    assert before == again
    assert before.startswith(b"yes\n")


def test_attach_and_two_followers_get_every_byte_once_whatever_is_killed(user: User, machine: str) -> None:
    job = background(user, machine, NUMBERS)
    readers = [Reader(user, "attach", machine, job), *(Reader(user, "logs", "-f", machine, job) for _ in range(2))]
    until(lambda: all(len(reader.out) > 1000 for reader in readers), "the first lines")
    kill_router(user)
    far = [len(reader.out) for reader in readers]
    until(lambda: all(len(reader.out) > size + 1000 for reader, size in zip(readers, far, strict=True)), "more lines")
    user.run("ssh", machine, "sudo kill -9 $(pgrep -f -- '-S /opt/cloudrouter/lib$')")
    assert [reader.finish() for reader in readers] == [7, 0, 0]
    wanted = hashlib.sha256(lines(6000)).hexdigest()
    assert [hashlib.sha256(reader.out).hexdigest() for reader in readers] == [wanted] * 3


def test_a_gigabyte_of_log_is_bounded_and_what_is_gone_is_told(resident: User, home: str) -> None:
    count = 1_000_000_000
    job = background(resident, home, f"yes {'x' * 49} | head -c {count}")
    assert resident.run("wait", "--timeout", "5m", home, job, timeout=320).code == 0
    kept = int(resident.ok("ssh", home, f"sudo du -sb /var/lib/cloudrouter/jobs/{job}").out.split()[0])
    limit = 128 * 1024 * 1024
    assert limit * 6 // 7 < kept < limit + 1024 * 1024
    done = resident.ok("logs", home, job)
    assert limit * 6 // 7 < len(done.out) < limit
    assert done.err_text == f"cloudrouter: {count - len(done.out)} bytes of older output are gone here\n"
    assert done.out.endswith(b"\n" + b"x" * 49 + b"\n")
    assert resident.ok("logs", "--tail", "2", home, job).out == b"".join(done.out.splitlines(keepends=True)[-2:])


def test_fifty_jobs_at_once_end_with_their_own_codes(resident: User, home: str) -> None:
    starting = [resident.popen("ssh", home, "--bg", f"sleep 1; echo {number}; exit {number}") for number in range(50)]
    found = [process.communicate(timeout=90)[0].decode().strip() for process in starting]
    assert len(set(found)) == 50
    answer = resident.run("wait", "--json", home, *found)
    body = json.loads(answer.out)
    assert answer.code == 1
    assert [job["code"] for job in body["jobs"]] == list(range(50))
    assert resident.ok("logs", home, found[37]).out == b"37\n"


def test_a_command_that_is_to_go_on_outlives_its_client_and_is_found_again(resident: User, home: str) -> None:
    line = "echo begun; while [ ! -e /tmp/go-on ]; do sleep 0.05; done; echo done; exit 9"
    with resident.popen("ssh", "--detach-on-disconnect", home, line) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.kill()
        process.communicate(timeout=20)
    job = resident.json("ps", home)["jobs"][-1]
    assert (job["state"], job["command"]) == ("running", line)
    attached = Reader(resident, "attach", home, job["id"])
    until(lambda: attached.out == b"begun\n", "what was written before")
    resident.ok("ssh", home, "touch /tmp/go-on")
    assert (attached.finish(), attached.out) == (9, b"begun\ndone\n")


def test_a_command_that_is_to_go_on_reads_its_input_over_a_killed_router(user: User, machine: str) -> None:
    with user.popen("ssh", "--detach-on-disconnect", machine, "cat; exit 3", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one\n"
        kill_router(user)
        out, err = process.communicate(lines(200_000), timeout=90)
    assert (process.returncode, hashlib.sha256(out).hexdigest()) == (3, hashlib.sha256(lines(200_000)).hexdigest()), err


def test_ctrl_c_ends_a_command_that_would_go_on(resident: User, home: str) -> None:
    with resident.popen("ssh", "--detach-on-disconnect", home, "echo ready; exec sleep 1236") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert resident.json("ps", home)["jobs"][-1]["code"] == 130


def test_a_job_whose_watcher_was_killed_is_lost_and_has_no_code(resident: User, home: str) -> None:
    job = background(resident, home, "sleep 1237")
    resident.ok("ssh", home, f"sudo kill -9 $(pgrep -f 'holder.*{job}$')")
    for words in (["wait"], ["attach", "--no-stdin"]):
        done = resident.run(*words, home, job)
        assert done.code == 255
        assert "nobody knows how it ended" in done.err_text
    resident.ok("kill", "-s", "KILL", home, job)
    until(lambda: resident.run("ssh", home, "pgrep -f 'sleep 123[7]'").code == 1, "the end of what it left")


def test_kill_reaches_what_ran_away(resident: User, home: str) -> None:
    job = background(resident, home, "(setsid sleep 1238 &); (sudo sleep 1239 &); echo up; wait; sleep 1240")
    until(lambda: resident.run("ssh", home, "pgrep -cf '^sleep 12(38|39|40)'").out == b"3\n", "all of them")
    assert resident.ok("kill", home, job).out.endswith(b"exited 143\n")
    until(lambda: resident.run("ssh", home, "pgrep -f '^sleep 12(38|39|40)'").code == 1, "their end")


def test_what_runs_in_the_foreground_is_listed(resident: User, home: str) -> None:
    with resident.popen("ssh", home, "echo ready; exec sleep 1241") as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = [one for one in resident.json("ps", "--all", home)["execs"] if "1241" in one["command"]]
        process.terminate()
    assert len(found) == 1
    assert found[0]["tty"] is False


def test_standard_streams_can_be_opened_as_files(resident: User, home: str) -> None:
    line = "cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr"
    for words in (["ssh"], ["ssh", "--detach-on-disconnect"]):
        done = resident.ok(*words, home, line, input=b"in\n")
        assert (done.out, done.err) == (b"in\nout\n", b"err\n")
