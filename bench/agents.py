"""Twenty tasks done by scripted agents that know only SKILL.md and `--help`: wrong calls, retries, bytes are counted.

    bench/agents.py             all tasks, a table, and bench/results/agents-DATE.json
    bench/agents.py TASK...     some of them

A scripted agent finds each command in SKILL.md (or, failing that, on a verb's help page) by words of its goal, puts
its own values where the manual has examples, and gives the line to a shell. On a failure it does what the `Next:` line
says. It has no other knowledge: a manual that lies, lacks a step or has unclear errors makes tasks fail here.
bench/README.md says what this cannot show.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent import Agent, Failed, Manual
from agent_tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
CLI = ROOT / ".venv" / "bin" / "cloudrouter"


def measure(task: Callable[[Agent], None], environ: dict[str, str]) -> dict[str, Any]:
    """One task in an empty folder, with everything it left removed afterwards."""
    manual = Manual((ROOT / "skills" / "cloudrouter" / "SKILL.md").read_text())
    with tempfile.TemporaryDirectory(prefix="cloudrouter-agents-") as folder:
        (Path(folder) / "app").mkdir()
        (Path(folder) / "app" / "hello.txt").write_text("hello\n")
        agent = Agent(manual, Path(folder), environ)
        began = time.monotonic()
        try:
            task(agent)
            outcome = ""
        except (Failed, subprocess.TimeoutExpired, ValueError, OSError) as error:
            outcome = str(error) or repr(error)
        seconds = time.monotonic() - began
        subprocess.run([CLI, "delete", "--all", "--yes"], env=environ, capture_output=True, check=False)
    if outcome:
        print(f"--- {task.__name__}: {outcome}", *agent.said[-4:], sep="\n", file=sys.stderr)
    return {
        "task": task.__name__, "goal": (task.__doc__ or "").strip().rstrip("."), "reached": not outcome,
        "calls": agent.calls, "wrong": agent.wrong, "retries": agent.retries, "help_pages": agent.lookups,
        "bytes": agent.bytes, "seconds": round(seconds, 1),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, with their sums."""
    lines = [
        "| goal | reached | calls | wrong | retries | help pages | bytes | s |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        reached = "yes" if row["reached"] else "**no**"
        lines.append(
            f"| {row['goal']} | {reached} | {row['calls']} | {row['wrong']} | {row['retries']} | {row['help_pages']} "
            f"| {row['bytes']} | {row['seconds']} |"
        )
    sums = {key: sum(row[key] for row in rows) for key in ("calls", "wrong", "retries", "help_pages", "bytes")}
    reached = sum(row["reached"] for row in rows)
    seconds = sum(row["seconds"] for row in rows)
    cells = [f"{reached} of {len(rows)}", *(str(value) for value in sums.values()), f"{seconds:.0f}"]
    return "\n".join([*lines, f"| **all** | {' | '.join(cells)} |"])


def main(argv: list[str]) -> int:
    """Run the tasks with a router of their own; 1 when a goal was not reached."""
    chosen = [task for task in TASKS if not argv or task.__name__ in argv]
    own = tempfile.mkdtemp(prefix="cloudrouter-agents-router-")
    environ = {
        **os.environ,
        "PATH": f"{CLI.parent}:{os.environ['PATH']}",
        "CLOUDROUTER_STATE_DIR": f"{own}/state",
        "CLOUDROUTER_RUNTIME_DIR": f"{own}/run",
    }
    try:
        rows = [measure(task, environ) for task in chosen]
    finally:
        clear = ["uninstall", "--machines", "--volumes", "--state", "--yes"]
        subprocess.run([CLI, *clear], env=environ, capture_output=True, check=False)
        subprocess.run([CLI, "server", "stop"], env=environ, capture_output=True, check=False)
        shutil.rmtree(own, ignore_errors=True)
    print(table(rows))
    if not argv:
        today = dt.datetime.now(dt.UTC).date()
        result = ROOT / "bench" / "results" / f"agents-{today}.json"
        result.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(row["reached"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
