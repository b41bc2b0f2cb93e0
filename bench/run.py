"""Measures CloudRouter against its peers in the same run, alternating, and prints one table.

    make bench            every figure, about three minutes
    bench/run.py --quick  fewer repetitions

Needs a container engine with the `docker` client, and the image (`make image`). Figures go to bench/results/.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYTHON = str(ROOT / ".venv" / "bin" / "python")
CLI = str(ROOT / ".venv" / "bin" / "cloudrouter")


def call(words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run to the end; a failure ends the measurement, because a figure of a failing command is worth nothing."""
    return subprocess.run(list(words), check=True, stdout=subprocess.PIPE, **options)


def wall_ms(words: Sequence[str]) -> float:
    """Wall time of one whole process in milliseconds."""
    began = time.perf_counter()
    call(words)
    return (time.perf_counter() - began) * 1000


def cpu_ms(words: Sequence[str]) -> float:
    """User and system time of one whole process in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call(words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000


def alternate(count: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Each measure once, then each again ...: what drifts, drifts for all."""
    for measure in measures:
        measure()
    rounds = [[measure() for measure in measures] for _ in range(count)]
    return [list(column) for column in zip(*rounds, strict=True)]


def p(values: Sequence[float], percent: int) -> float:
    """A percentile by rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


class Table:
    """Collects rows and prints them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, name: str, ours: str, peer: str, figure: str, budget: str, ok: bool, **raw: Any) -> None:
        """One line: what, ours, the peer's, the figure that has a budget, the budget, whether it is met."""
        self.rows.append(
            {"name": name, "ours": ours, "peer": peer, "figure": figure, "budget": budget, "ok": ok, **raw}
        )
        print(
            f"  {name:<34} {ours:>16} {peer:>22} {figure:>14}  budget {budget:<10} {'ok' if ok else 'MISSED'}",
            flush=True,
        )


def start(*words: str) -> str:
    """A machine with an empty workspace; its id."""
    done = call([CLI, "start", "--json", *words], stderr=subprocess.DEVNULL)
    return str(json.loads(done.stdout)["id"])


def container_of(machine: str) -> str:
    """The container of a machine."""
    done = call(["docker", "ps", "-q", "--filter", f"label=cloudrouter.dev/machine={machine}"])
    return done.stdout.decode().strip()


def image_reference() -> str:
    """The image that machines boot from."""
    done = call(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "cloudrouter/core"])
    return done.stdout.decode().split()[0]


def bench_cold_start_of_python(table: Table, count: int) -> None:
    """CPU of the CLI's two lightest verbs over a bare interpreter."""
    bare, version, ls = alternate(
        count,
        lambda: cpu_ms([PYTHON, "-c", "pass"]),
        lambda: cpu_ms([CLI, "--version"]),
        lambda: cpu_ms([CLI, "ls"]),
    )
    floor = min(bare)
    for name, values, budget in (
        ("--version, CPU over bare python", version, 10),
        ("ls, CPU over bare python", ls, 30),
    ):
        extra = min(values) - floor
        table.add(
            name, f"{min(values):.1f} ms", f"{floor:.1f} ms", f"+{extra:.1f} ms", f"+{budget} ms", extra <= budget
        )


def bench_exec(table: Table, machine: str, count: int) -> None:
    """The whole process `ssh ID true` beside `docker exec`."""
    container = container_of(machine)
    ours, peer = alternate(
        count,
        lambda: wall_ms([CLI, "ssh", machine, "true"]),
        lambda: wall_ms(["docker", "exec", container, "true"]),
    )
    ratio = statistics.median(a / b for a, b in zip(ours, peer, strict=True))
    table.add(
        "ssh ID true / docker exec",
        f"{p(ours, 50):.1f} ms",
        f"docker {p(peer, 50):.1f} ms",
        f"{ratio:.2f}x",
        "0.60x",
        ratio <= 0.6,
        p95=p(ours, 95),
        peer_p95=p(peer, 95),
    )


def bench_sdk(table: Table, machine: str, count: int) -> None:
    """A second command through the SDK in one process."""
    from cloudrouter import Client

    values = []
    with Client() as client:
        found = client.get(machine)
        found.run("true").check()
        for _ in range(count):
            began = time.perf_counter()
            found.run("true").check()
            values.append((time.perf_counter() - began) * 1000)
    median = p(values, 50)
    table.add(
        "second exec through the SDK, p50",
        f"{median:.1f} ms",
        f"p95 {p(values, 95):.1f} ms",
        f"{median:.1f} ms",
        "5 ms",
        median <= 5,
    )


def bench_async(table: Table, machine: str, count: int) -> None:
    """Commands through the AsyncClient: one after the other, and fifty at once beside fifty `docker exec`."""
    import asyncio

    from cloudrouter import AsyncClient

    async def measure() -> tuple[list[float], float]:
        async with AsyncClient() as client:
            found = await client.get(machine)
            (await found.run("true")).check()
            values = []
            for _ in range(count):
                began = time.perf_counter()
                (await found.run("true")).check()
                values.append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
            await asyncio.gather(*(found.run("true", check=True) for _ in range(50)))
            return values, (time.perf_counter() - began) * 1000

    values, ours = asyncio.run(measure())
    median = p(values, 50)
    detail = f"p95 {p(values, 95):.1f} ms"
    table.add(
        "second exec through the AsyncClient, p50", f"{median:.1f} ms", detail, f"{median:.1f} ms", "5 ms", median <= 5
    )
    peer = _docker_at_once(machine, 50)
    table.add(
        "50 execs at once, one machine",
        f"{ours:.0f} ms",
        f"docker {peer:.0f} ms",
        f"{ours / peer:.2f}x",
        "0.60x",
        ours / peer <= 0.6,
    )


