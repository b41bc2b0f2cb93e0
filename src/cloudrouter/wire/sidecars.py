"""Sidecars: upstream images that run beside a machine, each in its own container, as a start asks for them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from cloudrouter.wire import sizes
from cloudrouter.wire.flavours import OURS, app_fault

WORKSPACES = ("", "ro", "rw")
"""What a sidecar has of the machine's workspace: nothing, to read, to read and write."""
WORKSPACE_IN_SIDECAR = "/workspace"
LIMIT = 16
"""Sidecars of one machine."""
MIN_MEMORY_BYTES = 16 * 1024**2
_TEXT_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Sidecar:
    """One of them. It shares the machine's `localhost`, and has files, processes and users of its own."""

    name: str
    """Told apart from apps and from other sidecars by it; as an app's name."""
    image: str
    title: str = ""
    workspace: str = ""
    """One of WORKSPACES; it stands at WORKSPACE_IN_SIDECAR."""
    cpu: Optional[float] = None
    """At most so many, out of the machine's; None: as the machine."""
    memory_bytes: Optional[int] = None
    """At most so many, out of the machine's; None: as the machine, or a share of it where they cannot be nested."""
    port: Optional[int] = None
    """It is healthy once this takes connections, where the image has no check of its own."""
    env: dict[str, str] = field(default_factory=dict, repr=False)
    """Handed to the engine, where whoever owns the engine can read it."""
    command: Optional[list[str]] = None
    """Instead of the image's own arguments (its entry point stays)."""


def name_fault(name: str) -> str:
    """Why this can be no sidecar's name; empty when it can."""
    if "@" in name:
        return "a name is a letter, then letters, digits and dashes, 31 at most, in small letters"
    if name in OURS:
        return "it is an app's name"
    return app_fault(f"{name}@{'0' * 12}")  # judged as a stranger's app, which may have any good name


def sidecar_fault(one: Sidecar) -> str:
    """Why this sidecar cannot be, whoever makes it; empty when it can. Never repeats a value of a variable."""
    fault = name_fault(one.name)
    if fault:
        return f"{one.name[:40]!r} cannot be its name: {fault}"
    if not one.image or "+" in one.image or not one.image.isprintable():
        return f"{one.image[:60]!r} is no image that can run beside a machine"
    if one.workspace not in WORKSPACES:
        return f"its workspace is {one.workspace[:20]!r}, and not ro or rw"
    if one.port is not None and not 0 < one.port < 65536:
        return "its port is not between 1 and 65535"
    if len(one.title) > 100 or (one.title and not one.title.isprintable()):
        return "its title is not a short printable text"
    if one.cpu is not None and not one.cpu >= sizes.MIN_CPU:
        return f"{one.cpu:g} cpu is too little; {sizes.MIN_CPU:g} is the least"
    if one.memory_bytes is not None and one.memory_bytes < MIN_MEMORY_BYTES:
        return f"its memory is less than {sizes.format_bytes(MIN_MEMORY_BYTES)}"
    return _words_fault(one)


def _words_fault(one: Sidecar) -> str:
    for key, value in one.env.items():
        if not key or "=" in key or "\0" in key or "\0" in value:
            return f"{key[:40]!r} cannot be a variable, by its name or by its value"
    if one.command is not None and (not one.command or any("\0" in word for word in one.command)):
        return "its command is a list of words, at least one, without NUL"
    if sum(len(key) + len(value) for key, value in one.env.items()) + sum(map(len, one.command or ())) > _TEXT_LIMIT:
        return "its variables and command are longer than 64 KiB"
    return ""


def sidecars_fault(wanted: list[Sidecar], *, apps: list[str], cpu: float, memory_bytes: int) -> str:
    """Why these cannot run beside a machine of that size with these apps; empty when they can."""
    if len(wanted) > LIMIT:
        return f"there are {len(wanted)} sidecars, and {LIMIT} is the most"
    seen = set(apps)
    for one in wanted:
        fault = sidecar_fault(one)
        if not fault and one.name in seen:
            fault = "another app or sidecar of this machine has that name"
        if not fault and one.cpu is not None and one.cpu > cpu:
            fault = f"it may not have {one.cpu:g} cpu: its machine has {cpu:g}"
        if not fault and one.memory_bytes is not None and one.memory_bytes > memory_bytes:
            most = sizes.format_bytes(memory_bytes)
            fault = f"it may not have {sizes.format_bytes(one.memory_bytes)} of memory: its machine has {most}"
        if fault:
            return f"the sidecar {one.name[:40]!r}: {fault}"
        seen.add(one.name)
    return ""
