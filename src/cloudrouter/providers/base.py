"""The contract between the router and whatever makes machines: a small core, optional parts, flags that tests prove.

Laws that hold for every method:

* All I/O is async and may be cancelled at any await; what was half made is then shown by `list` or removed.
* Only errors of `providers.errors` are raised. Messages are sentences without secrets.
* A provider keeps nothing that matters in memory: a new object on the same backend continues the work.
* It never talks to the guest, and never sees users, HTTP or SQL.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from cloudrouter.wire.boot import GuestBoot

Clock = Callable[[], float]
"""Seconds since the epoch; passed in so that tests own the time."""

LABEL_MACHINE = "cloudrouter.dev/machine"
LABEL_OWNER = "cloudrouter.dev/owner"
LABEL_ROUTER = "cloudrouter.dev/router"

# What a provider can see; a subset of the machine states, because wishes are the router's business.
PENDING = "pending"
RUNNING = "running"
PAUSED = "paused"
STOPPED = "stopped"
FAILED = "failed"
GONE = "gone"


@dataclass(frozen=True)
class MachineSpec:
    """Everything wanted of one machine, fully decided before the provider sees it."""

    machine_id: str
    owner: str
    router_id: str
    image: str
    """An image by the name under which the provider can run it."""
    cpu: float
    memory_bytes: int
    boot: GuestBoot
    pids: int = 4096
    disk_bytes: int | None = None
    """A disk limit that must be enforced; None where none was asked for."""
    network: str = "open"
    """Network class: `open` is the internet without host, neighbours, private ranges and metadata."""
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Whatever only this provider understands; it refuses unknown keys with InvalidSpec."""


@dataclass(frozen=True)
class Handle:
    """A provider's own memory of a machine: small JSON without secrets, stored and never read by the router."""

    provider: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Observation:
    """The only answer to "what is": state is one of the words above."""

    machine_id: str
    handle: Handle
    state: str
    reason: str = ""
    started_at: float | None = None
    owner: str = ""


@dataclass(frozen=True)
class Need:
    """What an offer must have room for; None means the question is open."""

    cpu: float | None = None
    memory_bytes: int | None = None
    gpu: str | None = None


@dataclass(frozen=True)
class Offer:
    """Something that can be had: the largest machine this provider makes in this place now."""

    region: str
    cpus: int
    memory_bytes: int
    available_memory_bytes: int
    gpu: str | None = None
    price_usd_hour: float = 0.0


@dataclass(frozen=True)
class Features:
    """What is true of a provider. A flag that names an optional protocol is true if and only if it is there."""

    pause: bool = False
    """Pausable: execution can be frozen."""
    pause_keeps_memory: bool = False
    snapshots: bool = False
    volumes: bool = False
    resize: bool = False
    console: bool = False
    images: bool = False
    stop_keeps_disk: bool = False
    disk_limit: bool = False
    """`disk_bytes` of a spec is enforced."""
    nested_containers: bool = False
    private_network: bool = False
    """Host, neighbours, private ranges and metadata addresses are closed to the machine."""
    own_root: bool = False
    """The machine has its own root filesystem, user and process space."""
    gpu_kinds: tuple[str, ...] = ()
    max_lifetime_s: float | None = None
    gone_within_s: float = 10.0
    """After `delete`, `inspect` says gone within this time."""


class Provider(Protocol):
    """The mandatory core. Arguments after the first are keyword-only."""

    name: str

    async def check(self) -> None:
        """Prove cheaply (5 s at most) that endpoint and credentials work; raises when not."""

    def features(self) -> Features:
        """The facts about this provider; pure, the same at every call."""

    async def offers(self, need: Need) -> list[Offer]:
        """What there is room for; an empty list is a legal answer."""

    async def create(self, spec: MachineSpec) -> Handle:
        """Make the machine and start it; returns as soon as there is something to find.

        Idempotent by `machine_id`: a second call gives the same handle and finishes what was half made.
        Raises InvalidSpec, Unsupported, NoCapacity, QuotaExceeded, AuthFailed, Unreachable.
        """

    async def inspect(self, handle: Handle) -> Observation:
        """The machine as it is now; one that is missing has the state gone. Legal at any time."""

    async def stop(self, handle: Handle, *, grace_s: float = 5.0) -> None:
        """End the machine's processes, keep its disk if the flag says so. Stopped or missing is success."""

    async def start(self, handle: Handle) -> None:
        """Boot a stopped machine. Running is success; missing raises NotFound."""

    async def delete(self, handle: Handle) -> None:
        """Remove the machine and all that belongs to it; missing is success."""

    def list(self) -> AsyncIterator[Observation]:
        """Every machine of this router, half-made ones too."""

    async def dial(self, handle: Handle, *, port: int) -> socket.socket:
        """A connected, non-blocking stream socket to a port inside; NotRunning or Unreachable when there is none."""

    async def aclose(self) -> None:
        """Release connections; safe to call twice. Machines are untouched."""


@runtime_checkable
class Pausable(Protocol):
    """Freezing without losing memory."""

    async def pause(self, handle: Handle) -> None:
        """Freeze; frozen already is success, not running raises NotRunning."""

    async def resume(self, handle: Handle) -> None:
        """Thaw; running already is success, missing raises NotFound."""


@runtime_checkable
class Resizable(Protocol):
    """Changing limits of a living machine."""

    async def resize(self, handle: Handle, *, cpu: float, memory_bytes: int) -> None:
        """Set new limits at once; InvalidSpec when they cannot be."""


@runtime_checkable
class Snapshots(Protocol):
    """Copies of a machine that outlive it."""

    async def snapshot(self, handle: Handle, *, name: str) -> Mapping[str, Any]:
        """Keep the machine's state under a name; returns what is needed to use or forget it."""

    async def fork(self, snapshot: Mapping[str, Any], spec: MachineSpec) -> Handle:
        """A new machine from a snapshot, with the spec's identity."""

    async def forget(self, snapshot: Mapping[str, Any]) -> None:
        """Remove a snapshot; missing is success."""


@runtime_checkable
class Volumes(Protocol):
    """Named disks that outlive machines."""

    async def ensure_volume(self, name: str) -> Mapping[str, Any]:
        """The volume of that name, made if it is not there."""

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; missing is success, in use raises Conflict."""


@runtime_checkable
class Console(Protocol):
    """The boot log of a machine, for when its guest never answers."""

    async def read_console(self, handle: Handle, *, limit_bytes: int = 65536) -> bytes:
        """The newest output of the machine's first process."""


Progress = Callable[[Mapping[str, Any]], None]
"""Takes one step of long work: {"step": str, "of": int|None, "at": int|None, "detail": str}."""


@runtime_checkable
class Images(Protocol):
    """Where images are built and kept; the recipe's shape is `cloudrouter.images.recipe.Recipe`."""

    async def resolve_image(self, name: str) -> str | None:
        """The runnable reference for an image's short name or full reference; None when it is not there."""

    def build_image(self, name: str, *, progress: Progress, rebuild: bool = False) -> Awaitable[str]:
        """Build one of our images, or do nothing when it is there and current; returns its reference."""

    async def list_images(self) -> list[Mapping[str, Any]]:
        """Our images: name, reference, size_bytes, created_at (RFC 3339), current (bool), in_use (bool)."""

    async def remove_image(self, name: str) -> None:
        """Remove an image; missing raises NotFound, in use raises Conflict."""
