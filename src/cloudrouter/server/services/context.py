"""What the services share: the book, the providers, the guests, the log of events and the clock."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cloudrouter.providers.base import Clock, Handle, Images, MachineSpec, Provider
from cloudrouter.server.guests.connections import Guests
from cloudrouter.server.services.events import EventLog
from cloudrouter.server.services.packagecache import PackageCache
from cloudrouter.server.settings import Settings
from cloudrouter.server.store.machines import MachineStore, Row
from cloudrouter.wire import states
from cloudrouter.wire.boot import GuestBoot
from cloudrouter.wire.errors import Conflict, Internal, NotConfigured
from cloudrouter.wire.machines import Mount
from cloudrouter.wire.sidecars import Sidecar


@dataclass
class Context:
    """Made once by `server.app`; passed to every service and loop."""

    settings: Settings
    router_id: str
    clock: Clock
    store: MachineStore
    events: EventLog
    providers: dict[str, Provider]
    guests: Guests
    packages: PackageCache
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    watchers: list[Callable[[Row], None]] = field(default_factory=list)
    """Told of every row whose state has changed, before anything else happens."""

    def provider(self, name: str) -> Provider:
        """The provider of that name; NotConfigured when this router has none."""
        found = self.providers.get(name)
        if found is None:
            known = ", ".join(sorted(self.providers)) or "none"
            raise NotConfigured(f"There is no provider {name!r} here.", fix=f"Providers of this router: {known}.")
        return found

    def lock(self, machine_id: str) -> asyncio.Lock:
        """The lock under which a machine's state is changed; one verb at a time."""
        return self.locks.setdefault(machine_id, asyncio.Lock())

    def handle(self, row: Row) -> Handle:
        """The provider's handle of a machine that has one."""
        if row.handle is None:
            raise Internal(f"{row.id} has no handle.")
        return Handle(row.provider, row.handle)

    async def set(self, row: Row, **values: Any) -> Row:
        """Change columns of a row, and its state only as the table of transitions allows."""
        current = self.store.get(row.id)
        wanted = values.get("state")
        if current is None:
            raise Conflict(f"{row.id} was deleted meanwhile.")
        if wanted is not None and wanted != current.state and wanted not in states.NEXT[current.state]:
            raise Conflict(f"{row.id} is {current.state}; it cannot become {wanted}.")
        changed = await self.store.change(row.id, now=self.clock(), **values)
        if changed is None:
            raise Conflict(f"{row.id} was deleted meanwhile.")
        if wanted is not None and wanted != current.state:
            for watcher in self.watchers:
                watcher(changed)
            message = f"{row.id} is {wanted}" + (f": {changed.reason}" if changed.reason else "")
            self.events.emit(f"machine.{wanted}", message, machine_id=row.id)
        return changed

    def spec(self, row: Row, image_reference: str) -> MachineSpec:
        """What the provider is asked for; nothing secret is in it."""
        return MachineSpec(
            machine_id=row.id,
            owner=row.owner,
            router_id=self.router_id,
            image=image_reference,
            cpu=row.cpu,
            memory_bytes=row.memory_bytes,
            disk_bytes=row.disk_bytes,
            boot=GuestBoot(row.id, hashlib.sha256(row.token.encode()).hexdigest()),
            labels=row.labels,
            mounts=tuple(Mount(**mount) for mount in row.mounts),
            sidecars=tuple(Sidecar(**{key: one[key] for key in one if key != "off"}) for one in row.sidecars),
            package_door=self.packages.door if row.package_cache else None,
        )

    async def image_reference(self, row: Row) -> str:
        """The reference of the row's image, built first when it is one of ours and not there."""
        provider = self.provider(row.provider)
        if not isinstance(provider, Images):
            return row.image
        found = await provider.resolve_image(row.image)
        if found is not None:
            return found
        return await provider.build_image(row.image, progress=lambda step: self.events.progress(row.id, **step))

    def save_ca(self, pem: str) -> str:
        """Keep a CA bundle once per content; its SHA-256 is what a row remembers."""
        digest = hashlib.sha256(pem.encode()).hexdigest()
        path = self.ca_path(digest)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            part = f"{path}.{os.getpid()}"
            with open(part, "w", encoding="utf-8") as file:
                file.write(pem)
            os.replace(part, path)
        return digest

    def load_ca(self, digest: str | None) -> str | None:
        """The bundle behind a digest; None where there is none."""
        if digest is None:
            return None
        try:
            with open(self.ca_path(digest), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def ca_path(self, digest: str) -> str:
        """Where a bundle is kept."""
        return f"{self.settings.state_dir}/ca/{digest}.pem"
