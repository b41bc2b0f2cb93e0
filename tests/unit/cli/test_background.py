"""`start --detach`: the id at once, the rest in the background, and its failure found again."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from cloudrouter.cli import background
from cloudrouter.wire.errors import CloudRouterError, Internal, NotFound

ID = "cr_7k2m9xqd"

SCRIPT = """
import os, sys
from cloudrouter.cli import launching
from cloudrouter.cli.main import run
from cloudrouter.wire.errors import NoCapacity

def launch(args, folder, request, progress, *, keep_on_failure):
    if sys.argv[1] == "early":
        raise NoCapacity("The host is full.", fix="Wait.")
    if sys.argv[1] == "defect":
        raise KeyError("x")
    if folder:
        left = "Left behind: 1 secret (.env)."
        progress({"phase": "selected", "files": 1, "bytes": 1, "left_behind": left, "notes": []})
    progress({"phase": "created", "id": "cr_7k2m9xqd", "machine": {"id": "cr_7k2m9xqd", "state": "pending"}})
    os.read(int(os.environ["GO"]), 1)  # until the test has seen the id
    progress({"phase": "booting", "progress": {"step": "core 1/2", "of": 2}})
    if sys.argv[1] == "late":
        raise NoCapacity("The host is full now.")
    return {}

launching.launch_machine = launch
sys.exit(run(["start", "--detach", *sys.argv[2:]]))
"""


def detach(case: str, *words: str, go: int) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GO": str(go)}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, case, *words],
        check=False, capture_output=True, text=True, timeout=60, env=env, pass_fds=(go,),
    )  # fmt: skip


@pytest.fixture
def log(places: Path) -> Path:
    return places / "state" / "logs" / f"start-{ID}.log"


def test_detach_when_created_then_prints_the_id_before_the_boot_and_leaves_no_log(log: Path) -> None:
    go, told = os.pipe()
    done = detach("good", go=go)
    assert (done.returncode, done.stdout) == (0, f"{ID}\n")
    assert f"cloudrouter status {ID}" in done.stderr
    assert log.read_text() == f"{ID} boots\n"
    assert log.stat().st_mode & 0o777 == 0o600
    child = only_child_of_session(log)
    os.close(told)
    os.close(go)
    wait_for(child)
    assert not log.exists()
    assert background.failure_of(ID) == ""


def test_detach_when_something_stays_behind_then_says_what(log: Path) -> None:
    go, told = os.pipe()
    done = detach("good", ".", go=go)
    child = only_child_of_session(log)
    os.close(told)
    os.close(go)
    wait_for(child)
    assert done.stderr.splitlines()[0] == "Left behind: 1 secret (.env)."


def test_detach_when_it_fails_later_then_status_can_tell_why(log: Path) -> None:
    go, told = os.pipe()
    done = detach("late", "--json", go=go)
    assert json.loads(done.stdout) == {"id": ID, "state": "pending", "left_behind": ""}
    child = only_child_of_session(log)
    assert background.failure_of(ID) == ""
    os.close(told)
    os.close(go)
    wait_for(child)
    assert log.read_text().splitlines()[1] == "core 1/2"
    assert background.failure_of(ID) == "The host is full now."


@pytest.mark.parametrize(
    ("case", "code", "message"),
    [("early", 5, "cloudrouter: The host is full."), ("defect", 1, "cloudrouter: Something unforeseen happened")],
)
def test_detach_when_it_fails_at_once_then_is_a_failure_of_ours(case: str, code: int, message: str, log: Path) -> None:
    go, told = os.pipe()
    done = detach(case, go=go)
    os.close(told)
    os.close(go)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(message)
    assert not log.exists()


def test_failure_when_the_log_is_odd_then_says_little_and_does_not_fail(log: Path) -> None:
    log.parent.mkdir(parents=True)
    for text, said in (("", ""), ("boots\n", ""), ("failed: {\n", "its background start failed")):
        log.write_text(text)
        assert background.failure_of(ID) == said
    log.write_text(f"failed: {json.dumps(NotFound('gone').to_json())}\n")
    assert background.failure_of(ID) == "gone"


def test_log_path_when_the_id_is_none_then_is_refused() -> None:
    with pytest.raises(Internal):
        background.log_path("../../etc/passwd")


def test_old_logs_when_there_are_many_then_the_oldest_go(log: Path) -> None:
    log.parent.mkdir(parents=True)
    for number in range(60):
        path = log.parent / f"start-cr_{number}.log"
        path.touch()
        os.utime(path, (number, number))
    (log.parent / "router.log").touch()
    background._remove_old_logs(str(log.parent))
    left = sorted(log.parent.iterdir())
    assert len(left) == background.KEPT_LOGS + 1
    assert not (log.parent / "start-cr_9.log").exists()
    assert (log.parent / "start-cr_10.log").exists()


def only_child_of_session(log: Path) -> int:
    """A descriptor of the process that has the log open."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/fd/2") == str(log):
                    return os.pidfd_open(int(name))
            except OSError:
                continue
    raise AssertionError("no process writes this log")


def wait_for(process: int) -> None:
    assert select.select([process], [], [], 30)[0], "the background process did not end"
    os.close(process)


def test_errors_when_told_over_the_pipe_then_keep_their_class() -> None:
    with pytest.raises(CloudRouterError) as caught:
        background.begin(fail_at_once)
    assert caught.value.code == "not_found"


def fail_at_once(_progress: object) -> dict[str, object]:
    raise NotFound("There is no folder.")