def _docker_at_once(machine: str, count: int) -> float:
    """Milliseconds that so many `docker exec` take together."""
    container = container_of(machine)
    began = time.perf_counter()
    running = [subprocess.Popen(["docker", "exec", container, "true"]) for _ in range(count)]
    for process in running:
        process.wait()
    return (time.perf_counter() - began) * 1000


def bench_start(table: Table, count: int) -> None:
    """Cold `start` without upload beside `docker run -d` of the same image."""
    image = image_reference()

    def ours() -> float:
        began = time.perf_counter()
        machine = start()
        took = (time.perf_counter() - began) * 1000
        call([CLI, "delete", machine], stderr=subprocess.DEVNULL)
        return took

    def peer() -> float:
        began = time.perf_counter()
        container = call(["docker", "run", "-d", "--init", image, "sleep", "1000"]).stdout.decode().strip()
        took = (time.perf_counter() - began) * 1000
        call(["docker", "rm", "-f", container])
        return took

    mine, theirs = alternate(count, ours, peer)
    extra = p(mine, 50) - p(theirs, 50)
    table.add(
        "cold start / docker run -d",
        f"{p(mine, 50):.0f} ms",
        f"docker {p(theirs, 50):.0f} ms",
        f"+{extra:.0f} ms",
        "+250 ms",
        extra <= 250,
        p95=p(mine, 95),
    )


def bench_bytes(table: Table, machine: str, count: int) -> None:
    """256 MiB of output through the router beside `docker exec`."""
    container, size = container_of(machine), 256 * 1024**2
    words = ["head", "-c", str(size), "/dev/zero"]

    def rate(command: list[str]) -> float:
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            seen = 0
            while block := process.stdout.read(1024 * 1024):
                seen += len(block)
        assert seen == size, f"{seen} bytes came"
        return size / 1e6 / (time.perf_counter() - began)

    ours, peer = alternate(
        count, lambda: rate([CLI, "ssh", machine, "--", *words]), lambda: rate(["docker", "exec", container, *words])
    )
    ratio = statistics.median(a / b for a, b in zip(ours, peer, strict=True))
    table.add(
        "output of 256 MiB, MB/s",
        f"{p(ours, 50):.0f} MB/s",
        f"docker {p(peer, 50):.0f} MB/s",
        f"{ratio:.2f}x",
        "1.5x",
        ratio >= 1.5 or p(ours, 50) >= 400,
    )


def guest_pss(container: str) -> int:
    """PSS in bytes of everything of ours inside an idle machine."""
    pids = call(["docker", "top", container, "-eo", "pid"]).stdout.decode().split()[1:]
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total * 1024


def bench_memory(table: Table) -> None:
    """PSS of ten idle machines' processes, mean; the router's RSS."""
    machines = [start("--memory", "512m") for _ in range(10)]
    try:
        each = [guest_pss(container_of(machine)) for machine in machines]
    finally:
        call([CLI, "delete", *machines], stderr=subprocess.DEVNULL)
    mean = statistics.mean(each) / 1e6
    table.add("idle guest, PSS mean of 10", f"{mean:.1f} MB", "-", f"{mean:.1f} MB", "20 MB", mean <= 20)
    facts = json.loads(call([CLI, "server", "status", "--json"]).stdout)
    with open(f"/proc/{facts['pid']}/status", encoding="ascii") as file:
        rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) * 1024 / 1e6
    table.add("router, RSS", f"{rss:.0f} MB", "-", f"{rss:.0f} MB", "120 MB", rss <= 120)


def main() -> int:
    """Everything in order; the exit status is 0 even where a budget is missed: the table is the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="cloudrouter-bench-") as empty:
        os.chdir(empty)
        return measure(5 if quick else 25, 3 if quick else 10)


def measure(many: int, few: int) -> int:
    """All figures with so many repetitions."""
    table = Table()
    print(f"\n  {platform.platform()}, {os.cpu_count()} cpus, python {platform.python_version()}\n", flush=True)
    machine = start()
    try:
        bench_cold_start_of_python(table, many)
        bench_exec(table, machine, many)
        bench_sdk(table, machine, many * 4)
        bench_async(table, machine, many * 4)
        bench_bytes(table, machine, few)
    finally:
        call([CLI, "delete", machine], stderr=subprocess.DEVNULL)
    bench_start(table, few)
    bench_memory(table)
    write(table)
    return 0


def write(table: Table) -> None:
    """Keep the figures with date, host and versions."""
    now = dt.datetime.now(dt.UTC)
    docker = call(["docker", "version", "--format", "{{.Server.Version}}"]).stdout.decode().strip()
    result = {
        "at": now.isoformat(timespec="seconds"),
        "host": f"{platform.platform()}, {os.cpu_count()} cpus",
        "python": platform.python_version(),
        "docker": docker,
        "command": " ".join(["bench/run.py", *sys.argv[1:]]),
        "rows": table.rows,
    }
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y-%m-%d}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n  written to {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    raise SystemExit(main())
