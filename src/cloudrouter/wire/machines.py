"""The requests about machines, as the API takes them, and the shape of a machine in JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional


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


@dataclass(frozen=True)
class ExtendMachine:
    """Body of `POST /v1/machines/{ref}/extend`: the deadline becomes exactly now + seconds."""

    seconds: float


@dataclass(frozen=True)
class BuildImage:
    """Body of `POST /v1/images/build`."""

    name: str = "core"
    provider: Optional[str] = None
    rebuild: bool = False
    """Build every layer again, also those the engine has in its cache."""


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
    urls: dict[str, str]
    workspace: str
    created_at: str
    started_at: Optional[str]
    expires_at: Optional[str]
    ready_ms: Optional[int]
    """Milliseconds from the request until the guest answered first; None until then."""


@dataclass(frozen=True)
class MachineList:
    """`{"machines": [...], "errors": [...]}`: the answer wherever several are meant."""

    machines: list[Machine]
    errors: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    """One fact in the log: what happened to which machine, when, and what else is known."""

    seq: int
    at: str
    kind: str
    machine_id: Optional[str]
    message: str
    data: dict[str, Any] = field(default_factory=dict)
