"""Twenty goals with a check of the real outcome; how to get there is in SKILL.md, not here."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent import LABEL, Agent, Failed, exec_in, need

ROOT = Path(__file__).resolve().parent.parent


def run_tests(agent: Agent) -> None:
    """Install a project's packages and run its tests."""
    shutil.copytree(
        ROOT / "examples" / "todo-web", agent.folder / "todo", ignore=shutil.ignore_patterns("node_modules")
    )
    machine = agent.start("b-tests", "./todo")
    done = agent.do("ssh", "npm ci && npm test", "$ID", put={'"$ID"': machine})
    need(re.search(r"fail 0|\d+ passed", done.stdout + done.stderr), "the tests' summary is missing")


def one_shot(agent: Agent) -> None:
    """Run one command on a folder and keep nothing."""
    done = agent.do("run", "./my-project", put={"./my-project": "./app", "npm ci && npm test": "cat hello.txt"})
    need(done.stdout == "hello\n", "the file's content is missing")
    left = json.loads(agent.do("ls", "--json").stdout)["machines"] if agent.manual.find("ls", "--json") else []
    need(not left, "a machine stayed")


def dev_server(agent: Agent) -> None:
    """Start a server in the background, wait until it answers, ask it."""
    machine = agent.start("b-server")
    agent.do("--bg", "npm run dev", put={'"$ID"': machine, "npm run dev": "sleep 1; python3 -m http.server 3000"})
    agent.do("wait", "--port 3000", put={'"$ID"': machine})
    done = agent.do("curl -sS localhost:3000", put={'"$ID"': machine, "localhost:3000": "localhost:3000/hello.txt"})
    need(done.stdout == "hello\n", "the server's answer is missing")


def health_url(agent: Agent) -> None:
    """Wait for a URL instead of a port."""
    machine = agent.start("b-url")
    agent.do(
        "--bg",
        "npm run dev",
        put={
            '"$ID"': machine,
            "npm run dev": "mkdir -p s && cd s && touch health && sleep 1 && python3 -m http.server 3000",
        },
    )
    agent.do("wait", "--url", put={'"$ID"': machine})


def failing_code(agent: Agent) -> None:
    """Learn the exact exit status of a command that fails."""
    machine = agent.start("b-fail")
    exec_in(agent, machine, "exit 37", expect=37)


def long_log(agent: Agent) -> None:
    """Read the end of a long log without reading all of it."""
    machine = agent.start("b-log")
    job = agent.do("--bg", "npm run dev", put={'"$ID"': machine, "npm run dev": "seq 1 200000"}).stdout.strip()
    agent.do("wait", '"$JOB"', put={'"$ID"': machine, '"$JOB"': job})
    before = agent.bytes
    done = agent.do("logs", "--tail 50", put={'"$ID"': machine, '"$JOB"': job, "--tail 50": "--tail 3"})
    need(done.stdout.split() == ["199998", "199999", "200000"], f"the end is wrong: {done.stdout[-80:]}")
    need(agent.bytes - before < 2000, "too much was read")


def job_status(agent: Agent) -> None:
    """Learn how a background command ended."""
    machine = agent.start("b-job")
    job = agent.do("--bg", "npm run dev", put={'"$ID"': machine, "npm run dev": "sleep 1; exit 9"}).stdout.strip()
    agent.do("wait", '"$JOB"', put={'"$ID"': machine, '"$JOB"': job}, expect=9)


def kill_job(agent: Agent) -> None:
    """End a background command."""
    machine = agent.start("b-kill")
    job = agent.do("--bg", "npm run dev", put={'"$ID"': machine, "npm run dev": "sleep 600"}).stdout.strip()
    agent.do("kill", '"$JOB"', put={'"$ID"': machine, '"$JOB"': job})
    done = exec_in(agent, machine, "pgrep -fx 'sleep 600' || echo none")
    need(done.stdout.strip() == "none", "it still runs")


def two_machines(agent: Agent) -> None:
    """Two attempts at once, each with its own variable."""
    machines = []
    for example in ("try-a", "try-b"):
        put = {"./my-project": "./app", example: f"b-{example}", "agent=me": LABEL}
        machines.append(agent.do("start", f"-n {example}", put=put).stdout.strip())
    command = 'echo "$MODE" > who'
    line = agent.fill(
        agent.look_up('ssh "$A"', "&"), {'"$A"': machines[0], '"$B"': machines[1], '"npm test"': f"'{command}'"}
    )
    need(agent.shell(line).returncode == 0, "one of them failed")
    told = [exec_in(agent, machine, "cat who").stdout.strip() for machine in machines]
    need(told == ["a", "b"], f"wrong variables: {told}")


def files_out_and_in(agent: Agent) -> None:
    """Send a changed folder, make something of it, fetch the result."""
    machine = agent.start("b-files")
    (agent.folder / "src").mkdir()
    (agent.folder / "src" / "a.txt").write_text("new\n")
    agent.do("upload", put=_examples(agent.look_up("upload"), machine, {"./src": "./src", " src": " src"}))
    exec_in(agent, machine, "mkdir dist && tr a-z A-Z < src/a.txt > dist/A.txt")
    agent.do("download", '"$ID"', put={'"$ID"': machine, "./dist": "./out"})
    need((agent.folder / "out" / "A.txt").read_text() == "NEW\n", "the result is not here")


def copy_one_file(agent: Agent) -> None:
    """Fetch a single file."""
    machine = agent.start("b-cp")
    exec_in(agent, machine, "date > report.html")
    agent.do("cp", '"$ID":report.html', put={'"$ID"': machine})
    need((agent.folder / "report.html").stat().st_size > 10, "the file is not here")


