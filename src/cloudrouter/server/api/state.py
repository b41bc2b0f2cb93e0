"""What the handlers are given: the services, and who asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudrouter.auth.hosts import Address
from cloudrouter.server.guests.browserchannels import BrowserChannels
from cloudrouter.server.guests.connections import Guests
from cloudrouter.server.services.apps import Apps
from cloudrouter.server.services.browsing import Browsing
from cloudrouter.server.services.cdpkeys import CdpKeys
from cloudrouter.server.services.doctor import Doctor
from cloudrouter.server.services.doors import Doors
from cloudrouter.server.services.events import EventLog
from cloudrouter.server.services.images import ImageService
from cloudrouter.server.services.inspection import Inspection
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.packagecache import PackageCache
from cloudrouter.server.services.sidecars import SidecarService
from cloudrouter.server.services.ssh import SshService
from cloudrouter.server.services.stats import Stats
from cloudrouter.server.services.status import ServerStatus
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.services.uninstall import Uninstall
from cloudrouter.server.services.views import machine_view
from cloudrouter.server.services.volumes import Volumes
from cloudrouter.server.store.events import EventStore
from cloudrouter.server.store.machines import Row
from cloudrouter.wire.machines import Machine

VIEWS_KEPT = 20_000


@dataclass
class Services:
    """One of each, made by `server.app`."""

    machines: Machines
    images: ImageService
    volumes: Volumes
    doctor: Doctor
    status: ServerStatus
    guests: Guests
    traffic: Traffic
    event_store: EventStore
    features: dict[str, Any]
    events: EventLog
    stats: Stats
    inspection: Inspection
    uninstall: Uninstall
    packages: PackageCache
    clock: Callable[[], float]
    doors: Doors
    apps: Apps
    browsing: Browsing
    channels: BrowserChannels
    cdp_keys: CdpKeys
    sidecars: SidecarService
    ssh: SshService
    views: dict[str, tuple[Row, Address | None, Machine]] = field(default_factory=dict)
    """machine id -> its row and the gateway when it was last shown, and what was shown: lists of thousands are
    asked for often."""

    def view(self, row: Row) -> Machine:
        """The wire's form of a row; made once, for rows do not change but are replaced."""
        known, gateway = self.views.get(row.id), self.doors.address
        if known is None or known[0] is not row or known[1] is not gateway:
            if len(self.views) >= VIEWS_KEPT:
                self.views.clear()
            shown = machine_view(row, self.features[row.provider], gateway)
            if row.id in self.machines.notes:
                shown = replace(shown, notes=self.machines.notes[row.id])
            known = self.views[row.id] = (row, gateway, shown)
        return known[2]


Asked = NamedDependency[Services]
Owner = NamedDependency[str]
Ref = FromPath[str]
