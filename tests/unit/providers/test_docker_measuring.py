"""Measuring containers: both versions of control groups, an engine that is asked, disks that are counted seldom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudrouter.providers.docker import measuring
from cloudrouter.providers.docker.cgroups import find_groups, read_groups
from cloudrouter.providers.docker.measuring import Meter, from_engine
from cloudrouter.providers.errors import NotFound, NotRunning, Unreachable

ID = "ab" * 32
NET = """\
Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:  999       1    0    0    0     0          0         0      999       1    0    0    0     0       0          0
  eth0: 1000       7    0    0    0     0          0         0      200       3    0    0    0     0       0          0
  eth1:    5       1    0    0    0     0          0         0        6       1    0    0    0     0       0          0
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def version_1(tmp_path: Path, pid: int = 77) -> tuple[str, str]:
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    write(
        proc / f"{pid}/cgroup",
        f"9:pids:/docker/{ID}\n8:memory:/docker/{ID}\n3:cpuacct,cpu:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n",
    )
    write(proc / f"{pid}/net/dev", NET)
    write(root / f"cpuacct/docker/{ID}/cpuacct.usage", "2500000000\n")
    write(root / f"memory/docker/{ID}/memory.usage_in_bytes", "5000\n")
    write(root / f"memory/docker/{ID}/memory.stat", "inactive_file 1\ntotal_cache 900\ntotal_inactive_file 800\n")
    write(root / f"pids/docker/{ID}/pids.current", "12\n")
    return str(root), str(proc)


def version_2(tmp_path: Path, pid: int = 77) -> tuple[str, str]:
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    scope = root / f"system.slice/docker-{ID}.scope"
    write(proc / f"{pid}/cgroup", f"0::/system.slice/docker-{ID}.scope\n")
    write(proc / f"{pid}/net/dev", NET)
    write(scope / "cpu.stat", "usage_usec 2500000\nuser_usec 1\n")
    write(scope / "memory.current", "5000\n")
    write(scope / "memory.stat", "anon 1\ninactive_file 800\n")
    write(scope / "pids.current", "12\n")
    return str(root), str(proc)


@pytest.mark.parametrize("make", [version_1, version_2])
def test_groups_when_read_then_count_the_same_in_both_versions(tmp_path: Path, make: Any) -> None:
    root, proc = make(tmp_path)
    groups = find_groups(77, ID, root=root, proc=proc)
    assert groups is not None
    seen = read_groups(groups)
    assert seen is not None
    assert (seen.cpu_seconds, seen.memory_bytes, seen.processes) == (2.5, 4200, 12)
    assert (seen.network_received_bytes, seen.network_sent_bytes) == (1005, 206)


@pytest.mark.parametrize("make", [version_1, version_2])
def test_groups_when_the_pid_belongs_to_somebody_else_then_are_not_found_or_not_read(tmp_path: Path, make: Any) -> None:
    root, proc = make(tmp_path)
    assert find_groups(77, "cd" * 32, root=root, proc=proc) is None
    assert find_groups(78, ID, root=root, proc=proc) is None
    assert find_groups(0, ID, root=root, proc=proc) is None
    groups = find_groups(77, ID, root=root, proc=proc)
    assert groups is not None
    write(tmp_path / "proc/77/cgroup", "0::/init.scope\n")  # the number was given to another process
    assert read_groups(groups) is None


def test_groups_when_their_path_climbs_then_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "proc/77/cgroup", f"0::/../../{ID}\n")
    assert find_groups(77, ID, root=str(tmp_path / "cgroup"), proc=str(tmp_path / "proc")) is None


def test_engine_answer_when_read_then_gives_what_is_there_and_nothing_invented() -> None:
    seen = from_engine(
        {
            "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
            "memory_stats": {"usage": 900, "stats": {"inactive_file": 100}},
            "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 3, "tx_bytes": 4}},
            "pids_stats": {"current": 9},
        }
    )
    assert (seen.cpu_seconds, seen.memory_bytes, seen.processes) == (1.5, 800, 9)
    assert (seen.network_received_bytes, seen.network_sent_bytes) == (4, 6)
    empty = from_engine({"memory_stats": {}, "cpu_stats": {}})
    assert (empty.cpu_seconds, empty.memory_bytes, empty.network_received_bytes, empty.processes) == (None,) * 4


