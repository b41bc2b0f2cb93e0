"""Facts about the engine's host, and what this process may know of it when it is this host."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudrouter.providers.docker.api import EngineApi

NOFILE = 65536
"""Open files per process: development servers and file watchers want more than the usual 1024."""
NOFILE_MODEST = 4096
NPROC_MODEST = 16384


@dataclass(frozen=True)
class HostFacts:
    """What does not change while an engine runs."""

    cpus: int
    memory_bytes: int
    is_local: bool
    """The engine's machine is the one this process runs on, so its /proc tells the truth."""
    is_podman: bool
    can_nest: bool = False
    """A container's control groups may lie in another's: version 1, made by the engine itself."""


async def read_facts(api: EngineApi) -> HostFacts:
    """Ask the engine; raises Unreachable."""
    info: Mapping[str, Any] = await api.call("GET", "info")
    version: Mapping[str, Any] = await api.call("GET", "version")
    memory = int(info["MemTotal"])
    components = [str(part.get("Name", "")) for part in version.get("Components") or ()]
    same_size = await asyncio.to_thread(_memory_line, "MemTotal:")
    is_podman = any("podman" in name.lower() for name in components)
    is_here = api.endpoint.socket_path is not None and same_size == memory
    return HostFacts(
        cpus=int(info["NCPU"]),
        memory_bytes=memory,
        # Behind a Unix socket there may still be a virtual machine: its memory has another size.
        is_local=is_here,
        is_podman=is_podman,
        # Version 2 lets no group that has processes hold limited groups, and systemd keeps a tree of its own.
        can_nest=is_here
        and not is_podman
        and info.get("CgroupDriver") == "cgroupfs"
        and str(info.get("CgroupVersion") or "1") == "1",
    )


async def available_memory(facts: HostFacts) -> int:
    """Bytes that can be used now without swapping; the host's size where this cannot be known."""
    if not facts.is_local:
        return facts.memory_bytes
    found = await asyncio.to_thread(_memory_line, "MemAvailable:")
    return facts.memory_bytes if found is None else min(found, facts.memory_bytes)


async def route_mtu(facts: HostFacts) -> int | None:
    """The MTU of the way out when it is smaller than a bridge's own 1500, else None."""
    return await asyncio.to_thread(_route_mtu) if facts.is_local else None


def ulimits(*, is_podman: bool, modest: bool) -> list[dict[str, Any]]:
    """Explicit limits: an engine without the right to raise them, and Podman's own defaults, would fail otherwise."""
    nofile = NOFILE_MODEST if modest else min(NOFILE, _hard(resource.RLIMIT_NOFILE, NOFILE))
    made = [{"Name": "nofile", "Soft": nofile, "Hard": nofile}]
    if is_podman:
        # Counted per user over the whole host; what bounds a machine's processes is its pids limit.
        nproc = NPROC_MODEST if modest else min(1 << 20, _hard(resource.RLIMIT_NPROC, 1 << 20))
        made.append({"Name": "nproc", "Soft": nproc, "Hard": nproc})
    return made


def _hard(kind: int, most: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return most if hard == resource.RLIM_INFINITY else hard


def _memory_line(name: str) -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith(name):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def _route_mtu() -> int | None:
    try:
        with open("/proc/net/route", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
        names = {row[0] for row in rows if row[1] == "00000000" and row[7] == "00000000"}
        found = []
        for name in names & set(os.listdir("/sys/class/net")):
            with open(f"/sys/class/net/{name}/mtu", encoding="ascii") as file:
                found.append(int(file.read()))
    except (OSError, IndexError, ValueError):
        return None
    smallest = min(found, default=1500)
    return smallest if 576 <= smallest < 1500 else None
