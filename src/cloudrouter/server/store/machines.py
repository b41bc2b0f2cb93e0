"""Rows of machines: reading, adding, changing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from cloudrouter.server.store.tables import machines
from cloudrouter.wire import states
from cloudrouter.wire.errors import Conflict


@dataclass(frozen=True)
class Row:
    """One machine in the book; times are seconds since the epoch."""

    id: str
    owner: str
    name: str
    state: str
    reason: str
    provider: str
    handle: dict[str, Any] | None
    image: str
    size: str
    cpu: float
    memory_bytes: int
    disk_bytes: int | None
    labels: dict[str, str]
    env: dict[str, str]
    ca_sha256: str | None
    mounts: list[dict[str, Any]]
    """Each as wire.machines.Mount."""
    package_cache: bool
    apps: list[str]
    """Names of the apps in its image."""
    token: str
    idempotency_key: str | None
    confirmed: bool
    unconfirmed_until: float | None
    created_at: float
    started_at: float | None
    expires_at: float | None
    ready_ms: int | None
    updated_at: float
    sidecars: list[dict[str, Any]] = field(default_factory=list)
    """Each as wire.sidecars.Sidecar, and whether somebody stopped it."""

    def __repr__(self) -> str:
        return f"Row({self.id}, {self.state})"  # the token stays out of logs and tracebacks


class MachineStore:
    """The machines table. One router process owns it, so rows that commands ask for are kept in memory."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._living: dict[str, Row] = {}
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read every row that is not gone; call once before anything else."""
        query = sa.select(machines).where(machines.c.state != states.GONE)
        async with self._engine.connect() as connection:
            self._living = {row.id: Row(**row._mapping) for row in await connection.execute(query)}  # noqa: SLF001

    def living(self, owner: str | None = None) -> list[Row]:
        """Every row that is not gone, oldest first."""
        rows = [row for row in self._living.values() if owner is None or row.owner == owner]
        return sorted(rows, key=lambda row: (row.created_at, row.id))

    def get(self, machine_id: str) -> Row | None:
        """The row of a machine that is not gone."""
        return self._living.get(machine_id)

    async def all(self, owner: str, *, limit: int = 1000) -> list[Row]:
        """Every living row and the newest gone ones, at most `limit` of these; oldest first."""
        query = sa.select(machines).where(machines.c.owner == owner, machines.c.state == states.GONE)
        query = query.order_by(machines.c.created_at.desc()).limit(limit)
        async with self._engine.connect() as connection:
            gone = [Row(**row._mapping) for row in await connection.execute(query)]  # noqa: SLF001
        # One that is deleted while this reads is in neither list or in the second: never in both.
        rows = {row.id: row for row in [*gone, *self.living(owner)]}
        return sorted(rows.values(), key=lambda row: (row.created_at, row.id))

    async def get_gone(self, owner: str, ref: str) -> Row | None:
        """A machine that was deleted, by whole id, or the latest of that name."""
        query = sa.select(machines).where(
            machines.c.owner == owner,
            machines.c.state == states.GONE,
            sa.or_(machines.c.id == ref, machines.c.name == ref),
        )
        async with self._engine.connect() as connection:
            row = (await connection.execute(query.order_by(machines.c.created_at.desc()).limit(1))).first()
        return Row(**row._mapping) if row else None  # noqa: SLF001

    async def get_by_key(self, owner: str, key: str) -> Row | None:
        """The machine that an idempotency key made, whatever its state."""
        query = sa.select(machines).where(machines.c.owner == owner, machines.c.idempotency_key == key)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return Row(**row._mapping) if row else None  # noqa: SLF001

    async def add(self, row: Row) -> Row:
        """Insert; Conflict when its name or idempotency key is taken."""
        try:
            async with self._engine.begin() as connection:
                await connection.execute(machines.insert().values(**vars(row)))
        except IntegrityError as error:
            raise _taken(row.name, error) from error
        self._living[row.id] = row
        return row

    async def change(self, machine_id: str, *, now: float, **values: Any) -> Row | None:
        """Set some columns; None when the machine is gone (nothing is changed then). Conflict for a taken name."""
        async with self._writing:
            row = self._living.get(machine_id)
            if row is None:
                return None
            changed = Row(**{**vars(row), **values, "updated_at": now})
            query = machines.update().where(machines.c.id == machine_id)
            try:
                async with self._engine.begin() as connection:
                    await connection.execute(query.values(**values, updated_at=now))
            except IntegrityError as error:
                raise _taken(changed.name, error) from error
            if changed.state == states.GONE:
                self._living.pop(machine_id, None)
            else:
                self._living[machine_id] = changed
            return changed

    async def forget_env(self, ids: Iterable[str]) -> None:
        """Blank what a deleted machine no longer needs: environment, token, and the sidecars with theirs."""
        blank = machines.update().where(machines.c.id.in_(list(ids))).values(env={}, token="", sidecars=[])
        async with self._engine.begin() as connection:
            await connection.execute(blank)
        async with self._engine.connect() as connection:
            # What was overwritten still stands in the write-ahead log; moved into the file, the log is emptied.
            await connection.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))


def _taken(name: str, error: IntegrityError) -> Conflict:
    taken = "name" if "name" in str(error.orig) else "idempotency key"
    fix = "Choose another name, or delete the machine that has it." if taken == "name" else "Ask again."
    return Conflict(f"The {taken} {name!r} is taken.", fix=fix, next="cloudrouter ls", field=taken)
