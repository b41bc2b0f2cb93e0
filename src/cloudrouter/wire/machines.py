"""The requests about machines, as the API takes them, and the shape of a machine in JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from cloudrouter.wire.sidecars import Sidecar


@dataclass(frozen=True)
class Mount:
    """A named volume of this owner at a path inside a machine; made when it is not there."""

    volume: str
    path: str
    """Absolute, normal, below none of the system's folders."""
    read_only: bool = False


@dataclass(frozen=True)
class StartMachine:
    """Body of `POST /v1/machines`. What is None is chosen by the router."""

    name: Optional[str] = None
    size: Optional[str] = None
    cpu: Optional[float] = None
    memory_bytes: Optional[int] = None
    disk_bytes: Optional[int] = None
    image: Optional[str] = None
    provider: Optional[str] = None
    env: dict[str, str] = field(default_factory=dict)
    """Set for every command inside; handed to the guest, never to the provider."""
    labels: dict[str, str] = field(default_factory=dict)
    timeout_seconds: Optional[float] = None
    """Hard deadline: the machine is stopped this long after its creation."""
    provisional: bool = False
    """The machine stays `starting` until `confirm`; without it, it is deleted after a grace."""
    client_env: dict[str, str] = field(default_factory=dict)
    """Proxy variables of the person's side (HTTP_PROXY ...), used where `env` does not set them."""
    ca_pem: Optional[str] = None
    """The person's CA bundle, PEM; the guest makes every common client trust it."""
    mounts: list[Mount] = field(default_factory=list)
    package_cache: bool = True
    """Package downloads of npm, pip, uv and cargo go through the router's cache, where it can be had."""
    gpu: Optional[str] = None
    """A kind, or KIND:COUNT; refused where the provider has none."""
    sidecars: list[Sidecar] = field(default_factory=list)
    """Upstream images that run beside the machine, on its `localhost`."""


@dataclass(frozen=True)
class ExtendMachine:
    """Body of `POST /v1/machines/{ref}/extend`: the deadline becomes exactly now + seconds."""

    seconds: float


@dataclass(frozen=True)
class RenameMachine:
    """Body of `POST /v1/machines/{ref}/rename`; an empty name takes the name away."""

    name: str


@dataclass(frozen=True)
class RemoveLeftovers:
    """Body of `POST /v1/uninstall`: networks and firewall rules go always, these only when asked for."""

    images: bool = False
    volumes: bool = False


@dataclass(frozen=True)
class BuildImage:
    """Body of `POST /v1/images/build`."""

    name: str = "core"
    provider: Optional[str] = None
    rebuild: bool = False
    """Build every layer again, also those the engine has in its cache."""


@dataclass(frozen=True)
class BuildFolder:
    """First line of the body of `POST /v1/images/build-folder`; the folder's tar follows it."""

    source: str
    """The folder's own name, for people."""
    origin: str = ""
    """Hex digits that tell it from other folders of that name."""
    dockerfile: str = "Dockerfile"
    """Its path in the folder."""
    target: str = ""
    """The stage to end with; empty for the last one."""
    buildargs: dict[str, str] = field(default_factory=dict)
    proxies: dict[str, str] = field(default_factory=dict)
    """The person's proxy variables, which builders know without a declaration."""
    tag: str = ""
    """One more name for the result."""
    provider: Optional[str] = None
    rebuild: bool = False


@dataclass(frozen=True)
class PruneImages:
    """Body of `POST /v1/images/prune`."""

    all: bool = False
    """Also what is current and would have to be made again by the next start."""
    dry_run: bool = False
    """Only tell what would be removed."""
    provider: Optional[str] = None


@dataclass(frozen=True)
class Machine:
    """A machine as `GET /v1/machines/{ref}` shows it; times are RFC 3339 UTC."""

    id: str
    name: str
    state: str
    reason: str
    provider: str
    image: str
    size: str
    cpu: float
    memory_bytes: int
    disk_enforced: bool
    labels: dict[str, str]
    apps: list[str]
    """Names of the apps in its image."""
    urls: dict[str, str]
    """App -> its address at the gateway, without a ticket; only apps that people can look at."""
    workspace: str
    mounts: list[Mount]
    package_cache: bool
    """Whether package downloads go through the router's cache."""
    created_at: str
    started_at: Optional[str]
    expires_at: Optional[str]
    ready_ms: Optional[int]
    """Milliseconds from the request until the guest answered first; None until then."""
    notes: list[str] = field(default_factory=list)
    """What its starter should know, such as apps that its image has not yet; forgotten with the router's end."""


@dataclass(frozen=True)
class MachineList:
    """`{"machines": [...], "errors": [...]}`: the answer wherever several are meant."""

    machines: list[Machine]
    errors: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Usage:
    """What a machine uses now, as its provider measures it; None where the provider cannot tell."""

    id: str
    name: str
    state: str
    """Nothing is measured unless it is `running` (or `starting`, once the guest has answered)."""
    at: str
    """RFC 3339 UTC."""
    cpu: Optional[float]
    """Cpus in use since the measurement before, or over a moment where there is none; 1.0 is one whole cpu."""
    cpu_limit: float
    memory_bytes: Optional[int]
    """Without what the kernel could take back at once (inactive file pages)."""
    memory_limit_bytes: int
    disk_bytes: Optional[int]
    """Written to the machine's own disk; may be a minute old, or older where measuring it takes long."""
    network_received_bytes: Optional[int]
    """Since the machine's boot."""
    network_sent_bytes: Optional[int]
    processes: Optional[int]


@dataclass(frozen=True)
class Event:
    """One fact in the log: what happened to which machine, when, and what else is known."""

    seq: int
    at: str
    kind: str
    machine_id: Optional[str]
    message: str
    data: dict[str, Any] = field(default_factory=dict)
