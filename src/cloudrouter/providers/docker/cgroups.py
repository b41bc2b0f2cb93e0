"""A container's control groups and network counters on this host, versions 1 and 2. Small reads, no engine asked."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cloudrouter.providers.base import Measurement

ROOT = "/sys/fs/cgroup"
PROC = "/proc"


@dataclass(frozen=True)
class ControlGroups:
    """The files that count for one container, and the process by whose network it is seen."""

    pid: int
    cgroup_file: str
    """`/proc/PID/cgroup`, which names the container for as long as the process is the container's."""
    cgroup_text: str
    cpu: str
    cpu_unit: float
    """Seconds that one count of the cpu file stands for."""
    memory: str
    memory_stat: str
    idle_key: str
    """The line of memory_stat with what the kernel could take back at once."""
    processes: str
    network: str


def find_groups(pid: int, container_id: str, *, root: str = ROOT, proc: str = PROC) -> ControlGroups | None:
    """The groups of the container whose first process has that pid; None where this host does not have them."""
    cgroup_file = f"{proc}/{pid}/cgroup"
    text = _read(cgroup_file)
    if pid < 2 or text is None or container_id not in text:
        return None  # another host's number, as seen from inside a container or a virtual machine
    places: dict[str, str] = {}
    for line in text.splitlines():
        _number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if container_id in path and ".." not in path:
            places.update(dict.fromkeys(controllers.split(","), path))
    network = f"{proc}/{pid}/net/dev"
    if "memory" in places and "cpuacct" in places:
        return _version_1(pid, cgroup_file, text, places, root, network)
    base = f"{root}{places.get('', '')}"
    if "" not in places or not os.path.exists(f"{base}/memory.current"):
        return None
    return ControlGroups(
        pid,
        cgroup_file,
        text,
        cpu=f"{base}/cpu.stat",
        cpu_unit=1e-6,
        memory=f"{base}/memory.current",
        memory_stat=f"{base}/memory.stat",
        idle_key="inactive_file",
        processes=f"{base}/pids.current",
        network=network,
    )


def _version_1(
    pid: int, cgroup_file: str, text: str, places: dict[str, str], root: str, network: str
) -> ControlGroups | None:
    memory = f"{root}/memory{places['memory']}"
    if not os.path.exists(f"{memory}/memory.usage_in_bytes"):
        return None
    return ControlGroups(
        pid,
        cgroup_file,
        text,
        cpu=f"{root}/cpuacct{places['cpuacct']}/cpuacct.usage",
        cpu_unit=1e-9,
        memory=f"{memory}/memory.usage_in_bytes",
        memory_stat=f"{memory}/memory.stat",
        idle_key="total_inactive_file",
        processes=f"{root}/pids{places.get('pids', '')}/pids.current",
        network=network,
    )


def find_path(pid: int, container_id: str, *, proc: str = PROC) -> str:
    """Where the engine keeps the groups of a container (version 1), such as `/docker/ID`; empty where it is not so."""
    places = {}
    for line in (_read(f"{proc}/{pid}/cgroup") or "").splitlines():
        _number, controllers, path = (*line.split(":", 2), "", "")[:3]
        places.update(dict.fromkeys(controllers.split(","), path))
    path = places.get("memory", "")
    is_whole = path.endswith(f"/{container_id}") and ".." not in path and places.get("cpu") == path
    return path if is_whole and pid > 1 else ""


def read_groups(groups: ControlGroups) -> Measurement | None:
    """What the groups count now; None when the container does not run any more, whoever has its number now."""
    if _read(groups.cgroup_file) != groups.cgroup_text:
        return None
    memory, idle = _number(_read(groups.memory)), _line(_read(groups.memory_stat), groups.idle_key)
    if memory is None:
        return None
    received, sent = _network(_read(groups.network))
    return Measurement(
        cpu_seconds=_cpu(groups),
        memory_bytes=max(0, memory - (idle or 0)),
        network_received_bytes=received,
        network_sent_bytes=sent,
        processes=_number(_read(groups.processes)),
    )


def _cpu(groups: ControlGroups) -> float | None:
    text = _read(groups.cpu)
    count = _line(text, "usage_usec") if groups.cpu.endswith("cpu.stat") else _number(text)
    return None if count is None else count * groups.cpu_unit


def _network(text: str | None) -> tuple[int | None, int | None]:
    """Bytes received and sent on every interface but the loopback."""
    if text is None:
        return None, None
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        if name.strip() != "lo" and len(fields) >= 9:
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def _line(text: str | None, key: str) -> int | None:
    for line in (text or "").splitlines():
        name, _, number = line.partition(" ")
        if name == key:
            return _number(number)
    return None


def _number(text: str | None) -> int | None:
    word = (text or "").strip()
    return int(word) if word.isdecimal() else None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None
