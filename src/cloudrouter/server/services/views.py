"""How a row of the book looks on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

from cloudrouter.auth.hosts import Address, Place
from cloudrouter.providers.base import Features
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import boot
from cloudrouter.wire.machines import Machine, Mount

WITHOUT_VIEW = frozenset({"browser"})
"""Apps of ours that show nothing by themselves."""


def rfc3339(at: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 UTC with milliseconds; None stays None."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def machine_view(row: Row, features: Features, gateway: Address | None) -> Machine:
    """The machine as the API shows it; tokens and environment stay inside."""
    seen = [app for app in row.apps if app not in WITHOUT_VIEW] if gateway is not None else []
    return Machine(
        id=row.id,
        name=row.name,
        state=row.state,
        reason=row.reason,
        provider=row.provider,
        image=row.image,
        size=row.size,
        cpu=row.cpu,
        memory_bytes=row.memory_bytes,
        disk_enforced=features.disk_limit and row.disk_bytes is not None,
        labels=row.labels,
        apps=list(row.apps),
        urls={app: f"{gateway.origin(Place(row.id, app))}/" for app in seen} if gateway is not None else {},
        mounts=[Mount(**mount) for mount in row.mounts],
        package_cache=row.package_cache,
        workspace=boot.WORKSPACE if features.own_root else "",
        created_at=rfc3339(row.created_at) or "",
        started_at=rfc3339(row.started_at),
        expires_at=rfc3339(row.expires_at),
        ready_ms=row.ready_ms,
    )
