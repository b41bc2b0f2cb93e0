"""Doors of machines: tickets, the sessions they become, and when both end. The gateway asks here who may come in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from cloudrouter.auth.hosts import Address, Place, is_port
from cloudrouter.auth.tickets import Grant, Tickets, digest, new_secret
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.views import rfc3339
from cloudrouter.server.store.machines import Row
from cloudrouter.server.store.sessions import CDP_VIEW, Session, SessionStore
from cloudrouter.wire import apps, boot, states
from cloudrouter.wire.doors import SESSION_SECONDS, Door, OpenDoor
from cloudrouter.wire.errors import NotConfigured, NotFound, UsageError

SETTLE_S = 5.0
"""How long `open` waits for a gateway whose port the router before this one still has."""

log = structlog.get_logger("doors")


class Doors:
    """One router's doors. `address` is where its gateway listens; None, with the reason, while it does not."""

    def __init__(self, context: Context, machines: Machines, sessions: SessionStore) -> None:
        self._context = context
        self._machines = machines
        self._sessions = sessions
        self._tickets = Tickets()
        self._enders: list[Callable[[str], None]] = []
        self._writing: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self.address: Address | None = None
        self.reason = "it is not open yet"
        context.watchers.append(self._watch)

    async def load(self) -> None:
        """Read the sessions; those at machines that ended while no router ran have ended too."""
        await self._sessions.load(self._context.clock())
        for machine_id in self._sessions.machines():
            if self.reachable(machine_id) is None:
                self.end(machine_id)

    async def aclose(self) -> None:
        """Write down what has ended."""
        await asyncio.gather(*self._writing)

    def opened(self, address: Address | None, reason: str = "") -> None:
        """The gateway says where it listens, or why it does not."""
        self.address, self.reason = address, reason
        self._settled.set()

    async def settled(self) -> None:
        """Returns once the gateway has said either."""
        await self._settled.wait()

    def on_end(self, ender: Callable[[str], None]) -> None:
        """Have this called with a machine's id when all connections of people to it must end."""
        self._enders.append(ender)

    # -- asked by the API ---------------------------------------------------------------------------------------

    async def open(self, owner: str, ref: str, wanted: OpenDoor) -> Door:
        """An address with a fresh ticket for an app or a port of a running machine."""
        row = self._machines.reachable(owner, ref)
        path = _checked_path(wanted.path)
        address = await self.gateway()
        grant = await self._grant(row, wanted)
        ticket, expires = self._tickets.mint(grant, self._context.clock())
        lasting = address.origin(grant.place) + path
        return Door(wanted.target, with_ticket(lasting, ticket), lasting, rfc3339(expires) or "")

    async def close(self, owner: str, ref: str) -> int:
        """End every ticket, session and open connection of people at a machine; how many tickets and sessions."""
        row = self._machines.find(owner, ref)
        closed = self.end(row.id)
        await asyncio.gather(*self._writing)
        self._context.events.emit("machine.closed", f"The doors of {row.id} were closed", machine_id=row.id)
        return closed

    def url(self, row: Row, target: str) -> str | None:
        """Where people find this again once they are in; None without a gateway."""
        return self.address.origin(Place(row.id, target)) + "/" if self.address else None

    def end(self, machine_id: str) -> int:
        """From now on nobody is let in by what was given out, and whoever is in is put out; how much there was."""
        now = self._context.clock()
        ended = self._sessions.end(machine_id, now)
        closed = self._tickets.revoke(machine_id) + ended
        for ender in self._enders:
            ender(machine_id)
        if ended:
            task = asyncio.create_task(self._sessions.write_end(machine_id, now), name=f"end sessions {machine_id}")
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        return closed

    async def gateway(self) -> Address:
        """Where the gateway listens; NotConfigured with the reason when it does not."""
        if self.address is None:
            try:
                async with asyncio.timeout(SETTLE_S):
                    await self.settled()
            except TimeoutError:
                log.debug("the gateway is not open yet")
        if self.address is None:
            raise NotConfigured(
                f"This router has no gateway for browsers: {self.reason}.",
                fix="Free a port, or choose one with CLOUDROUTER_GATEWAY_PORT, and restart the router. "
                "`cloudrouter forward` leads to ports without it.",
                next="cloudrouter server stop",
            )
        return self.address

    # -- asked by the gateway -----------------------------------------------------------------------------------

    def reachable(self, machine_id: str) -> Row | None:
        """The machine's row while people may be led to it."""
        row = self._context.store.get(machine_id)
        return row if row is not None and row.state in states.REACHABLE and row.handle is not None else None

    def current(self, machine_id: str) -> Row | None:
        """The machine's row, whatever its state; None when it is gone."""
        return self._context.store.get(machine_id)

    def session(self, secret: str, place: Place) -> Session | None:
        """The session of a cookie at this place, also one that was ended."""
        found = self._sessions.get(digest(secret), self._context.clock())
        if found is None or (found.machine_id, found.target) != (place.machine_id, place.target):
            return None
        return found if found.view != CDP_VIEW else None

    async def enter(self, ticket: str, place: Place) -> str | None:
        """Turn a ticket into a session; the secret for the cookie. None when the ticket is not good (any more)."""
        now = self._context.clock()
        grant = self._tickets.redeem(ticket, place, now)
        if grant is None or self.reachable(place.machine_id) is None:
            return None
        secret = new_secret()
        session = Session(
            digest=digest(secret),
            machine_id=place.machine_id,
            target=place.target,
            view=grant.view,
            view_only=grant.view_only,
            created_at=now,
            expires_at=now + SESSION_SECONDS,
        )
        await self._sessions.add(session, now)
        if self.reachable(place.machine_id) is None:
            self.end(place.machine_id)  # it ended while this was written
            return None
        self._context.events.emit(
            "machine.opened", f"Somebody opened {place.target} of {place.machine_id}", machine_id=place.machine_id
        )
        return secret

    # -- inside -------------------------------------------------------------------------------------------------

    async def _grant(self, row: Row, wanted: OpenDoor) -> Grant:
        if is_port(wanted.target):
            if int(wanted.target) == boot.GUEST_PORT:
                raise UsageError(
                    f"Port {boot.GUEST_PORT} is the machine's own door to the router.",
                    fix="Let your server listen on another port.",
                    next=f"cloudrouter ports {row.id}",
                )
            view = apps.VIEW_HTTP
        else:
            view = await self._view_of(row, wanted.target)
        if wanted.view_only and view != apps.VIEW_RFB:
            raise UsageError("Only a desktop can be opened view-only.", next=f"cloudrouter open {row.id} desktop")
        return Grant(Place(row.id, wanted.target), view, wanted.view_only)

    async def _view_of(self, row: Row, name: str) -> str:
        """How people see that app; refused when there is none, or when it cannot be seen."""
        views = await self.views(row)
        if views.get(name, apps.VIEW_NONE) != apps.VIEW_NONE:
            return views[name]
        shown = [app for app, view in views.items() if view != apps.VIEW_NONE]
        have = f"It has {', '.join(shown)}; a port is a number." if shown else "It has none; a port is a number."
        if name in views:
            raise UsageError(f"The app {name} has nothing to look at by itself.", fix=have)
        if name.isdigit():
            raise UsageError(f"{name[:20]} is not a port.", fix="Give a number from 1 to 65535.")
        raise NotFound(
            f"{row.id} has no app {name[:40]!r}.", fix=have, next=f"cloudrouter apps {row.id}", apps=sorted(views)
        )

    async def views(self, row: Row) -> dict[str, str]:
        """App -> how people see it, as the machine says now; names that cannot stand in an address are left out."""
        try:
            answer = await self._context.guests.ask(row, {"op": "app.list"})
        except UsageError:
            return {}  # its guest is from before there were apps
        return {state["name"]: state["view"] for state in known_apps(answer)}

    def _watch(self, row: Row) -> None:
        if row.state not in states.REACHABLE:
            self.end(row.id)


def known_apps(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The apps in a guest's answer that are what they should be: a machine may say anything."""
    from cloudrouter.auth.hosts import is_app_name

    found = answer.get("apps")
    listed = found if isinstance(found, list) else []
    return [
        one
        for one in listed
        if isinstance(one, dict)
        and isinstance(one.get("name"), str)
        and is_app_name(one["name"])
        and one.get("view") in apps.VIEWS
        and one.get("state") in apps.STATES
    ]


def with_ticket(url: str, ticket: str) -> str:
    """The address with a ticket in its query, before any fragment."""
    from cloudrouter.wire.doors import TICKET_QUERY

    address, hash_sign, fragment = url.partition("#")
    joint = "&" if "?" in address else "?"
    return f"{address}{joint}{TICKET_QUERY}={ticket}{hash_sign}{fragment}"


def _checked_path(path: str) -> str:
    """The path as it may stand in an address; UsageError when it is none."""
    if not path.startswith("/") or len(path) > 2000 or not path.isprintable():
        raise UsageError(
            f"{path[:40]!r} is not a path.", fix="A path begins with a slash, and may have a query and a fragment."
        )
    from urllib.parse import quote

    return quote(path, safe="/?#[]@!$&'()*+,;=:%~-._")
