"""Sidecars as a person has them: a database and a cache beside a machine, through crashes, stops and deletion."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.sidecars import built

from .conftest import User, until

pytestmark = pytest.mark.engine

SECRET = "hunter22-is-secret"
PSQL = f"PGPASSWORD={SECRET} psql -h localhost -U postgres -qtAc"


@pytest.fixture(scope="module")
def postgres() -> str:
    return built("postgres")


@pytest.fixture(scope="module")
def redis() -> str:
    return built("redis")


def of_machine(machine: str, kind: str = "container") -> list[str]:
    """Names of a machine's containers or volumes on the engine."""
    words = (
        ["docker", "ps", "-a", "--format", "{{.Names}}"] if kind == "container" else ["docker", "volume", "ls", "-q"]
    )
    done = subprocess.run(
        [*words, "--filter", f"label=cloudrouter.dev/machine={machine}"], capture_output=True, text=True, check=True
    )
    return sorted(done.stdout.split())


def app(user: User, machine: str, name: str) -> dict[str, Any]:
    """One of the machine's apps and sidecars."""
    (found,) = [one for one in user.json("apps", machine)["apps"] if one["name"] == name]
    return dict(found)


def until_running(user: User, machine: str, name: str) -> None:
    """It runs, and answers; what it says of itself is told when it does not."""
    seen: list[dict[str, Any]] = []

    def runs() -> bool:
        seen[:] = [app(user, machine, name)]
        return bool(seen[0]["state"] == "running")

    try:
        until(runs, name)
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen}") from None


def kill(machine: str, name: str, number: str = "KILL") -> None:
    """End a sidecar's first process as a crash would."""
    container = f"{machine.replace('_', '-')}-{name}"
    subprocess.run(["docker", "kill", "-s", number, container], check=True, capture_output=True)


