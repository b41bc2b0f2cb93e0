"""What the docker provider refuses before it asks the engine for anything. Pure."""

from __future__ import annotations

from cloudrouter.providers.base import MachineSpec
from cloudrouter.providers.docker.host import HostFacts
from cloudrouter.providers.errors import InvalidSpec, Unsupported
from cloudrouter.wire import ids, sizes

MIN_MEMORY_BYTES = 16 * 1024**2
MIN_PIDS = 32
"""Init, supervisor, guest and its threads need some."""


def refuse_unknown(spec: MachineSpec, router_id: str) -> None:
    """Raise for what cannot be right or cannot be had here, whatever the host's size."""
    if not ids.is_machine_id(spec.machine_id) or spec.boot.machine_id != spec.machine_id:
        raise InvalidSpec(f"{spec.machine_id!r} is not a machine id.", field="machine_id")
    if spec.router_id != router_id:
        raise InvalidSpec("The spec belongs to another router.", field="router_id")
    if not spec.image:
        raise InvalidSpec("No image was named.", next="cloudrouter image ls", field="image")
    if spec.options:
        raise InvalidSpec(f"Provider docker has no option {sorted(spec.options)[0]!r}.", field="options")
    if spec.pids < MIN_PIDS:
        raise InvalidSpec(f"A machine needs {MIN_PIDS} processes or more.", field="pids")
    if spec.disk_bytes is not None:
        raise Unsupported(
            "This engine cannot limit a machine's disk.",
            fix="Leave --disk away; `cloudrouter status` says disk_enforced: false.",
            feature="disk_limit",
        )
    if spec.network != "open":
        raise Unsupported(
            f"Provider docker has no network class {spec.network!r}.", fix="Use the class open.", feature="network"
        )


def refuse_size(cpu: float, memory_bytes: int, facts: HostFacts) -> None:
    """Raise when the size is larger than the host, or too small to boot."""
    if not 0.01 <= cpu <= facts.cpus:
        raise InvalidSpec(
            f"{cpu:g} cpu do not fit: the engine's host has {facts.cpus}.", fix="Choose a smaller size.", field="cpu"
        )
    if not MIN_MEMORY_BYTES <= memory_bytes <= facts.memory_bytes:
        raise InvalidSpec(
            f"{sizes.format_bytes(memory_bytes)} of memory do not fit: the engine's host has "
            f"{sizes.format_bytes(facts.memory_bytes)}, and {sizes.format_bytes(MIN_MEMORY_BYTES)} is the least.",
            fix="Choose another size.",
            field="memory_bytes",
        )
