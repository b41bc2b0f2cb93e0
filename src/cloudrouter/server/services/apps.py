"""Apps and ports of a machine, as its guest tells them, with the addresses that the gateway has for them."""

from __future__ import annotations

import builtins
from typing import Any

from cloudrouter.server.services.context import Context
from cloudrouter.server.services.doors import Doors, known_apps
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.sidecars import SidecarService
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import apps, boot
from cloudrouter.wire.apps import AppState, Port
from cloudrouter.wire.errors import Internal

START_DEADLINE_S = 300.0
"""How long the start of an app is waited for; the guest's own bound is the app's."""
STOP_DEADLINE_S = 60.0
PORTS_MOST = 4096
LOGS_DEADLINE_S = 30.0
LOG_BYTES = 1024 * 1024


class Apps:
    """The verbs on apps and ports."""

    def __init__(self, context: Context, machines: Machines, doors: Doors, sidecars: SidecarService) -> None:
        self._context = context
        self._sidecars = sidecars
        self._machines = machines
        self._doors = doors

    async def list(self, owner: str, ref: str) -> builtins.list[AppState]:
        """Every app of the machine as it is now."""
        row = self._machines.reachable(owner, ref)
        answer = await self._context.guests.ask(row, {"op": "app.list"})
        return [*(self._shown(row, one) for one in known_apps(answer)), *await self._sidecars.states(row)]

    async def start(self, owner: str, ref: str, app: str) -> AppState:
        """Start an app, with those it requires, and wait until it is healthy."""
        row = self._machines.find(owner, ref)
        if self._sidecars.has(row, app):
            return await self._sidecars.start(row, app)
        return await self._change(owner, ref, {"op": "app.start", "app": app}, START_DEADLINE_S)

    async def stop(self, owner: str, ref: str, app: str) -> AppState:
        """Stop an app, and those that require it."""
        row = self._machines.find(owner, ref)
        if self._sidecars.has(row, app):
            return await self._sidecars.stop(row, app)
        return await self._change(owner, ref, {"op": "app.stop", "app": app}, STOP_DEADLINE_S)

    async def logs(self, owner: str, ref: str, app: str, *, tail: int | None = None) -> bytes:
        """The end of what an app or a sidecar has printed, at most LOG_BYTES."""
        row = self._machines.find(owner, ref)
        if self._sidecars.has(row, app):
            return await self._sidecars.logs(row, app, tail=tail)
        request = {"op": "app.logs", "app": app, **({} if tail is None else {"tail": tail})}
        row = self._machines.reachable(owner, ref)
        return (await self._context.guests.read(row, request, deadline_s=LOGS_DEADLINE_S))[-LOG_BYTES:]

    async def ports(self, owner: str, ref: str) -> builtins.list[Port]:
        """What listens inside the machine."""
        row = self._machines.reachable(owner, ref)
        answer = await self._context.guests.ask(row, {"op": "ports"})
        found = answer.get("ports")
        listed = found[:PORTS_MOST] if isinstance(found, list) else []
        return [port for one in listed if (port := self._port(row, one)) is not None]

    async def _change(self, owner: str, ref: str, request: dict[str, Any], deadline_s: float) -> AppState:
        row = self._machines.reachable(owner, ref)
        answer = await self._context.guests.ask(row, request, deadline_s=deadline_s)
        known = known_apps({"apps": [answer.get("app")]})
        if not known:
            raise Internal(f"{row.id} did not say how its app is now.", next=f"cloudrouter apps {row.id}")
        return self._shown(row, known[0])

    def _shown(self, row: Row, said: dict[str, Any]) -> AppState:
        """What the guest says of an app, field by field: whatever is not of its kind is left out."""
        return AppState(
            name=said["name"],
            title=_text(said.get("title")) or said["name"],
            view=said["view"],
            state=said["state"],
            reason=_text(said.get("reason")),
            since=_text(said.get("since")) or None,
            memory_bytes=_number(said.get("memory_bytes")),
            uptime_s=_real(said.get("uptime_s")),
            pid=_number(said.get("pid")),
            restarts=_number(said.get("restarts")) or 0,
            clients=_number(said.get("clients")) or 0,
            port=_number(said.get("port")),
            requires=[_text(one) for one in said.get("requires") or [] if isinstance(one, str)],
            url=self._doors.url(row, said["name"]) if said["view"] != apps.VIEW_NONE else None,
        )

    def _port(self, row: Row, said: Any) -> Port | None:
        port = _number(said.get("port")) if isinstance(said, dict) else None
        if port is None or not 0 < port < 65536 or port == boot.GUEST_PORT:
            return None
        addresses = said.get("addresses")
        return Port(
            port=port,
            addresses=[_text(one) for one in addresses if isinstance(one, str)] if isinstance(addresses, list) else [],
            pid=_number(said.get("pid")),
            process=_text(said.get("process")),
            app=_text(said.get("app")) or None,
            url=self._doors.url(row, str(port)),
        )


def _text(value: Any) -> str:
    return value[:2000] if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _real(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and value >= 0 else None