@pytest.fixture(scope="module")
def web(resident: User, postgres: str, redis: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A machine with a database that reads its workspace, and a cache that writes it."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "seed.sql").write_text("create table seeded (x int); insert into seeded values (42);\n")
    variables = folder.parent / "database.env"
    variables.write_text(f"POSTGRES_PASSWORD={SECRET}\n")
    return resident.start(
        *(folder, "--image", "core", "--memory", "1g"),
        *("--app", f"db={postgres},ro,port=5432,memory=300m,env-file={variables}"),
        *("--app", f"cache={redis},rw,port=6379,memory=64m"),
    )


def test_databases_when_asked_from_the_machine_then_answer_on_localhost(resident: User, web: str) -> None:
    resident.ok(
        *("ssh", web, "sudo apt-get update -qq && sudo apt-get install -y -qq postgresql-client redis-tools"),
        timeout=300,
    )
    until_running(resident, web, "db")
    assert resident.ok("ssh", web, f"{PSQL} 'select 6 * 7'").out_text == "42\n"
    assert resident.ok("ssh", web, "redis-cli set a 1 && redis-cli get a").out_text.split() == ["OK", "1"]
    seed = "PGOPTIONS=--client-min-messages=error " + PSQL.replace("-qtAc", "-qf seed.sql")
    assert resident.ok("ssh", web, f"{seed} && {PSQL} 'select x from seeded'").out_text == "42\n"


def test_workspace_when_read_only_then_the_sidecar_sees_and_cannot_write(resident: User, web: str) -> None:
    until_running(resident, web, "db")
    container = f"{web.replace('_', '-')}-db"
    for words, code in (("test -f /workspace/seed.sql", 0), ("touch /workspace/x", 1)):
        done = subprocess.run(
            ["docker", "exec", "-u", "0", container, "sh", "-c", words], capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr
    written = f"{web.replace('_', '-')}-cache"
    subprocess.run(["docker", "exec", "-u", "0", written, "sh", "-c", "echo there > /workspace/from-cache"], check=True)
    assert resident.ok("ssh", web, "cat from-cache; stat -c %U .").out_text == "there\nuser\n"


def test_files_when_uploaded_and_downloaded_then_go_through_the_shared_workspace(
    resident: User, web: str, tmp_path: Path
) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "note.txt").write_text("mine")
    resident.ok("upload", web, tmp_path / "up")
    container = f"{web.replace('_', '-')}-cache"
    done = subprocess.run(["docker", "exec", container, "cat", "/workspace/note.txt"], capture_output=True, check=True)
    assert done.stdout == b"mine"
    resident.ok("download", web, tmp_path / "down")
    assert (tmp_path / "down" / "note.txt").read_text() == "mine"


def test_secrets_when_looked_for_then_stand_nowhere(resident: User, web: str) -> None:
    told = [resident.ok(*words).out_text for words in (("inspect", web), ("events", web), ("apps", web))]
    told.append(json.dumps(resident.json("inspect", web)))
    logs = [path.read_text(errors="replace") for path in (resident.base / "state" / "logs").iterdir()]
    for text in (*told, *logs):
        assert SECRET not in text
    inspected = resident.json("inspect", web)["sidecars"]
    assert [(one["name"], one["env"]) for one in inspected] == [("db", ["POSTGRES_PASSWORD"]), ("cache", [])]
    assert {one["observation"]["limits"] for one in inspected} <= {"nested", "shared-out"}


def test_sidecar_when_it_crashes_then_is_started_again_and_says_why(resident: User, web: str) -> None:
    before = app(resident, web, "cache")["restarts"]
    for _ in range(2):
        kill(web, "cache")
        failed = until(lambda: (one := app(resident, web, "cache"))["state"] == "failed" and one, "the crash", 10)
        assert "status 137" in failed["reason"]
        assert "started again" in failed["reason"]
        until_running(resident, web, "cache")
    assert app(resident, web, "cache")["restarts"] == before + 2
    events = [json.loads(line) for line in resident.ok("events", web, "--json").out.splitlines()]
    assert [one["data"]["sidecar"] for one in events if one["kind"] == "sidecar.crashed"] == ["cache", "cache"]


def test_sidecar_when_stopped_then_stays_off_until_it_is_started(resident: User, web: str) -> None:
    resident.ok("apps", web, "stop", "cache")
    resident.ok("server", "stop")
    for _ in range(3):
        time.sleep(1)
        assert app(resident, web, "cache")["state"] == "off"
    assert "bye bye" in resident.ok("apps", web, "logs", "cache").out_text
    resident.ok("apps", web, "start", "cache")
    assert app(resident, web, "cache")["state"] == "running"


def test_machine_when_stopped_and_resumed_then_its_sidecars_go_along(resident: User, web: str) -> None:
    resident.ok("apps", web, "stop", "cache")
    resident.ok("stop", web)
    names = [f"{web.replace('_', '-')}-{name}" for name in ("cache", "db")]
    running = subprocess.run(["docker", "ps", "--format", "{{.Names}}"], capture_output=True, text=True, check=True)
    assert not set(names) & set(running.stdout.split())
    resident.ok("resume", web)
    for name in ("cache", "db"):
        until_running(resident, web, name)
    assert resident.ok("ssh", web, "cat seed.sql").code == 0


def test_memory_when_a_sidecar_wants_it_all_then_the_machine_goes_on(resident: User, web: str) -> None:
    before = app(resident, web, "cache")["restarts"]
    fill = "for i=1,1000 do redis.call('set', i, string.rep('x', 1048576)) end"
    resident.run("ssh", web, f'redis-cli eval "{fill}" 0')
    until(lambda: app(resident, web, "cache")["restarts"] > before, "its end by memory", 30)
    assert resident.ok("ssh", web, "echo alive").out_text == "alive\n"
    usage = resident.json("stats", web)["stats"][0]
    assert usage["memory_bytes"] < usage["memory_limit_bytes"]


def test_sidecar_when_it_cannot_be_then_the_start_says_so_and_nothing_is_left(resident: User, redis: str) -> None:
    before = {one["id"] for one in resident.machines()}
    for words, told in (
        (("--app", "db=no.such.registry.invalid/x:1"), "no.such.registry.invalid/x:1"),
        (("--app", f"desktop={redis}"), "app's name"),
        (("--app", f"db={redis},memory=900g"), "its machine has"),
        (("--app", f"db={redis}", "--app", f"db={redis}"), "has that name"),
        (("--app", f"db={redis}", "-p", "memory"), "beside"),
    ):
        done = resident.run("start", *words, timeout=180)
        assert done.code not in (0, None), words
        assert told in done.err_text, (words, done.err_text)
    assert {one["id"] for one in resident.machines()} == before


def test_folder_when_its_app_toml_names_an_image_then_is_a_sidecar(user: User, redis: str, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    text = f'image = "{redis}"\ntitle = "Redis"\nport = 6379\nworkspace = "ro"\ncommand = ["--maxmemory", "7mb"]\n'
    (folder / "app.toml").write_text(
        f'{text}[environment]\nTZ = "Europe/Vienna"\n[limits]\nmemory = "100m"\ncpu = 0.5\n'
    )
    machine = user.start("--image", "core", "--app", folder)
    (found,) = user.json("inspect", machine)["sidecars"]
    assert (found["name"], found["title"], found["env"], found["memory_bytes"]) == ("cache", "Redis", ["TZ"], 100 << 20)
    container = f"{machine.replace('_', '-')}-cache"
    asked = ["docker", "exec", container, "redis-cli", "config", "get", "maxmemory"]
    assert subprocess.run(asked, capture_output=True, check=True).stdout.split() == [b"maxmemory", b"7340032"]


def test_machine_when_its_container_dies_then_no_sidecar_runs_on(user: User, redis: str) -> None:
    machine = user.start("--image", "core", "--app", f"cache={redis},port=6379")
    subprocess.run(["docker", "kill", machine.replace("_", "-")], check=True, capture_output=True)
    until(lambda: user.machines()[0]["state"] == "stopped", "the router's notice")
    words = ["docker", "ps", "-q", "--filter", f"label=cloudrouter.dev/machine={machine}"]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b""
    user.ok("resume", machine)
    until_running(user, machine, "cache")


@pytest.mark.parametrize("after_s", [0.2, 0.5, 0.8, 1.2, 2.0])
def test_router_when_killed_while_sidecars_are_made_then_leaves_nothing_in_the_end(
    user: User, redis: str, after_s: float
) -> None:
    user.ok("server", "start")
    pid = user.json("server", "status")["pid"]
    wanted = ("--app", f"one={redis},rw", "--app", f"two={redis},ro")
    with user.popen("start", "--image", "core", *wanted) as starting:
        time.sleep(after_s)  # the very moment is what the test varies
        subprocess.run(["kill", "-9", str(pid)], check=False)
        starting.send_signal(signal.SIGINT)
        starting.communicate(timeout=120)
    for machine in user.json("ls", "-a")["machines"]:
        if machine["state"] != "gone":
            user.ok("delete", machine["id"])
    label = f"label=cloudrouter.dev/router={user.router_id()}"

    def left() -> str:
        listed = [["ps", "-aq", "--filter", f"{label}", "--filter", "label=cloudrouter.dev/machine"]]
        listed.append(["volume", "ls", "-q", "--filter", label])
        return "".join(
            subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout for words in listed
        )

    until(lambda: not left(), "everything gone", 90)


def test_machine_when_deleted_then_no_container_and_no_volume_is_left(resident: User, web: str) -> None:
    assert len(of_machine(web)) == 3
    assert len(of_machine(web, "volume")) == 1
    resident.ok("delete", web)
    assert of_machine(web) == []
    assert of_machine(web, "volume") == []
    for path in (resident.base / "state").glob("router.db*"):
        assert SECRET.encode() not in path.read_bytes(), path
