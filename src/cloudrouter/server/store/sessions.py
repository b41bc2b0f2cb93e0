"""Sessions of people at the gateway: what their cookies stand for, found by digest; the cookies are kept nowhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cloudrouter.server.store.tables import sessions

CDP_VIEW = "cdp"
"""The view of a key by which programs drive a browser; no cookie can stand for such a session."""


@dataclass(frozen=True)
class Session:
    """One browser that was let in; times are seconds since the epoch."""

    digest: str
    machine_id: str
    target: str
    view: str
    view_only: bool
    created_at: float
    expires_at: float
    ended: bool = False
    """Revoked, or its machine was stopped or deleted; kept until it expires, to tell its browser why."""


class SessionStore:
    """The sessions table. One router process owns it, so what every request asks for is kept in memory."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._known: dict[str, Session] = {}
        self._writing = asyncio.Lock()

    async def load(self, now: float) -> None:
        """Read what has not expired, and forget the rest; call once before anything else."""
        async with self._engine.begin() as connection:
            await connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            rows = await connection.execute(sa.select(sessions))
            self._known = {row.digest: Session(**row._mapping) for row in rows}  # noqa: SLF001

    def get(self, digest: str, now: float) -> Session | None:
        """The session of a cookie, also one that was ended; None once it has expired."""
        found = self._known.get(digest)
        return found if found is not None and now < found.expires_at else None

    def living(self, machine_id: str, now: float) -> list[Session]:
        """The sessions at a machine that are good now."""
        mine = [one for one in self._known.values() if one.machine_id == machine_id]
        return [one for one in mine if not one.ended and now < one.expires_at]

    def machines(self) -> set[str]:
        """Every machine that somebody has a session at."""
        return {one.machine_id for one in self._known.values() if not one.ended}

    async def add(self, session: Session, now: float) -> None:
        """Write a session down; those that have expired go."""
        async with self._writing, self._engine.begin() as connection:
            await connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            await connection.execute(sessions.insert().values(**vars(session)))
        self._known = {key: one for key, one in self._known.items() if now < one.expires_at}
        self._known[session.digest] = session

    def end(self, machine_id: str, now: float) -> int:
        """From now on no session at this machine is good; how many were. `write_end` makes it last."""
        living = self.living(machine_id, now)
        for one in living:
            self._known[one.digest] = replace(one, ended=True)
        return len(living)

    async def write_end(self, machine_id: str, now: float) -> None:
        """Write down that the sessions that a machine had until now have ended."""
        query = sessions.update().where(sessions.c.machine_id == machine_id, sessions.c.created_at <= now)
        async with self._writing, self._engine.begin() as connection:
            await connection.execute(query.values(ended=True))
