"""Measures the browser's verbs against agent-browser run directly inside the machine, in the same run, alternating.

    bench/browser.py           every verb 20 times, about five minutes
    bench/browser.py --quick   fewer repetitions

Needs a container engine with the `docker` client, and the image desktop. The peer is timed inside the machine, from
spawn to end, so that its figure has nothing of ours in it; all three are at the same page of the same Chromium.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from run import CLI, ROOT, Table, alternate, call, p

from cloudrouter import Client

SITE = ROOT / "tests" / "e2e" / "site"
PORT = 8000
PAGE = f"http://localhost:{PORT}/form.html"
TOOL = "/opt/cloudrouter/apps/browser/bin/agent-browser"
CLI_BUDGET_MS, SDK_BUDGET_MS, COLD_BUDGET_S, BATCH_BUDGET = 40.0, 8.0, 3.0, 0.3
STEPS = 20

VERBS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("open", (PAGE,), ("open", PAGE)),
    ("reload", (), ("reload",)),
    ("click", ("#greet",), ("click", "#greet")),
    ("dblclick", ("#twice",), ("dblclick", "#twice")),
    ("type", ("#name", "a"), ("type", "#name", "a")),
    ("fill", ("#name", "Ada"), ("fill", "#name", "Ada")),
    ("press", ("Tab",), ("press", "Tab")),
    ("keydown", ("Shift",), ("keydown", "Shift")),
    ("keyup", ("Shift",), ("keyup", "Shift")),
    ("hover", ("#hot",), ("hover", "#hot")),
    ("focus", ("#search",), ("focus", "#search")),
    ("select", ("#colour", "g"), ("select", "#colour", "g")),
    ("check", ("#terms",), ("check", "#terms")),
    ("uncheck", ("#terms",), ("uncheck", "#terms")),
    ("scroll", ("down", "10"), ("scroll", "down", "10")),
    ("scrollintoview", ("#rows",), ("scrollintoview", "#rows")),
    ("mouse-move", ("40", "40"), ("mouse", "move", "40", "40")),
    ("snapshot", (), ("snapshot",)),
    ("screenshot", (), ("screenshot", "/tmp/bench.png")),
    ("pdf", (), ("pdf", "/tmp/bench.pdf")),
    ("url", (), ("get", "url")),
    ("title", (), ("get", "title")),
    ("get-text", ("h1",), ("get", "text", "h1")),
    ("get-html", ("#rows",), ("get", "html", "#rows")),
    ("get-value", ("#search",), ("get", "value", "#search")),
    ("get-attr", ("#search", "placeholder"), ("get", "attr", "#search", "placeholder")),
    ("get-count", ("li",), ("get", "count", "li")),
    ("get-box", ("#greet",), ("get", "box", "#greet")),
    ("is-visible", ("#greet",), ("is", "visible", "#greet")),
    ("is-enabled", ("#greet",), ("is", "enabled", "#greet")),
    ("is-checked", ("#news",), ("is", "checked", "#news")),
    ("find", ("testid", "greet-button", "click"), ("find", "testid", "greet-button", "click")),
    ("wait", ("#name",), ("wait", "#name")),
    ("eval", ("1 + 1",), ("eval", "1 + 1")),
    ("tab-list", (), ("tab", "list")),
    ("dialog-status", (), ("dialog", "status")),
    ("cookies", (), ("cookies", "get")),
    ("storage-local", (), ("storage", "local")),
    ("network-requests", (), ("network", "requests")),
    ("console", (), ("console",)),
    ("errors", (), ("errors",)),
)  # fmt: skip
"""The verb, its words, and the same for agent-browser; what changes the page leaves it fit for the next one."""

INSIDE = f"""
import json, os, subprocess, sys, time
os.makedirs("/tmp/bench-sockets", mode=0o700, exist_ok=True)
env = {{"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], "AGENT_BROWSER_CDP": "9222", "NO_COLOR": "1",
       "AGENT_BROWSER_SOCKET_DIR": "/tmp/bench-sockets", "AGENT_BROWSER_NO_VERSION_CHECK": "1"}}
