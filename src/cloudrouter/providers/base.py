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

from cloudrouter.images.folders import FolderBuild
from cloudrouter.wire.boot import GuestBoot
from cloudrouter.wire.machines import Mount
from cloudrouter.wire.sidecars import Sidecar

Clock = Callable[[], float]
"""Seconds since the epoch; passed in so that tests own the time."""

LABEL_MACHINE = "cloudrouter.dev/machine"
LABEL_OWNER = "cloudrouter.dev/owner"
LABEL_ROUTER = "cloudrouter.dev/router"
LABEL_SIDECAR = "cloudrouter.dev/sidecar"
"""The name of a sidecar, on what is one; LABEL_MACHINE then names the machine that it is beside."""

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
    mounts: tuple[Mount, ...] = ()
    """Volumes of the owner, checked by `wire.mounts`; `create` makes those that are not there."""
    sidecars: tuple[Sidecar, ...] = ()
    """Images that run beside the machine, checked by `wire.sidecars` and fetched; they live and die with it."""
    package_door: str | None = None
    """A folder of this host that the machine sees read-only at `wire.packages.DOOR_IN_MACHINE`, where that can be."""
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
    """Volumes: `mounts` of a spec are given; without it a spec that has some is Unsupported."""
    sidecars: bool = False
    """Sidecars: `sidecars` of a spec are made; without it a spec that has some is Unsupported."""
    resize: bool = False
    console: bool = False
    images: bool = False
    stats: bool = False
    """Measurable: what a machine uses can be measured."""
    removable: bool = False
    """Removable: what belongs to the router as a whole can be listed and taken away."""
    package_door: bool = False
    """`package_door` of a spec is seen inside when the backend is this very host; else it is left out silently."""
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


@dataclass(frozen=True)
class Volume:
    """A named disk, as its provider sees it."""

    name: str
    owner: str
    created_at: float | None = None


@runtime_checkable
class Volumes(Protocol):
    """Named disks that outlive machines. Each is one owner's on one router; several machines may have it at once."""

    async def ensure_volume(self, name: str, *, owner: str) -> bool:
        """Make the volume if it is not there; whether it was made now."""

    async def list_volumes(self, *, owner: str | None = None) -> list[Volume]:
        """The volumes of one owner, or of all owners of this router; by name."""

    async def measure_volumes(self, *, owner: str) -> Mapping[str, int]:
        """Name -> bytes that its files take. May take seconds where there are many files."""

    async def remove_volume(self, name: str, *, owner: str) -> None:
        """Remove a volume and all that is in it; missing is success, in use raises Conflict."""


NESTED = "nested"
SHARED_OUT = "shared-out"


@dataclass(frozen=True)
class SidecarSeen:
    """One sidecar as its provider sees it now; state is one of the words for machines, never gone."""

    name: str
    state: str
    reason: str = ""
    """Why it ended, where it did so by itself; empty after a stop."""
    exit_code: int | None = None
    """How its first process ended; None while it runs, and before."""
    started_at: float | None = None
    """While it runs."""
    last_started_at: float | None = None
    ended_at: float | None = None
    """Of its last run; None while it runs, and before."""
    health: str = ""
    """What the image's own check says: `starting`, `healthy` or `unhealthy`; empty where it has none."""
    health_said: str = ""
    """The end of what that check printed; anything may stand in it."""
    limits: str = ""
    """NESTED: its limits lie inside the machine's. SHARED_OUT: they were taken off the machine's own."""
    memory_bytes: int | None = None
    """What it uses now, where that is asked for and known."""


@runtime_checkable
class Sidecars(Protocol):
    """Images that run beside a machine, on its network and inside its limits.

    `create` makes and starts those of the spec, `start` and `stop` take them along, `delete` removes them.
    """

    async def check_sidecar_image(self, name: str) -> None:
        """Refuse at once what cannot be an image (InvalidSpec), or only could have been here (NotFound)."""

    async def fetch_sidecar_image(self, name: str, *, progress: Progress) -> None:
        """Have the image, as it is, before a machine is made: NotFound, Unreachable or NoCapacity when that fails."""

    async def list_sidecars(self, handle: Handle, *, measure: bool = False) -> list[SidecarSeen]:
        """All that there are of one machine, by name; empty for a machine that is missing."""

    async def machines_with_ended_sidecars(self) -> list[str]:
        """Ids of this router's machines that have a sidecar which does not run; cheap, for asking again and again."""

    async def start_sidecar(self, handle: Handle, *, name: str) -> None:
        """Start one that is stopped. Running is success, missing raises NotFound, without its machine NotRunning."""

    async def stop_sidecar(self, handle: Handle, *, name: str, grace_s: float = 10.0) -> None:
        """Stop one; stopped is success, missing raises NotFound."""

    async def read_sidecar_log(self, handle: Handle, *, name: str, tail: int | None = None) -> bytes:
        """The newest output of one, at most a MiB and so many lines; missing raises NotFound."""


