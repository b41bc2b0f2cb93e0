"""One version follows another: the router is handed over or stays, and machines notice nothing of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import cloudrouter
from cloudrouter.images.apps import own_folder
from cloudrouter.server.store import migrations
from tests.e2e.conftest import Done, User, until

pytestmark = pytest.mark.engine

OLDER = "0.0.9"
SERVE = "while :; do date +%s%N > beat; sleep 0.05; done"


class Version:
    """The package of another version in a folder of its own, as an installation beside this one would be."""

    def __init__(self, folder: Path, version: str) -> None:
        self.version = version
        self._folder = folder
        package = Path(cloudrouter.__file__).parent
        shutil.copytree(package, folder / "cloudrouter", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(own_folder(), folder / "cloudrouter" / "apps", dirs_exist_ok=True)  # as in a wheel
        start = folder / "cloudrouter" / "__init__.py"
        text, count = re.subn(r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"', start.read_text())
        assert count == 1
        start.write_text(text)

    def run(self, user: User, *words: str) -> Done:
        """A command of that version's CLI, which has to end with 0."""
        done = subprocess.run(
            [sys.executable, "-m", "cloudrouter", *words],
            env={**user.env, "PYTHONPATH": str(self._folder)},
            cwd=user.base,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, user: User, *words: str) -> Any:
        """The JSON that it prints."""
        return json.loads(self.run(user, "--json", *words).out)


@pytest.fixture
def older(tmp_path: Path, user: User) -> Any:
    """An installation of a version before; the image that it builds of its guest is removed at the end."""
    made = Version(tmp_path / "older", OLDER)
    yield made
    for machine in user.json("ls")["machines"]:
        user.ok("delete", machine["id"])
    user.ok("server", "stop")
    for image in made.json(user, "image", "ls")["images"]:
        if image["current"] and image["name"] == "core":
            subprocess.run(["docker", "image", "rm", image["reference"]], check=False, capture_output=True)
    user.ok("server", "stop")


def containers(user: User) -> list[tuple[str, str]]:
    """(container, when it was started) of every machine of the user's router."""
    filters = [
        "--filter",
        "label=cloudrouter.dev/machine",
        "--filter",
        f"label=cloudrouter.dev/router={user.router_id()}",
    ]
    found = subprocess.run(["docker", "ps", "-q", "--no-trunc", *filters], check=True, stdout=subprocess.PIPE)
    return [(one, started(one)) for one in sorted(found.stdout.decode().split())]


def started(container: str) -> str:
    shown = ["docker", "inspect", "-f", "{{.State.StartedAt}}", container]
    return subprocess.run(shown, check=True, stdout=subprocess.PIPE).stdout.decode().strip()


def facts(user: User) -> tuple[int, str]:
    """(pid, version) of the router that runs."""
    status = user.json("server", "status")
    return int(status["pid"]), str(status["version"])


def is_beating(user: User, machine: str) -> bool:
    """Whether the job in the machine still works: its file changes."""
    line = 'a=$(cat beat); for i in $(seq 100); do [ "$(cat beat)" != "$a" ] && exit 0; sleep 0.02; done; exit 1'
    return user.run("ssh", machine, line).code == 0


def downgrade(path: str, revision: str) -> None:
    """Bring a database back to the shape that a version before knew."""
    config = Config()
    config.set_main_option("script_location", os.path.dirname(migrations.__file__))
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, revision)
    finally:
        engine.dispose()


def test_an_older_router_when_a_machine_is_started_is_replaced_and_the_machines_of_before_go_on(
    user: User, older: Version
) -> None:
    machine = older.json(user, "start", "--name", "lives", "--label", "agent=me", "--timeout", "1h")
    job = older.json(user, "ssh", "--bg", machine["id"], SERVE)["job"]["id"]
    pid, version = facts(user)
    before = containers(user)
    assert version == OLDER
    assert len(before) == 1

    assert [one["id"] for one in user.machines()] == [machine["id"]]  # looking replaces nothing
    assert facts(user) == (pid, OLDER)
    assert is_beating(user, machine["id"])

    second = user.start()
    new_pid, new_version = facts(user)
    assert (new_pid != pid, new_version) == (True, cloudrouter.__version__)
    assert set(before) < set(containers(user))
    kept = user.json("status", "lives")
    assert {key: kept[key] for key in machine if key != "upload" and key in kept} == {
        key: machine[key] for key in machine if key != "upload" and key in kept
    }
    assert {one["id"] for one in user.machines()} == {machine["id"], second}
    jobs = user.json("ps", "lives")["jobs"]
    assert [(one["id"], one["state"]) for one in jobs] == [(job, "running")]
    assert is_beating(user, machine["id"])
    kinds = [json.loads(line)["kind"] for line in user.ok("events", "lives", "--json").out.splitlines()]
    assert kinds[0] == "machine.pending"
    assert user.json("stop", "lives")["state"] == "stopped"
    assert user.json("resume", "lives")["state"] == "running"


def test_a_book_of_the_first_shape_with_a_living_machine_is_brought_forward(user: User) -> None:
    machine = user.start("--name", "lives", "--label", "agent=me")
    job = json.loads(user.ok("ssh", "--bg", "--json", machine, SERVE).out)["job"]["id"]
    before = containers(user)
    pid, _version = facts(user)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the router's end")
    downgrade(str(user.base / "state" / "router.db"), "0001")

    shown = user.machines()
    assert [(one["id"], one["name"], one["state"], one["labels"]) for one in shown] == [
        (machine, "lives", "running", {"agent": "me"})
    ]
    assert (shown[0]["mounts"], shown[0]["package_cache"]) == ([], False)
    assert containers(user) == before
    assert [(one["id"], one["state"]) for one in user.json("ps", machine)["jobs"]] == [(job, "running")]
    assert is_beating(user, machine)
    user.ok("rename", machine, "renamed")
    user.ok("delete", "renamed")
    assert containers(user) == []


def test_a_newer_router_when_an_older_command_line_comes_stays(user: User, older: Version) -> None:
    machine = user.start("--name", "lives")
    running = facts(user)
    assert [one["id"] for one in older.json(user, "ls")["machines"]] == [machine]
    made = older.json(user, "start", "--name", "second")
    assert facts(user) == running
    assert older.run(user, "ssh", made["id"], "echo hi").out == b"hi\n"
    older.run(user, "stop", "lives", "second")
    older.run(user, "delete", "lives", "second")
    assert facts(user) == running
