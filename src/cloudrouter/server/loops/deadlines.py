"""Ends machines whose deadline has passed, and provisional starts that nobody came back for."""

from __future__ import annotations

import asyncio

import structlog

from cloudrouter.server.services.context import Context
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import states
from cloudrouter.wire.errors import CloudRouterError

EVERY_S = 1.0

log = structlog.get_logger("deadlines")


class Deadlines:
    """Looks once a second; the book is in memory, so a look costs microseconds."""

    def __init__(self, context: Context, machines: Machines, traffic: Traffic) -> None:
        self._context = context
        self._machines = machines
        self._traffic = traffic

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except CloudRouterError as error:
                log.warning("deadline not kept yet", reason=error.message)
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """One look at every machine."""
        now = self._context.clock()
        for row in self._context.store.living():
            if self._is_over(row, now):
                await self._end(row)
            elif self._is_abandoned(row, now):
                self._context.events.emit(
                    "machine.abandoned", f"{row.id} was started and never confirmed", machine_id=row.id
                )
                await self._machines.delete_row(row, reason="its start was never finished")
        self._context.guests.sweep()

    def _is_over(self, row: Row, now: float) -> bool:
        return row.expires_at is not None and row.expires_at <= now and row.state in states.REACHABLE

    def _is_abandoned(self, row: Row, now: float) -> bool:
        return (
            row.state == states.STARTING
            and not row.confirmed
            and row.unconfirmed_until is not None
            and row.unconfirmed_until <= now
            and now - self._traffic.last_seen(row.id) > self._context.settings.unconfirmed_grace_s
        )

    async def _end(self, row: Row) -> None:
        self._context.events.emit("machine.expired", f"The deadline of {row.id} has passed", machine_id=row.id)
        if not self._context.provider(row.provider).features().stop_keeps_disk:
            await self._machines.delete_row(row, reason="deadline passed")
            return
        async with self._context.lock(row.id):
            current = self._context.store.get(row.id)
            # Somebody may have extended it while this waited for the lock.
            if current is not None and self._is_over(current, self._context.clock()):
                await self._machines.stop_locked(current, reason="deadline passed")
