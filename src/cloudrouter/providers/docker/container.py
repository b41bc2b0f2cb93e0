"""A spec as the engine's create request, and the engine's answers as observations. Pure."""

from __future__ import annotations

import calendar
import math
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from cloudrouter.providers import base
from cloudrouter.providers.base import LABEL_MACHINE, LABEL_OWNER, LABEL_ROUTER, Handle, MachineSpec, Observation
from cloudrouter.providers.docker import seccomp, volumes
from cloudrouter.providers.errors import InvalidSpec
from cloudrouter.wire import ids, packages

NAME = "docker"
LABEL_CPUS = "cloudrouter.dev/cpus"
"""Which of the host's cpus a machine was given at its creation; absent when it may use all."""
LABEL_SIDECARS = "cloudrouter.dev/sidecars"
"""On a machine: the names of those that were asked for; absent when there are none."""
LABEL_PREFIX = "cloudrouter.dev/label."
CAPABILITIES = (
    # Docker's default set without MKNOD (nobody makes device nodes) and NET_RAW: on a shared bridge it would let a
    # machine answer for its neighbours' addresses. ICMP sockets work without it; Debian's ping works once its file
    # capability is taken away (setcap -r), because the kernel refuses to run a file that demands a missing one.
    "AUDIT_WRITE",  # sudo and sshd write audit records
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",  # packages give their files capabilities
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",  # sshd
)
SHM_BYTES = 1024**3
"""Browsers need far more than the usual 64 MiB of /dev/shm; what is used of it counts as the machine's memory."""
LOG_CONFIG = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
"""The first process says little; commands keep their own bounded logs."""


