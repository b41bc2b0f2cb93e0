"""Machines are born whole or not at all, survive the router, and end when told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, User, until

pytestmark = pytest.mark.engine


def containers(user: User) -> list[str]:
    """The containers of all machines of the user's router."""
    words = ["docker", "ps", "-aq", "--filter", "label=cloudrouter.dev/machine", "--filter"]
    label = f"label=cloudrouter.dev/router={user.router_id()}"
    done = subprocess.run([*words, label], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().split()


def router_pid(user: User) -> int:
    """The pid of the user's router."""
    return int(user.json("server", "status")["pid"])


def test_a_real_web_project_from_folder_to_result(user: User, tmp_path: Path) -> None:
    machine = user.start(ROOT / "examples" / "todo-web")
    assert user.ok("ssh", machine, "ls").out.split() == sorted(
        name.encode() for name in os.listdir(ROOT / "examples" / "todo-web") if not name.startswith(".")
    )
    user.ok("ssh", machine, "npm ci", timeout=300)
    user.ok("ssh", machine, "npm test", timeout=300)
    job = json.loads(user.ok("ssh", "--bg", "--json", machine, "npm run dev").out)["job"]
    page = "curl -fsS --retry 60 --retry-delay 1 --retry-all-errors http://localhost:3000/"
    assert b"<title>" in user.ok("ssh", machine, page).out
    assert b"VITE" in user.ok("logs", machine, job["id"]).out
    user.ok("ssh", machine, "npm run build")
    user.ok("download", machine, "dist", tmp_path / "dist")
    assert b"<title>" in (tmp_path / "dist" / "index.html").read_bytes()
    user.ok("delete", machine)
    assert user.machines() == []
    assert containers(user) == []


def test_a_python_project_runs_its_tests(user: User) -> None:
    machine = user.start(ROOT / "examples" / "flask-api")
    user.ok("ssh", machine, "python3 -m venv .venv && .venv/bin/pip install -q -r requirements-dev.txt", timeout=300)
    done = user.ok("ssh", machine, ".venv/bin/python -m pytest -q")
    assert b" passed" in done.out
    assert user.run("ssh", machine, ".venv/bin/python -m pytest -q no_such_file").code == 4


def test_run_passes_the_exit_code_on_and_leaves_nothing(user: User, tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("hi")
    assert user.ok("run", tmp_path, "cat hello").out == b"hi"
    assert user.run("run", tmp_path, "exit 9").code == 9
    assert user.machines() == []


def test_stop_keeps_the_disk_and_resume_boots_again(user: User, machine: str) -> None:
    user.ok("ssh", machine, "echo kept > file")
    assert user.json("stop", machine)["state"] == "stopped"
    done = user.run("ssh", machine, "true")
    assert done.code == 255
    assert f"cloudrouter resume {machine}" in done.err_text
    assert user.json("resume", machine)["state"] == "running"
    assert user.ok("ssh", machine, "cat file").out == b"kept\n"


def test_extend_sets_the_deadline_exactly_and_the_deadline_stops_the_machine(user: User) -> None:
    machine = user.start("--timeout", "1h")
    before = time.time()
    user.ok("extend", machine, "--seconds", "2")
    shown = user.json("status", machine)
    from datetime import datetime

    expires = datetime.fromisoformat(shown["expires_at"]).timestamp()
    assert before + 2 <= expires <= time.time() + 2
    until(lambda: user.json("status", machine)["state"] == "stopped", "the stop at the deadline")
    assert "deadline" in user.json("status", machine)["reason"]


def test_names_are_unique_and_find_their_machine(user: User, tmp_path: Path) -> None:
    first = user.start("--name", "web")
    assert user.json("status", "web")["id"] == first
    done = user.run("start", "--name", "web")
    assert done.code == 1
    assert first in done.err_text
    assert len(user.machines()) == 1


def test_twenty_starts_at_once(user: User) -> None:
    starts = [user.popen("start", "--memory", "256m", "--json") for _ in range(20)]
    ids = []
    for process in starts:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        ids.append(json.loads(out)["id"])
    assert len(set(ids)) == 20
    assert {one["id"] for one in user.machines()} == set(ids)
    assert len(containers(user)) == 20
    assert len([pid for pid in [router_pid(user)] if pid]) == 1
    user.ok("delete", *ids, timeout=300)
    assert containers(user) == []


def test_the_router_killed_during_start_leaves_a_whole_machine_or_none(user: User, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    user.ok("ls")
    starting = user.popen("start", tmp_path, "--json")
    until(lambda: user.json("ls")["machines"], "the row")
    os.kill(router_pid(user), signal.SIGKILL)
    out, err = starting.communicate(timeout=180)
    if starting.returncode == 0:
        machine = json.loads(out)["id"]
        assert user.ok("ssh", machine, "cat file").out == b"x"
        assert [one["id"] for one in user.machines()] == [machine]
        assert len(containers(user)) == 1
    else:
        assert err
        until(lambda: not user.machines() and not containers(user), "the removal")


def test_ctrl_c_during_start_leaves_nothing(user: User, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    user.ok("ls")
    starting = user.popen("start", tmp_path)
    until(lambda: user.json("ls")["machines"], "the row")
    starting.send_signal(signal.SIGINT)
    starting.communicate(timeout=60)
    assert starting.returncode == 130
    assert user.machines() == []
    assert containers(user) == []


def test_a_killed_client_leaves_no_half_made_machine(user: User, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    user.env["CLOUDROUTER_UNCONFIRMED_GRACE"] = "1"
    user.ok("ls")
    starting = user.popen("start", tmp_path)
    until(lambda: user.json("ls")["machines"], "the row")
    starting.kill()
    starting.communicate(timeout=20)
    until(lambda: not user.machines() and not containers(user), "the removal", 60)


def test_jobs_go_on_while_the_router_is_away(user: User) -> None:
    machines = [user.start("--memory", "256m") for _ in range(3)]
    line = "for i in $(seq 1000); do echo tick $i; sleep 0.1; done"
    jobs = [json.loads(user.ok("ssh", "--bg", "--json", machine, line).out)["job"]["id"] for machine in machines]
    os.kill(router_pid(user), signal.SIGKILL)
    for machine, job in zip(machines, jobs, strict=True):
        first = user.ok("logs", machine, job, "--tail", "1").out
        until(lambda m=machine, j=job, f=first: user.ok("logs", m, j, "--tail", "1").out != f, "more output", 20)
        assert user.ok("logs", machine, job).out.startswith(b"tick 1\n")
    user.ok("server", "stop")
    for machine in machines:
        assert b"tick" in user.ok("logs", machine).out


def test_no_secret_is_seen_from_outside(user: User, machine: str, tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(user.base / "state" / "router.db") as connection:
        token = connection.execute("select token from machines where id = ?", (machine,)).fetchone()[0]
    assert len(token) >= 32
    host = subprocess.run(["ps", "auxeww"], check=True, stdout=subprocess.PIPE).stdout.decode(errors="replace")
    (container,) = containers(user)
    inspected = subprocess.run(["docker", "inspect", container], check=True, stdout=subprocess.PIPE).stdout.decode()
    inside = user.ok("ssh", machine, "sudo ps auxeww; env; sudo cat /proc/*/environ | tr '\\0' '\\n'").out_text
    log = (user.base / "state" / "logs" / "router.log").read_text()
    for place in (host, inspected, inside, log):
        assert token not in place
    for path in (user.base / "state" / "router.db", user.base / "run" / "router.sock"):
        assert path.stat().st_mode & 0o077 == 0
    assert (user.base / "run").stat().st_mode & 0o777 == 0o700


def test_limits_bite_and_are_seen_inside(user: User) -> None:
    machine = user.start("--cpu", "1", "--memory", "300m")
    assert user.ok("ssh", machine, "nproc").out.strip() == b"1"
    limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert int(user.ok("ssh", machine, limit).out) == 300 * 1024**2
    done = user.run("ssh", machine, "--", "python3", "-c", "x = bytearray(500_000_000)")
    assert done.code in (1, 137)
    assert user.ok("ssh", machine, "echo alive").out == b"alive\n"


def test_user_environment_reaches_every_command_and_not_the_engine(user: User) -> None:
    user.env["FROM_ME"] = "mine"
    machine = user.start("--env", "KEY=s3cret value", "--env", "FROM_ME")
    assert user.ok("ssh", machine, 'echo "$KEY/$FROM_ME"').out == b"s3cret value/mine\n"
    (container,) = containers(user)
    assert b"s3cret" not in subprocess.run(["docker", "inspect", container], check=True, stdout=subprocess.PIPE).stdout
    user.ok("stop", machine)
    user.ok("resume", machine)
    assert user.ok("ssh", machine, 'echo "$KEY"').out == b"s3cret value\n"


def test_upload_and_download_round_trip(user: User, machine: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub [x]" / "empty").mkdir(parents=True)
    odd = os.fsencode(tree) + b"/\xff\xfe.bin"
    with open(odd, "wb") as file:
        file.write(os.urandom(100_000))
    (tree / "sub [x]" / "new\nline").write_text("n")
    (tree / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("run.sh")
    user.ok("upload", machine, tree, "copy")
    assert user.ok("ssh", machine, "./copy/link").out == b"ran\n"
    user.ok("download", machine, "copy", tmp_path / "back")
    listing = ["sh", "-c", 'cd "$1" && find . -printf "%P %y %m %l\\0" | sort -z | sha256sum', "sh"]
    content = ["sh", "-c", 'cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum', "sh"]
    for words in (listing, content):
        sums = [
            subprocess.run([*words, folder], check=True, stdout=subprocess.PIPE).stdout
            for folder in (tree, tmp_path / "back")
        ]
        assert sums[0] == sums[1]
    user.ok("upload", machine, tree / "run.sh", "single.sh")
    user.ok("download", machine, "single.sh", tmp_path / "single.sh")
    assert (tmp_path / "single.sh").read_text() == (tree / "run.sh").read_text()
    missing = user.run("download", machine, "no/such", tmp_path / "x")
    assert missing.code == 4


def test_secrets_and_ignored_files_stay_at_home(user: User, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("build/\n")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "out").write_text("x")
    (tmp_path / ".env").write_text("TOKEN=abc")
    (tmp_path / ".env.example").write_text("TOKEN=")
    (tmp_path / "code.py").write_text("print(1)")
    (tmp_path / "away").symlink_to("/etc/passwd")
    done = user.ok("start", tmp_path, "--json")
    machine = json.loads(done.out)["id"]
    assert ".env" in done.err_text
    assert user.ok("ssh", machine, "ls -A").out.split() == [b".env.example", b".gitignore", b"code.py"]
    full = user.start(tmp_path, "--with-secrets")
    assert b".env" in user.ok("ssh", full, "ls -A").out.split()


def test_a_git_project_arrives_with_its_history(user: User, tmp_path: Path) -> None:
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        (tmp_path / "a.txt").write_text("a")
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    machine = user.start(tmp_path)
    assert user.ok("ssh", machine, "git log --format=%s && git status --porcelain").out == b"one\n"


def test_a_download_brings_no_repository_unless_asked(user: User, machine: str, tmp_path: Path) -> None:
    # What a hostile machine would send: settings that run a command here at the next `git status`.
    user.ok(
        "ssh", machine, "git init -q sub && git -C sub config core.fsmonitor evil && echo x > sub/file && mkdir .GIT"
    )
    done = user.ok("download", machine, ".", tmp_path / "out")
    assert "--with-git" in done.err_text
    assert sorted(os.listdir(tmp_path / "out")) == ["sub"]
    assert os.listdir(tmp_path / "out" / "sub") == ["file"]
    user.ok("download", machine, ".", tmp_path / "all", "--with-git")
    assert (tmp_path / "all" / "sub" / ".git" / "config").exists()


def test_a_library_nobody_tuned_for_passes_its_own_tests(user: User, machine: str, tmp_path: Path) -> None:
    # The source package comes from PyPI by way of a machine, whose pip knows the network.
    fetch = "pip download -q --no-deps --no-binary :all: click==8.1.8 && tar xzf click-8.1.8.tar.gz"
    user.ok("ssh", machine, fetch, timeout=300)
    user.ok("download", machine, "click-8.1.8", tmp_path / "click")
    library = user.start(tmp_path / "click")
    user.ok("ssh", library, "python3 -m venv .venv && .venv/bin/pip install -q . pytest==8.3.4", timeout=300)
    done = user.ok("ssh", library, ".venv/bin/python -m pytest -q -p no:cacheprovider", timeout=300)
    assert b" passed" in done.out
    assert b" failed" not in done.out
    user.ok("ssh", library, "sed -i 's/def test_basic/def test_basic_not/; 1i assert False' tests/test_basic.py")
    assert user.run("ssh", library, ".venv/bin/python -m pytest -q -p no:cacheprovider", timeout=300).code == 2


def test_a_job_is_asked_to_end_when_its_machine_stops(user: User, machine: str) -> None:
    line = "trap 'echo told; exit 9' TERM; echo up; while :; do sleep 0.1; done"
    job = json.loads(user.ok("ssh", "--bg", "--json", machine, line).out)["job"]["id"]
    until(lambda: user.ok("logs", machine, job).out == b"up\n", "the job")
    user.ok("stop", machine)
    user.ok("resume", machine)
    assert user.ok("logs", machine, job).out == b"up\ntold\n"
    (ended,) = user.json("ps", machine)["jobs"]
    assert (ended["state"], ended["code"]) == ("exited", 9)