def wrong_id(agent: Agent) -> None:
    """Recover from a mistyped id by following the error's advice."""
    machine = agent.start("b-wrong")
    wrong = "cr_zzzzzzzz"
    line = agent.fill(
        agent.look_up("ssh", "npm ci && npm test", "$ID"), {'"$ID"': wrong, "npm ci && npm test": "cat hello.txt"}
    )
    failed = agent.shell(line)
    advice = re.search(r"^Next: (cloudrouter .*)$", failed.stderr, re.M)
    need(failed.returncode == 255 and advice, "the error has no advice")
    assert advice
    listed = agent.shell(advice.group(1)).stdout
    need(machine in listed, "the advice does not lead to the machine")
    need(agent.shell(line.replace(wrong, machine)).stdout == "hello\n", "the second try failed")
    agent.retries += 1


def resume_stopped(agent: Agent) -> None:
    """Run a command in a machine that turns out to be stopped."""
    machine = agent.start("b-stopped")
    agent.do("stop", put=_examples(agent.look_up("stop"), machine))
    done = exec_in(agent, machine, "cat hello.txt")
    need(done.stdout == "hello\n", "the file is gone")


def delete_own(agent: Agent) -> None:
    """Delete what carries the own label, and nothing else."""
    line = agent.fill(
        agent.look_up("start", "-l agent=me"), {"./my-project": "./app -n b-other", "agent=me": "agent=other"}
    )
    other = agent.shell(line).stdout.strip()
    mine = [agent.start("b-own-1"), agent.start("b-own-2")]
    agent.do("delete", "--all", put={"agent=me": LABEL})
    left = agent.shell("cloudrouter ls").stdout
    need(other in left, "somebody else's machine is gone")
    need(not any(machine in left for machine in mine), "an own machine stayed")


def timeout(agent: Agent) -> None:
    """Bound a command that hangs."""
    machine = agent.start("b-timeout")
    began = time.monotonic()
    line = agent.look_up("ssh", "--timeout")
    done = agent.shell(agent.fill(line, {"10m": "1s", " ID ": f" {machine} ", "CMD": "sleep 60"}))
    need(done.returncode == 124, f"the status is {done.returncode}")
    need(time.monotonic() - began < 20, "it was not bounded")


def pipe_stdin(agent: Agent) -> None:
    """Send data through stdin."""
    machine = agent.start("b-stdin")
    done = agent.do("echo", "wc -c", put={'"$ID"': machine})
    need(done.stdout.strip() == "11", f"wc said {done.stdout}")


def dockerfile(agent: Agent) -> None:
    """A machine from the project's own Dockerfile."""
    (agent.folder / "app" / "Dockerfile").write_text("FROM cloudrouter/core\nRUN echo made > /etc/made-by-dockerfile\n")
    put = {"./my-project --build ./my-project": "./app --build ./app -n b-build"}
    machine = agent.do("start", "--build", put=put).stdout.strip()
    need(exec_in(agent, machine, "cat /etc/made-by-dockerfile").stdout == "made\n", "the image is not the Dockerfile's")


def volume(agent: Agent) -> None:
    """Keep a file longer than a machine, and read it in another."""
    put = {"./my-project": "./app -n b-vol-1", "data:/data": "bench-data:/data"}
    first = agent.do("start", "--volume", put=put).stdout.strip()
    exec_in(agent, first, "echo kept > /data/file")
    agent.do("delete", '"$ID"', put={'"$ID"': first})
    put["./my-project"] = "./app -n b-vol-2"
    second = agent.do("start", "--volume", put=put).stdout.strip()
    need(exec_in(agent, second, "cat /data/file").stdout == "kept\n", "the file did not stay")


def find_by_label(agent: Agent) -> None:
    """Find the own machines among others."""
    machine = agent.start("b-label")
    listed = agent.shell(
        agent.fill(agent.look_up("ls", "-l"), _only(agent.look_up("ls", "-l"), r"\w+=\w+", LABEL))
    ).stdout
    need(machine in listed or "b-label" in listed, "the own machine is not listed")


def json_result(agent: Agent) -> None:
    """Take a command's outcome apart as a program would."""
    machine = agent.start("b-json")
    line = agent.look_up("ssh", "--json")
    done = agent.shell(agent.fill(line, {" ID ": f" {machine} ", "CMD": "echo out; echo err >&2; exit 4"}))
    told: dict[str, Any] = json.loads(done.stdout)
    need((told["exit_code"], told["stdout"], told["stderr"]) == (4, "out\n", "err\n"), f"wrong: {told}")


def _examples(line: str, machine: str, more: dict[str, str] | None = None) -> dict[str, str]:
    """What to put for a machine in an example of a help page: its name or id there."""
    found = re.search(r"cr_[a-z0-9]{8}|my-project|\"\$ID\"|\bID\b", line)
    if not found:
        raise Failed(f"`{line}` names no machine")
    return {found.group(): machine, **{old: new for old, new in (more or {}).items() if old in line}}


def _only(line: str, pattern: str, value: str) -> dict[str, str]:
    found = re.search(pattern, line)
    if not found:
        raise Failed(f"`{line}` has no example to replace")
    return {found.group(): value}


TASKS: list[Callable[[Agent], None]] = [
    run_tests, one_shot, dev_server, health_url, failing_code, long_log, job_status, kill_job, two_machines,
    files_out_and_in, copy_one_file, wrong_id, resume_stopped, delete_own, timeout, pipe_stdin, dockerfile, volume,
    find_by_label, json_result,
]  # fmt: skip