for line in sys.stdin:
    began = time.perf_counter()
    done = subprocess.run([{TOOL!r}, "--json", *json.loads(line)], env=env, cwd="/tmp", stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    took = (time.perf_counter() - began) * 1000
    print(json.dumps([done.returncode, took, done.stdout.decode(errors="replace")[:300]]), flush=True)
"""
"""Runs agent-browser in the machine once for each line, and says how long that took."""


class Inside:
    """agent-browser, run directly in the machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def ms(self, words: tuple[str, ...]) -> float:
        """One whole process of it, in milliseconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()
        code, took, said = json.loads(self.process.stdout.readline())
        if code != 0:
            raise SystemExit(f"agent-browser {words} ended with {code}: {said}")
        return float(took)


@contextmanager
def inside(machine: str) -> Iterator[Inside]:
    """A helper in the machine that runs agent-browser, with a daemon of its own at the same Chromium."""
    words = [CLI, "ssh", machine, "--", "python3", "-c", INSIDE]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Inside(process)
        finally:
            process.kill()


def timed(act: Callable[[], Any]) -> float:
    """Milliseconds of a call."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def wall_ms(words: list[str]) -> float:
    """Milliseconds of a whole process; what it says is told when it fails."""
    began = time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    took = (time.perf_counter() - began) * 1000
    if done.returncode != 0:
        raise SystemExit(f"{words} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    return took


def start_site() -> str:
    """A machine where nothing but a small web server runs; its id."""
    done = call([CLI, "start", "--json", str(SITE), "--image", "desktop"], stderr=subprocess.DEVNULL)
    machine = str(json.loads(done.stdout)["id"])
    job = call([CLI, "ssh", machine, "--bg", f"exec python3 serve.py {PORT}"], stderr=subprocess.DEVNULL)
    call([CLI, "wait", machine, job.stdout.decode().strip(), "--port", str(PORT)], stderr=subprocess.DEVNULL)
    return machine


def bench_cold(table: Table, count: int) -> None:
    """The first `browser open` of a machine: desktop, Chromium, attach, page."""
    took = []
    for _ in range(count):
        machine = start_site()
        try:
            took.append(wall_ms([CLI, "browser", "open", machine, PAGE]) / 1000)
        finally:
            call([CLI, "delete", machine], stderr=subprocess.DEVNULL)
    median = p(took, 50)
    table.add("first open where nothing runs", f"{median:.2f} s", f"worst {max(took):.2f} s", f"{median:.2f} s",
              f"{COLD_BUDGET_S:g} s", median <= COLD_BUDGET_S, all=took)  # fmt: skip


def bench_verbs(table: Table, machine: str, count: int, folder: Path) -> None:
    """Each verb through the CLI and through the SDK, beside agent-browser in the machine."""
    with inside(machine) as peer, Client() as client:
        browser = client.get(machine).browser
        for verb, words, tool in VERBS:
            files = [folder / f"{verb}.out"] if verb in {"screenshot", "pdf"} else []
            shell = [CLI, "browser", verb, machine, *words, *map(str, files)]
            method = getattr(browser, "evaluate" if verb == "eval" else verb.replace("-", "_"))
            ours, sdk, theirs = alternate(
                count,
                lambda shell=shell: wall_ms(shell),  # type: ignore[misc]
                lambda method=method, words=(*words, *files): timed(lambda: method(*words)),  # type: ignore[misc]
                lambda tool=tool: peer.ms(tool),  # type: ignore[misc]
            )
            base = p(theirs, 50)
            for way, values, budget in (("CLI", ours, CLI_BUDGET_MS), ("SDK", sdk, SDK_BUDGET_MS)):
                more = p(values, 50) - base
                table.add(f"{verb}, {way}", f"{p(values, 50):.1f} ms", f"inside {base:.1f} ms", f"{more:+.1f} ms",
                          f"+ {budget:g} ms", more <= budget, p95=p(values, 95), peer_p95=p(theirs, 95))  # fmt: skip


def bench_batch(table: Table, machine: str, count: int) -> None:
    """Twenty steps in one call beside twenty calls."""
    steps = [("fill", "#name", f"Ada {turn}") if turn % 2 else ("get-value", "#name") for turn in range(STEPS)]
    given = json.dumps(steps).encode()

    def calls() -> float:
        return sum(wall_ms([CLI, "browser", verb, machine, *words]) for verb, *words in steps)

    def batch() -> float:
        return timed(lambda: call([CLI, "browser", "batch", machine], input=given, stderr=subprocess.DEVNULL))

    ours, theirs = alternate(count, batch, calls)
    ratio = p(ours, 50) / p(theirs, 50)
    table.add(f"{STEPS} steps by batch", f"{p(ours, 50):.0f} ms", f"{STEPS} calls {p(theirs, 50):.0f} ms",
              f"{ratio:.2f}x", f"{BATCH_BUDGET:g}x", ratio <= BATCH_BUDGET)  # fmt: skip


def write(table: Table) -> None:
    """Keep the figures with date and host."""
    now = dt.datetime.now(dt.UTC)
    result = {
        "at": now.isoformat(timespec="seconds"),
        "host": f"{platform.platform()}, {os.cpu_count()} cpus",
        "command": " ".join(["bench/browser.py", *sys.argv[1:]]),
        "rows": table.rows,
    }
    path = ROOT / "bench" / "results" / f"browser-{now:%Y-%m-%d}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n  written to {path.relative_to(ROOT)}\n")


def main() -> int:
    """Measure and print; the status is 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, and no file of results")
    quick = parser.parse_args().quick
    table = Table()
    with tempfile.TemporaryDirectory(prefix="cr-bench-") as base:
        os.environ |= {"CLOUDROUTER_STATE_DIR": f"{base}/state", "CLOUDROUTER_RUNTIME_DIR": f"{base}/run"}
        try:
            bench_cold(table, 2 if quick else 5)
            machine = start_site()
            call([CLI, "browser", "open", machine, PAGE])
            bench_verbs(table, machine, 5 if quick else STEPS, Path(base))
            bench_batch(table, machine, 2 if quick else 5)
        finally:
            call([CLI, "uninstall", "--machines", "--volumes", "--state", "--yes"], stderr=subprocess.DEVNULL)
            call([CLI, "server", "stop"], stderr=subprocess.DEVNULL)
    if not quick:
        write(table)
    return 0 if all(row["ok"] for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
