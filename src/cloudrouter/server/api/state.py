"""What the handlers are given: the services, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudrouter.server.guests.connections import Guests
from cloudrouter.server.services.doctor import Doctor
from cloudrouter.server.services.images import ImageService
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.status import ServerStatus
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.services.views import machine_view
from cloudrouter.server.store.events import EventStore
from cloudrouter.server.store.machines import Row
from cloudrouter.wire.machines import Machine


@dataclass
class Services:
    """One of each, made by `server.app`."""

    machines: Machines
    images: ImageService
    doctor: Doctor
    status: ServerStatus
    guests: Guests
    traffic: Traffic
    event_store: EventStore
    features: dict[str, Any]

    def view(self, row: Row) -> Machine:
        """The wire's form of a row."""
        return machine_view(row, self.features[row.provider])


Asked = NamedDependency[Services]
Owner = NamedDependency[str]
Ref = FromPath[str]