@runtime_checkable
class Console(Protocol):
    """The boot log of a machine, for when its guest never answers."""

    async def read_console(self, handle: Handle, *, limit_bytes: int = 65536) -> bytes:
        """The newest output of the machine's first process."""


@dataclass(frozen=True)
class Measurement:
    """What a machine uses, counted since its boot where it is a count; None where the provider cannot tell."""

    cpu_seconds: float | None = None
    """Time on all cpus together."""
    memory_bytes: int | None = None
    """Without what the kernel could take back at once (inactive file pages)."""
    disk_bytes: int | None = None
    """Written to the machine's own disk; measuring it is dear, so it may be a minute old, or older on large disks."""
    network_received_bytes: int | None = None
    network_sent_bytes: int | None = None
    processes: int | None = None
    """Threads count too."""


@runtime_checkable
class Measurable(Protocol):
    """Measuring what machines use."""

    async def measure(self, handle: Handle) -> Measurement:
        """What the machine uses now; NotRunning when it does not run, missing raises NotFound. Costs little."""


@dataclass(frozen=True)
class Leftover:
    """One thing on the backend that belongs to the router as a whole, and not to one machine."""

    kind: str
    """`network`, `rules`, `helper`, `image` or `volume`."""
    name: str
    """By which `remove_leftover` finds it."""
    size_bytes: int | None = None
    shared: bool = False
    """Other routers have things on the same backend and may use it, too; for them it would have to be made again."""


@runtime_checkable
class Removable(Protocol):
    """Taking away what a router leaves behind when it has no machines any more."""

    async def leftovers(self) -> list[Leftover]:
        """Everything there is, in an order in which it can be removed."""

    async def remove_leftover(self, leftover: Leftover) -> None:
        """Remove one; missing is success, in use raises Conflict."""


Progress = Callable[[Mapping[str, Any]], None]
"""Takes one step of long work: {"step": str, "of": int|None, "at": int|None, "detail": str}."""


@runtime_checkable
class Images(Protocol):
    """Where images are built and kept; the recipe's shape is `cloudrouter.images.recipe.Recipe`."""

    async def check_image(self, name: str) -> None:
        """Refuse at once what cannot be an image (InvalidSpec), or only could have been here (NotFound)."""

    async def resolve_image(self, name: str) -> str | None:
        """The runnable reference for an image's short name or full reference; None when it is not ready to boot."""

    def use_apps(self, folder: str) -> None:
        """Where people's own apps are kept: a folder each, called as in images' names (`name@digest`)."""

    def build_image(
        self, name: str, *, progress: Progress, rebuild: bool = False, quiet: bool = False
    ) -> Awaitable[str]:
        """Build one of ours, or fetch any other and put the guest into it; nothing to do when it is there and current.

        `rebuild` fetches everything anew; `quiet`: nobody waits for it, so others go first. Returns the
        runnable reference.
        """

    async def build_folder(
        self, order: FolderBuild, tar: AsyncIterator[bytes], *, progress: Progress
    ) -> Mapping[str, str]:
        """Build from a person's Dockerfile whose folder comes as a tar; `name` and `reference` of the result."""

    async def list_images(self) -> list[Mapping[str, Any]]:
        """Ours: name, kind, base, reference, size_bytes, created_at (RFC 3339), current and in_use (bool)."""

    async def remove_image(self, name: str) -> None:
        """Remove an image; missing raises NotFound, in use raises Conflict."""

    async def prune_images(self, *, everything: bool, dry_run: bool) -> Mapping[str, Any]:
        """Remove builds that are neither current nor used by a machine; everything: current ones, too.

        `images` (removed, or for dry_run to be removed), `kept` with a reason, `freed_bytes` (None: not known).
        """
