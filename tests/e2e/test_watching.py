"""Watching and cleaning up for real: live numbers, events over a killed router, all of them at once, no trace left."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import CLI, User, until

pytestmark = pytest.mark.engine

SMALL = ("--cpu", "0.5", "--memory", "256m")


def router_pid(user: User) -> int:
    return int(user.json("server", "status")["pid"])


def engine_has(user: User, kind: str) -> list[str]:
    """The containers or networks that the engine has of this user's router."""
    words = ["docker", *kind.split(), "-q", "--filter", f"label=cloudrouter.dev/router={user.router_id()}"]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout.decode().split()


def test_stats_when_a_machine_works_then_show_it_and_the_stopped_one_has_none(user: User) -> None:
    busy, idle = user.start(*SMALL), user.start(*SMALL)
    user.json("stop", idle)
    user.ok("ssh", "--bg", busy, "while :; do :; done")
    process = user.popen("stats", "--follow", "--interval", "0.5s", "--json")
    assert process.stdout is not None
    for _ in range(20):
        usages = {one["id"]: one for one in json.loads(process.stdout.readline())["stats"]}
        if usages[busy]["cpu"] > 0.3:
            break
    process.kill()
    process.communicate()
    assert 0.3 < usages[busy]["cpu"] < 0.7  # half a cpu is its limit
    assert usages[busy]["memory_bytes"] > 1 << 20
    assert usages[busy]["disk_bytes"] > 0
    assert usages[busy]["network_received_bytes"] > 0
    assert usages[idle]["cpu"] is usages[idle]["memory_bytes"] is None
    assert len(user.ok("stats", busy).out_text.splitlines()) == 2


def test_stats_when_followed_at_a_terminal_then_redraws_in_place_and_leaves_it_usable(user: User) -> None:
    user.start(*SMALL)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [CLI, "stats", "-f", "--interval", "0.5s"], env=user.env, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    seen = b""
    while seen.count(b"\x1b[2A") < 2:
        assert select.select([leader], [], [], 30)[0]
        seen += os.read(leader, 65536)
    process.send_signal(signal.SIGINT)
    while select.select([leader], [], [], 30)[0]:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        seen += piece
    assert process.wait(30) == 130
    os.close(leader)
    assert b"\x1b[2J" not in seen
    assert seen.endswith(b"\x1b[?25h\x1b[?7h")


def test_events_when_the_router_is_killed_then_each_is_told_once_and_in_order(user: User, tmp_path: Path) -> None:
    machine = user.start(*SMALL, "--name", "web")
    told = tmp_path / "told"
    with told.open("wb") as file:
        process = user.popen("events", "web", "-f", "--after", "0", "--json", stdout=file)
    until(lambda: b"machine.running" in told.read_bytes(), "the first events")
    for name in ("one", "two"):
        os.kill(router_pid(user), signal.SIGKILL)
        user.ok("rename", machine, name)
    until(lambda: b"called two" in told.read_bytes(), "the event behind the second kill")
    began = time.monotonic()
    user.ok("server", "stop")
    assert time.monotonic() - began < 4  # it does not wait for those who follow
    user.ok("delete", machine)
    until(lambda: b"machine.gone" in told.read_bytes(), "the last event")
    process.kill()
    process.communicate()
    followed = [json.loads(line) for line in told.read_bytes().splitlines()]
    kept = [json.loads(line) for line in user.ok("events", machine, "--after", "0", "--json").out.splitlines()]
    assert followed == kept
    assert [one["seq"] for one in kept] == sorted({one["seq"] for one in kept})
    assert [one["data"]["name"] for one in kept if one["kind"] == "machine.renamed"] == ["one", "two"]


def test_batches_when_narrowed_by_a_label_then_leave_the_others_alone(user: User) -> None:
    mine = {user.start(*SMALL, "-l", "agent=me"), user.start(*SMALL, "-l", "agent=me")}
    theirs = user.start(*SMALL, "-l", "agent=you")
    assert set(user.ok("ls", "-q", "-l", "agent=me").out_text.split()) == mine
    assert user.run("stop", "--all").code == 2
    assert {one["id"] for one in user.json("stop", "--all", "-l", "agent=me", "-y")["machines"]} == mine
    assert user.ok("ls", "--state", "running", "-q").out_text.split() == [theirs]
    assert {one["state"] for one in user.json("resume", "--all", "-y")["machines"]} == {"running"}
    assert {one["id"] for one in user.json("delete", "--all", "--label", "agent=me", "--yes")["machines"]} == mine
    assert [one["id"] for one in user.machines()] == [theirs]


def test_inspect_when_a_job_runs_then_names_it_and_keeps_secrets(user: User) -> None:
    machine = user.start(*SMALL, "--env", "TOKEN=s3cret-canary")
    job = json.loads(user.ok("ssh", "--bg", "--json", machine, "sleep 1000").out)["job"]["id"]
    seen = user.json("inspect", machine)
    assert "s3cret-canary" not in json.dumps(seen)
    assert "TOKEN" in seen["env_names"]
    assert [one["id"] for one in seen["jobs"]] == [job]
    assert seen["guest"]["health"]["jobs_running"] == 1
    assert re.fullmatch(r"[0-9a-f]{64}", seen["handle"]["container_id"])


def test_uninstall_when_everything_of_the_router_is_to_go_then_nothing_is_left(user: User) -> None:
    machine = user.start(*SMALL)
    assert user.run("uninstall", "--yes").code == 1
    assert [one["id"] for one in user.machines()] == [machine]
    would = user.json("uninstall", "--machines", "--volumes", "--state", "--dry-run")
    assert {"machine", "network", "folder"} <= {one["kind"] for one in would["would_remove"]}
    assert engine_has(user, "ps -a")
    pid = router_pid(user)
    router = user.router_id()
    done = user.json("uninstall", "--machines", "--volumes", "--state", "--yes")
    assert done["errors"] == []
    assert {"machine", "network", "folder"} <= {one["kind"] for one in done["removed"]}
    until(lambda: not Path(f"/proc/{pid}").exists(), "the router's end")
    assert not (user.base / "state").exists()
    assert not (user.base / "run").exists()
    for kind in ("ps -a", "network ls", "volume ls"):
        words = ["docker", *kind.split(), "-q", "--filter", f"label=cloudrouter.dev/router={router}"]
        assert subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout == b""
    began = time.monotonic()
    again = user.ok("uninstall", "--state", "--yes")
    assert "There is nothing to remove." in again.out_text
    assert time.monotonic() - began < 5
    assert not (user.base / "state").exists()
