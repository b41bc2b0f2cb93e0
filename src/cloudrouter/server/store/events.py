"""The event log in the database, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cloudrouter.server.store.tables import events

KEEP = 50_000
"""Events kept; older ones are dropped when the router starts."""


class EventStore:
    """Appends facts and reads them back by sequence number."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(
        self, *, at: float, kind: str, machine_id: str | None, message: str, data: Mapping[str, Any]
    ) -> int:
        """Write one event; its sequence number comes back."""
        insert = events.insert().values(at=at, kind=kind, machine_id=machine_id, message=message, data=dict(data))
        async with self._engine.begin() as connection:
            result = await connection.execute(insert)
        key = result.inserted_primary_key
        return int(key[0]) if key else 0

    async def after(
        self,
        seq: int,
        *,
        machine_id: str | None = None,
        kind: str | None = None,
        since: float | None = None,
        limit: int = 1000,
    ) -> list[dict[str, Any]]:
        """Events with a greater sequence number, in order; `kind` is a pattern with * and ?, `since` seconds."""
        query = _chosen(machine_id, kind).where(events.c.seq > seq).order_by(events.c.seq).limit(limit)
        if since is not None:
            query = query.where(events.c.at >= since)
        return await self._read(query)

    async def newest(
        self, limit: int, *, machine_id: str | None = None, kind: str | None = None
    ) -> list[dict[str, Any]]:
        """The last events there are, in order."""
        query = _chosen(machine_id, kind).order_by(events.c.seq.desc()).limit(limit)
        return list(reversed(await self._read(query)))

    async def last_seq(self) -> int:
        """The sequence number of the newest event, 0 when there is none."""
        async with self._engine.connect() as connection:
            found = (await connection.execute(sa.select(sa.func.max(events.c.seq)))).scalar()
        return int(found or 0)

    async def _read(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        async with self._engine.connect() as connection:
            return [dict(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001

    async def trim(self) -> None:
        """Drop all but the newest KEEP events."""
        newest = sa.select(sa.func.max(events.c.seq)).scalar_subquery()
        async with self._engine.begin() as connection:
            await connection.execute(events.delete().where(events.c.seq <= newest - KEEP))


def _chosen(machine_id: str | None, kind: str | None) -> sa.Select[Any]:
    query = sa.select(events)
    if machine_id is not None:
        query = query.where(events.c.machine_id == machine_id)
    if kind is not None:
        query = query.where(events.c.kind.like(_like(kind), escape="\\"))
    return query


def _like(pattern: str) -> str:
    """A pattern with * and ? as LIKE has it; everything else means itself."""
    for special in ("\\", "%", "_"):
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%").replace("?", "_")
