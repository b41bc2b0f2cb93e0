"""A sidecar as the engine's create request, its share of the machine, and the engine's answers about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudrouter.providers import base
from cloudrouter.providers.base import LABEL_MACHINE, LABEL_OWNER, LABEL_ROUTER, LABEL_SIDECAR, MachineSpec, SidecarSeen
from cloudrouter.providers.docker import container, volumes
from cloudrouter.providers.errors import InvalidSpec
from cloudrouter.wire import ids, sizes
from cloudrouter.wire.sidecars import MIN_MEMORY_BYTES, Sidecar

LABEL_LIMITS = "cloudrouter.dev/sidecar-limits"
"""NESTED or SHARED_OUT."""
MIN_CPU = 0.01
"""The least that an engine takes."""
SAID_LETTERS = 500


@dataclass(frozen=True)
class Share:
    """What a sidecar may use; None: as much as its machine, inside whose limits it is."""

    cpu: float | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Place:
    """Where the limits of a machine's sidecars lie."""

    parent: str
    """The control group of the machine's container, as the engine takes it; empty: beside it."""

    @property
    def word(self) -> str:
        """NESTED or SHARED_OUT."""
        return base.NESTED if self.parent else base.SHARED_OUT


def engine_name(machine_id: str, name: str) -> str:
    """The container's name."""
    return f"{ids.dns_label(machine_id)}-{name}"


def shares_inside(wanted: Iterable[Sidecar]) -> dict[str, Share]:
    """What each may use inside its machine's limits: what was asked for."""
    return {one.name: Share(one.cpu, one.memory_bytes) for one in wanted}


def shares_beside(wanted: Iterable[Sidecar], *, cpu: float, memory_bytes: int) -> tuple[dict[str, Share], Share]:
    """What each gets out of the machine's limits, and what is left to the machine itself.

    Those that asked for nothing get equal parts of one half. InvalidSpec when too little is left.
    """
    all_of_them = list(wanted)
    part = 2 * max(1, len(all_of_them))
    shares = {
        one.name: Share(
            max(MIN_CPU, cpu / part) if one.cpu is None else one.cpu,
            max(MIN_MEMORY_BYTES, memory_bytes // part) if one.memory_bytes is None else one.memory_bytes,
        )
        for one in all_of_them
    }
    left = Share(
        round(cpu - sum(one.cpu or 0 for one in shares.values()), 6),
        memory_bytes - sum(one.memory_bytes or 0 for one in shares.values()),
    )
    if (left.cpu or 0) < MIN_CPU or (left.memory_bytes or 0) < sizes.MIN_MEMORY_BYTES:
        raise InvalidSpec(
            "The sidecars leave too little to the machine: on this engine their limits are taken off its own.",
            fix="Give the machine more with --cpu and --memory, or the sidecars less.",
            field="sidecars",
        )
    return shares, left


def limits(share: Share) -> dict[str, Any]:
    """A share as the engine takes it."""
    found: dict[str, Any] = {}
    if share.cpu is not None:
        found["NanoCpus"] = round(share.cpu * 1e9)
    if share.memory_bytes is not None:
        found |= {"Memory": share.memory_bytes, "MemorySwap": share.memory_bytes}
    return found


def create_body(
    spec: MachineSpec, one: Sidecar, share: Share, *, beside: str, place: Place, ulimits: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The body of `containers/create`; beside is the id of the machine's container."""
    memory = share.memory_bytes or spec.memory_bytes
    host = {
        **limits(share),
        "PidsLimit": spec.pids,
        "Ulimits": list(ulimits),
        "ShmSize": min(container.SHM_BYTES, memory // 2),
        **container.security(),
        # The machine's own network: its localhost, its address, its walls. Nothing is published.
        "NetworkMode": f"container:{beside}",
        "Mounts": volumes.workspace_in_sidecar(spec, read_only=one.workspace != "rw") if one.workspace else [],
        "LogConfig": container.LOG_CONFIG,
        "RestartPolicy": {"Name": "no"},
    }
    if place.parent:
        host["CgroupParent"] = place.parent
    body: dict[str, Any] = {
        "Image": one.image,
        "Env": [f"{key}={value}" for key, value in one.env.items()],
        "Labels": {
            LABEL_MACHINE: spec.machine_id,
            LABEL_OWNER: spec.owner,
            LABEL_ROUTER: spec.router_id,
            LABEL_SIDECAR: one.name,
            LABEL_LIMITS: place.word,
        },
        "HostConfig": host,
    }
    if one.command is not None:
        body["Cmd"] = list(one.command)
    return body


def name_in(entry: Mapping[str, Any]) -> str:
    """The sidecar's name in one entry of `containers/json`; empty for what is none."""
    return str((entry.get("Labels") or {}).get(LABEL_SIDECAR) or "")


def machine_in(entry: Mapping[str, Any]) -> tuple[str, str]:
    """(machine id, id of the machine's container) of a sidecar's entry; the second is empty where it is not told."""
    mode = str((entry.get("HostConfig") or {}).get("NetworkMode") or "")
    return str(entry["Labels"].get(LABEL_MACHINE) or ""), mode.removeprefix("container:") if ":" in mode else ""


def observe(body: Mapping[str, Any]) -> SidecarSeen:
    """What `containers/ID/json` says of one."""
    labels, state = body["Config"].get("Labels") or {}, body["State"]
    seen = container.observe(body)
    health = state.get("Health") or {}
    said = [str(one.get("Output") or "") for one in health.get("Log") or ()]
    is_over = seen.state == base.STOPPED
    return SidecarSeen(
        name=str(labels.get(LABEL_SIDECAR) or ""),
        state=seen.state,
        reason=seen.reason,
        exit_code=int(state.get("ExitCode") or 0) if is_over else None,
        started_at=seen.started_at,
        last_started_at=container.parse_time(str(state.get("StartedAt") or "")),
        ended_at=container.parse_time(str(state.get("FinishedAt") or "")) if is_over else None,
        health=str(health.get("Status") or "").replace("none", ""),
        health_said=said[-1].strip()[-SAID_LETTERS:] if said else "",
        limits=str(labels.get(LABEL_LIMITS) or ""),
    )
