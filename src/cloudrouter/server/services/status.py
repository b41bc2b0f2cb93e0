"""What the router tells about itself, and the wish that it end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

from cloudrouter import __version__
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.doors import Doors
from cloudrouter.server.services.views import rfc3339


@dataclass
class ServerStatus:
    """Facts about this process; `stopping` is set when it should end."""

    context: Context
    doors: Doors
    started_at: float
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def facts(self) -> dict[str, Any]:
        """The stable schema of `server status`; without a gateway its URL is null, and the reason says why."""
        settings, gateway = self.context.settings, self.doors.address
        return {
            "pid": os.getpid(),
            "version": __version__,
            "socket": settings.socket_path,
            "gateway_url": gateway.url if gateway is not None else None,
            "gateway_reason": "" if gateway is not None else self.doors.reason,
            "router_id": self.context.router_id,
            "state_dir": settings.state_dir,
            "started_at": rfc3339(self.started_at),
            "machines": len(self.context.store.living()),
            "providers": sorted(self.context.providers),
        }
