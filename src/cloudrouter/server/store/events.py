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

    async def after(self, seq: int, *, machine_id: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Events with a greater sequence number, in order."""
        query = sa.select(events).where(events.c.seq > seq).order_by(events.c.seq).limit(limit)
        if machine_id is not None:
            query = query.where(events.c.machine_id == machine_id)
        async with self._engine.connect() as connection:
            return [dict(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001

    async def trim(self) -> None:
        """Drop all but the newest KEEP events."""
        newest = sa.select(sa.func.max(events.c.seq)).scalar_subquery()
        async with self._engine.begin() as connection:
            await connection.execute(events.delete().where(events.c.seq <= newest - KEEP))