def create_body(
    spec: MachineSpec,
    *,
    network: str,
    cpus: str,
    ulimits: Iterable[Mapping[str, Any]],
    dns: Iterable[str] = (),
) -> dict[str, Any]:
    """The body of `containers/create`; `cpus` as the engine writes sets of them, empty for all."""
    labels = {f"{LABEL_PREFIX}{key}": value for key, value in spec.labels.items()}
    labels |= {LABEL_MACHINE: spec.machine_id, LABEL_OWNER: spec.owner, LABEL_ROUTER: spec.router_id}
    if cpus:
        labels[LABEL_CPUS] = cpus
    if spec.sidecars:
        labels[LABEL_SIDECARS] = ",".join(one.name for one in spec.sidecars)
    return {
        "Image": spec.image,
        "Hostname": ids.dns_label(spec.machine_id),
        "Env": [f"{key}={value}" for key, value in spec.boot.environment().items()],
        "Labels": labels,
        "HostConfig": {
            "Init": True,
            **limits(spec.cpu, spec.memory_bytes),
            "CpusetCpus": cpus,
            "PidsLimit": spec.pids,
            "Ulimits": list(ulimits),
            "ShmSize": min(SHM_BYTES, spec.memory_bytes // 2),
            **security(),
            "NetworkMode": network,
            "Mounts": [*volumes.mounts(spec), *volumes.workspace_mounts(spec), *_door(spec)],
            "Dns": list(dns),
            "LogConfig": LOG_CONFIG,
            "RestartPolicy": {"Name": "no"},
        },
    }


def security() -> dict[str, Any]:
    """What a machine and its sidecars may ask of the kernel."""
    options = [seccomp.option()]
    return {"CapDrop": ["ALL"], "CapAdd": list(CAPABILITIES), "Privileged": False, "SecurityOpt": options}


def _door(spec: MachineSpec) -> list[dict[str, Any]]:
    """The way to the package cache, which a machine cannot write to."""
    if spec.package_door is None:
        return []
    target = packages.DOOR_IN_MACHINE
    return [{"Type": "bind", "Source": spec.package_door, "Target": target, "ReadOnly": True}]


def limits(cpu: float, memory_bytes: int) -> dict[str, Any]:
    """cpu and memory as the engine takes them; no swap on top, so that the ceiling is one number."""
    return {"NanoCpus": round(cpu * 1e9), "Memory": memory_bytes, "MemorySwap": memory_bytes}


def choose_cpus(cpu: float, *, host_cpus: int, taken: Iterable[str]) -> str:
    """The least used group of whole cpus, so that `nproc` tells the truth; empty when groups do not come out even."""
    size = int(cpu)
    if size != cpu or size < 1 or size >= host_cpus or host_cpus % size:
        return ""
    groups = [f"{first}-{first + size - 1}" if size > 1 else f"{first}" for first in range(0, host_cpus, size)]
    used = dict.fromkeys(range(host_cpus), 0)
    for text in taken:
        for number in _cpu_numbers(text):
            if number in used:
                used[number] += 1
    return min(groups, key=lambda group: sum(used[number] for number in _cpu_numbers(group)))


def _cpu_numbers(text: str) -> list[int]:
    """`0-1,4` as numbers; what is not a set of cpus is empty."""
    numbers: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if found is None:
            return []
        numbers += range(int(found[1]), int(found[2] or found[1]) + 1)
    return numbers


def handle_of(machine_id: str, container_id: str) -> Handle:
    """The handle of a container."""
    return Handle(NAME, {"machine_id": machine_id, "container_id": container_id})


def ids_of(handle: Handle) -> tuple[str, str]:
    """Machine and container id of a handle; both go into the engine's paths, so nothing else gets through."""
    machine_id, container_id = handle.data.get("machine_id"), handle.data.get("container_id")
    if (
        handle.provider != NAME
        or not isinstance(machine_id, str)
        or not ids.is_machine_id(machine_id)
        or not isinstance(container_id, str)
        or not is_container_id(container_id)
    ):
        raise InvalidSpec("The handle is not one of provider docker.", field="handle")
    return machine_id, container_id


def is_container_id(text: str) -> bool:
    """Whether the text is an id of the engine's, whole or shortened."""
    return re.fullmatch(r"[0-9a-f]{12,64}", text) is not None


def observe(body: Mapping[str, Any]) -> Observation:
    """What `containers/ID/json` says."""
    labels, state = body["Config"].get("Labels") or {}, body["State"]
    word, reason = _state(str(state.get("Status", "")), state)
    return Observation(
        machine_id=labels.get(LABEL_MACHINE, ""),
        handle=handle_of(labels.get(LABEL_MACHINE, ""), body["Id"]),
        state=word,
        reason=reason,
        started_at=parse_time(state.get("StartedAt", "")) if word in (base.RUNNING, base.PAUSED) else None,
        owner=labels.get(LABEL_OWNER, ""),
    )


def observe_listed(entry: Mapping[str, Any]) -> Observation:
    """What one entry of `containers/json` says; it knows neither the start nor why a machine ended."""
    labels = entry.get("Labels") or {}
    found = re.match(r"Exited \((\d+)\)", str(entry.get("Status", "")))
    word, reason = _state(str(entry.get("State", "")), {"ExitCode": int(found[1]) if found else 0})
    machine_id = labels.get(LABEL_MACHINE, "")
    return Observation(machine_id, handle_of(machine_id, entry["Id"]), word, reason, owner=labels.get(LABEL_OWNER, ""))


def _state(status: str, state: Mapping[str, Any]) -> tuple[str, str]:
    if status in ("running", "restarting", "stopping"):
        return base.RUNNING, ""
    if status == "paused":
        return base.PAUSED, ""
    if status in ("created", "configured", "initialized"):
        return base.PENDING, str(state.get("Error", ""))
    if status in ("exited", "stopped"):
        return base.STOPPED, _ending(state)
    return base.FAILED, f"the engine says {status or 'nothing'}"


def _ending(state: Mapping[str, Any]) -> str:
    if state.get("OOMKilled"):
        return "it ran out of memory"
    if state.get("Error"):
        return str(state["Error"])
    code = int(state.get("ExitCode", 0))
    # 0, TERM and KILL are how every stop ends.
    return "" if code in (0, 143, 137) else f"its first process ended with status {code}"


def address_of(body: Mapping[str, Any], network: str) -> str:
    """The container's IPv4 address in our network; empty when it has none now."""
    networks = (body.get("NetworkSettings") or {}).get("Networks") or {}
    return str((networks.get(network) or {}).get("IPAddress") or "")


def parse_time(text: str) -> float | None:
    """Seconds since the epoch of the engine's RFC 3339 (nanoseconds, any zone); None for its year 1 and for rubbish."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if found is None or text.startswith("0001"):
        return None
    whole = calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    sign = -1 if found[3].startswith("-") else 1
    zone = 0 if found[3] == "Z" else sign * (int(found[3][1:3]) * 3600 + int(found[3][4:6]) * 60)
    return whole - zone + float(found[2] or 0)


def whole_seconds(grace_s: float) -> int:
    """The engine counts graces in whole seconds; never less than was promised."""
    return max(0, math.ceil(grace_s))