class Engine:
    """Answers of an engine on another host, and how often each was asked for."""

    def __init__(self) -> None:
        self.status = "running"
        self.sizes = 0
        self.stats = 0
        self.hold: asyncio.Event | None = None
        self.size_error: Exception | None = None

    async def call(self, _method: str, path: str, *, params: Any = None, **_more: Any) -> Any:
        if self.status == "gone":
            raise NotFound("No such container.")
        if path.endswith("/stats"):
            assert params == {"stream": "false", "one-shot": "true"}
            self.stats += 1
            return {"cpu_stats": {"cpu_usage": {"total_usage": self.stats * 10**9}}, "memory_stats": {"usage": 5}}
        if params == {"size": "1"}:
            self.sizes += 1
            if self.hold is not None:
                await self.hold.wait()
            if self.size_error is not None:
                raise self.size_error
            return {"SizeRw": 4096 * self.sizes}
        return {"State": {"Status": self.status, "Pid": 1}}


class Meters:
    """A meter on that engine, with a clock of its own."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.now = 1000.0

        async def host() -> Any:
            return SimpleNamespace(is_local=False)

        self.meter = Meter(self.engine, find_host=host, monotonic=lambda: self.now)  # type: ignore[arg-type]


@pytest.fixture
async def meters() -> Any:
    made = Meters()
    yield made
    await made.meter.aclose()


async def test_disk_when_measured_often_then_the_engine_counts_once_a_minute(meters: Meters) -> None:
    for second in range(60):
        meters.now = 1000.0 + second
        assert (await meters.meter.measure("cr_x", ID)).disk_bytes == 4096
    assert (meters.engine.sizes, meters.engine.stats) == (1, 60)
    meters.now = 1061.0
    await meters.meter.measure("cr_x", ID)  # tells the old size and begins to count anew
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await meters.meter.measure("cr_x", ID)).disk_bytes == 8192
    assert meters.engine.sizes == 2


async def test_disk_when_counting_it_takes_long_then_is_counted_less_often(meters: Meters) -> None:
    class Dear(Engine):
        async def call(self, method: str, path: str, *, params: Any = None, **more: Any) -> Any:
            if params == {"size": "1"}:
                meters.now += 2.0
            return await super().call(method, path, params=params, **more)

    meters.meter._api = meters.engine = Dear()  # type: ignore[assignment]
    await meters.meter.measure("cr_x", ID)
    meters.now += 399.0
    await meters.meter.measure("cr_x", ID)
    await asyncio.sleep(0)
    assert meters.engine.sizes == 1
    meters.now += 2.0
    await meters.meter.measure("cr_x", ID)
    await asyncio.sleep(0)
    assert meters.engine.sizes == 2


async def test_disk_when_it_is_not_counted_in_time_then_the_rest_is_told_without(
    meters: Meters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "FIRST_DISK_S", 0.01)
    meters.engine.hold = asyncio.Event()
    seen = await meters.meter.measure("cr_x", ID)
    assert (seen.disk_bytes, seen.memory_bytes) == (None, 5)


async def test_disk_when_the_engine_refuses_to_count_then_the_rest_is_told_without(meters: Meters) -> None:
    meters.engine.size_error = Unreachable("The engine is busy.")
    assert (await meters.meter.measure("cr_x", ID)).disk_bytes is None


async def test_measure_when_stopped_or_gone_then_says_so(meters: Meters) -> None:
    meters.engine.status = "exited"
    with pytest.raises(NotRunning, match="cr_x is exited"):
        await meters.meter.measure("cr_x", ID)
    meters.engine.status = "gone"
    with pytest.raises(NotFound, match="cr_x is gone"):
        await meters.meter.measure("cr_x", ID)
