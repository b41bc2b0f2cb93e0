"""Keys for programs that debug a machine's browser: given out for some time, kept as digests, ended with the doors."""

from __future__ import annotations

from cloudrouter.auth import debugging
from cloudrouter.auth.hosts import Place
from cloudrouter.auth.tickets import digest, new_secret
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.doors import Doors
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.views import rfc3339
from cloudrouter.server.store.sessions import CDP_VIEW, Session, SessionStore
from cloudrouter.wire.browserapi import CDP_LONGEST_S, Cdp, OpenCdp
from cloudrouter.wire.browsing import APP
from cloudrouter.wire.errors import NotConfigured, NotRunning, UsageError


class CdpKeys:
    """A key is a session of the app `browser` that no cookie can stand for; `Doors.close` ends it with the others."""

    def __init__(self, context: Context, machines: Machines, doors: Doors, sessions: SessionStore) -> None:
        self._context = context
        self._machines = machines
        self._doors = doors
        self._sessions = sessions

    async def open(self, owner: str, ref: str, wanted: OpenCdp) -> Cdp:
        """A new address that lets programs drive the browser of a running machine."""
        if not 0 < wanted.ttl_s <= CDP_LONGEST_S:
            raise UsageError(
                f"A debugging address cannot be good for {wanted.ttl_s:g} s.",
                fix=f"Give up to {CDP_LONGEST_S:g} seconds.",
            )
        row = self._machines.reachable(owner, ref)
        if APP not in await self._doors.views(row):
            raise no_browser(row.id)
        address = await self._doors.gateway()
        now, key = self._context.clock(), new_secret()
        session = Session(
            digest=digest(key),
            machine_id=row.id,
            target=APP,
            view=CDP_VIEW,
            view_only=False,
            created_at=now,
            expires_at=now + wanted.ttl_s,
        )
        await self._sessions.add(session, now)
        if self._doors.reachable(row.id) is None:
            self._doors.end(row.id)  # it ended while this was written
            raise NotRunning(f"{row.id} does not run any more.", next=f"cloudrouter status {row.id}")
        until = rfc3339(session.expires_at) or ""
        self._context.events.emit(
            "machine.debugged", f"Programs may drive the browser of {row.id} until {until}", machine_id=row.id
        )
        return Cdp(
            url=debugging.base(address, row.id, key, socket=True),
            http_url=debugging.base(address, row.id, key, socket=False),
            expires_at=until,
        )

    def place(self, asked: debugging.Debugging) -> Place | None:
        """Where a request to a debugging address leads; None when its key is not good, or not there."""
        found = self._sessions.get(digest(asked.key), self._context.clock()) if asked.key else None
        if found is None or found.ended or found.view != CDP_VIEW:
            return None
        place = Place(found.machine_id, found.target)
        return place if asked.fits(place) else None


def no_browser(machine_id: str) -> NotConfigured:
    """The machine was made from an image without one."""
    return NotConfigured(
        f"{machine_id} has no browser.", fix="Start a machine with one.", next="cloudrouter start --image desktop"
    )
