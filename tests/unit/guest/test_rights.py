"""A guest that is root gives its commands the rights of the machine's user, and no others."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.guest.machine import SRC, Machine
from tests.unit.guest.test_files import put

from cloudrouter.trees.pack import pack

USER = "nobody"
PYTHON = "/usr/bin/python3"


def fault() -> str:
    """Why this cannot be tested here; empty when it can."""
    if os.geteuid() != 0:
        return "only root can give rights away"
    try:
        account = pwd.getpwnam(USER)
        check = [
            "-c",
            f"import sys, os; sys.exit(sys.version_info < (3, 11) or not os.path.exists({SRC + '/cloudrouter'!r}))",
        ]
        done = subprocess.run([PYTHON, *check], user=account.pw_uid, group=account.pw_gid, check=False)
    except (KeyError, OSError) as error:
        return f"{USER} cannot run {PYTHON} here: {error}"
    return "" if done.returncode == 0 else f"{USER} cannot run the guest's modules with {PYTHON}"


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A guest that runs commands as another user."""
    reason = fault()
    if reason:
        pytest.skip(reason)
    machine = Machine({"CLOUDROUTER_USER": USER}, python=PYTHON)
    account = pwd.getpwnam(USER)
    os.chmod(machine.root, 0o755)
    os.chown(machine.workspace, account.pw_uid, account.pw_gid)
    yield machine
    machine.remove()


async def test_a_command_when_run_then_is_the_user_in_all_its_groups_and_no_more(machine: Machine) -> None:
    account = pwd.getpwnam(USER)
    for tty in (None, {"cols": 80, "rows": 24}):
        outcome = await machine.run("cat /proc/self/status; echo User: $USER; cat /etc/shadow; true", tty=tty)
        status = dict(line.split(":", 1) for line in outcome.stdout.decode().splitlines() if ":" in line)
        assert [int(word) for word in status["Uid"].split()] == [account.pw_uid] * 4  # the saved one, too
        assert [int(word) for word in status["Gid"].split()] == [account.pw_gid] * 4
        assert {int(word) for word in status["Groups"].split()} == set(os.getgrouplist(USER, account.pw_gid))
        assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4
        assert status["User"].strip() == USER
        assert b"Permission denied" in outcome.stdout + outcome.stderr


async def test_the_guest_when_a_command_was_started_then_is_root_again(machine: Machine) -> None:
    def status() -> list[str]:
        with open(f"/proc/{machine.pid}/status") as file:
            return [line for line in file if line.startswith(("Uid", "Gid", "Groups", "Cap"))]

    before = status()
    await machine.run("true")
    await machine.ask({"op": "exec", "argv": ["/root/no-such-program"]})
    await machine.run("true", cwd="/root")
    assert status() == before


async def test_a_terminal_when_given_then_belongs_to_the_user(machine: Machine) -> None:
    outcome = await machine.run("stat -c %U $(tty); echo word >/dev/tty", tty={"cols": 80, "rows": 24})
    assert outcome.stdout == f"{USER}\r\nword\r\n".encode()


async def test_a_folder_when_the_user_may_not_enter_it_then_neither_may_a_command(machine: Machine) -> None:
    os.makedirs(f"{machine.root}/closed/open", mode=0o755)
    os.chmod(f"{machine.root}/closed", 0o700)
    for place in ("closed", "closed/open"):  # the second one is open, behind the first
        for op in ("exec", "job.start"):
            outcome = await machine.ask({"op": op, "line": "pwd; ls", "cwd": f"{machine.root}/{place}"})
            assert outcome.error["code"] == "usage"
            assert "cannot be entered" in outcome.error["message"]
            assert outcome.stdout == b""


async def test_a_job_when_started_then_is_the_users_and_its_record_is_not(machine: Machine) -> None:
    job = (await machine.ask({"op": "job.start", "line": "id -un; id -G; cat $HOME/../state/jobs/*/meta.json"})).final[
        "job"
    ]
    outcome = await machine.ask({"op": "job.logs", "job": job["id"], "follow": True})
    assert outcome.stdout.split()[0].decode() == USER
    assert outcome.final["end"]["code"] == 1
    assert stat.S_IMODE(os.stat(f"{machine.state}/jobs").st_mode) == 0o700


async def test_files_when_put_then_are_the_users_and_only_where_the_user_may_write(
    machine: Machine, tmp_path: Any
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert (await put(machine, pack(str(tmp_path)), path="new", kind="tree")).final["done"]["files"] == 1
    assert os.stat(f"{machine.workspace}/new/file").st_uid == pwd.getpwnam(USER).pw_uid
    outcome = await put(machine, pack(str(tmp_path)), path=f"{machine.root}/not-mine", kind="tree")
    assert outcome.error["code"] == "transfer_failed"
    assert not os.path.exists(f"{machine.root}/not-mine")


async def test_files_when_got_then_only_those_that_the_user_may_read(machine: Machine) -> None:
    os.symlink("/etc/shadow", f"{machine.workspace}/link")
    for path in ("/etc/shadow", "link"):
        outcome = await machine.ask({"op": "get", "path": path})
        assert outcome.error["code"] == "transfer_failed"
        assert outcome.stdout == b""
