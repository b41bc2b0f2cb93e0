"""Templates and cp with real machines."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import User

pytestmark = pytest.mark.engine

FILE = """
[web]
cpu = 1
memory = "512m"
env = { MODE = "test", SECRET = "$OWN_SECRET" }
labels = { agent = "me" }
commands = ["test -f main.py && echo $MODE > made", "cat made >&2"]
background = ["sleep 1000"]

[broken]
commands = ["echo before", "echo why >&2; exit 7", "echo never > never"]
"""


@pytest.fixture
def project(user: User, tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text("print(1)\n")
    (user.base / "templates.toml").write_text(FILE)
    user.env["OWN_SECRET"] = "hunter2hunter2"
    return tmp_path


def test_a_template_is_done_in_full(user: User, project: Path) -> None:
    done = user.ok("start", "-T", "web", project, "--json")
    found = json.loads(done.out)
    machine = str(found["id"])
    assert [(one["exit_code"], one["output_tail"]) for one in found["commands"]] == [(0, ""), (0, "test\n")]
    assert "$ cat made >&2 (2/2)\n  test\n" in done.err_text
    assert found["labels"]["template"] == "web"
    assert (found["cpu"], found["memory_bytes"], found["labels"]["agent"]) == (1, 512 * 1024**2, "me")
    assert [job["id"] for job in user.json("ps", machine)["jobs"]] == [found["jobs"][0]["id"]]
    assert user.ok("ssh", machine, "echo $SECRET").out_text == "hunter2hunter2\n"
    assert "hunter2hunter2" not in done.err_text
    inspected = subprocess.run(["docker", "ps", "-q"], check=True, capture_output=True, text=True).stdout.split()
    facts = subprocess.run(["docker", "inspect", *inspected], check=True, capture_output=True, text=True).stdout
    assert "hunter2hunter2" not in facts


def test_a_failing_command_leaves_nothing(user: User, project: Path) -> None:
    done = user.run("start", "-T", "broken", project, "--json")
    error = json.loads(done.out)["error"]
    assert (done.code, error["code"]) == (1, "command_failed")
    assert (error["details"]["exit_code"], error["details"]["output_tail"]) == (7, "why\n")
    assert "  before\n" in done.err_text
    assert user.machines() == []


def test_a_failing_command_leaves_the_machine_when_asked_to(user: User, project: Path) -> None:
    done = user.run("start", "-T", "broken", "--keep-on-failure", project)
    assert (done.code, done.out) == (1, b"")
    kept = user.machines()
    assert [one["state"] for one in kept] == ["running"]
    assert f"Next: cloudrouter ssh {kept[0]['id']}" in done.err_text
    assert user.ok("ssh", kept[0]["id"], "ls").out_text == "main.py\n"


def test_run_with_a_template(user: User, project: Path) -> None:
    assert user.ok("run", "-T", "web", project, "cat made").out_text == "test\n"
    assert user.machines() == []


def test_an_environment_file(user: User, tmp_path: Path) -> None:
    (tmp_path / "vars").write_text("export A='one two'\nB=\"x\\ny\" # said\n")
    done = user.ok("run", "--env-file", tmp_path / "vars", "--", "/bin/sh", "-c", 'printf "%s|%s" "$A" "$B"')
    assert done.out_text == "one two|x\ny"


def test_cp_between_here_and_two_machines(user: User, tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "tool").write_text("#!/bin/sh\necho works\n")
    (tmp_path / "tree" / "sub" / "tool").chmod(0o755)
    (tmp_path / "tree" / "link").symlink_to("sub/tool")
    first, second = user.start(), user.start()
    user.ok("cp", tmp_path / "tree", f"{first}:")
    user.ok("cp", f"{first}:tree", f"{second}:moved")
    assert user.ok("ssh", second, "moved/link").out == b"works\n"
    user.ok("cp", f"{second}:moved/.", tmp_path / "back")
    assert (tmp_path / "back" / "sub" / "tool").stat().st_mode & 0o111
    data = bytes(range(256)) * 1000
    user.ok("cp", "-", f"{second}:blob", input=data)
    assert user.ok("cp", f"{second}:blob", "-").out == data
    assert user.ok("ssh", second, "wc -c < blob").out == b"256000\n"
