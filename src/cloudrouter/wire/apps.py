"""Apps, the units inside a machine that serve people, as streams and the API tell of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

OFF = "off"
STARTING = "starting"
RUNNING = "running"
FAILED = "failed"
STOPPING = "stopping"
STATES = (OFF, STARTING, RUNNING, FAILED, STOPPING)
"""`failed` has crashed or never became healthy; its reason says so, and when it is tried again."""

VIEW_HTTP = "http"
VIEW_RFB = "rfb"
VIEW_NONE = "none"
VIEWS = (VIEW_HTTP, VIEW_RFB, VIEW_NONE)
"""How people see an app: as web pages, as a desktop, or not by itself."""

KIND_APP = "app"
KIND_SIDECAR = "sidecar"
KINDS = (KIND_APP, KIND_SIDECAR)
"""Inside the machine, or an image of its own beside it."""

FOLDER = "/opt/cloudrouter/apps"
"""Where an image keeps its apps: a folder each, with `app.json` in it."""
RUN_FOLDER = "/run/cloudrouter/apps"
"""Where apps have their sockets and notes while the machine runs: a folder each, the user's own, 0700."""


@dataclass(frozen=True)
class AppState:
    """One app of a machine, as it is now."""

    name: str
    title: str
    view: str
    """One of VIEWS."""
    state: str
    """One of STATES."""
    reason: str = ""
    since: Optional[str] = None
    """When it came into this state; RFC 3339 UTC."""
    memory_bytes: Optional[int] = None
    """Of all its processes (PSS where the kernel tells it); None while it does not run."""
    uptime_s: Optional[float] = None
    pid: Optional[int] = None
    restarts: int = 0
    """How often it was started again after a crash, since the machine's boot."""
    clients: int = 0
    """Connections of people and programs to it now."""
    port: Optional[int] = None
    """The port it listens on inside; None when it is a socket."""
    requires: list[str] = field(default_factory=list)
    url: Optional[str] = None
    """Where the gateway shows it, without a ticket; None where it has no view, or there is no gateway."""
    kind: str = KIND_APP
    """One of KINDS."""


@dataclass(frozen=True)
class PtyState:
    """One terminal of a machine that goes on without its clients, as `pty.list` tells it."""

    id: str
    name: Optional[str]
    command: str
    cwd: str
    started_at: str
    """RFC 3339 UTC."""
    clients: int
    cols: int
    rows: int
    """The smallest size of its clients; with none, the last one."""
    pid: Optional[int] = None
    """Its first program; None once that has ended."""
    code: Optional[int] = None
    """How it ended, while nobody has been told yet; such a session is listed for a minute."""


@dataclass(frozen=True)
class Port:
    """One TCP port that something listens on inside a machine."""

    port: int
    addresses: list[str]
    pid: Optional[int]
    process: str
    app: Optional[str] = None
    """The app it belongs to."""
    url: Optional[str] = None
