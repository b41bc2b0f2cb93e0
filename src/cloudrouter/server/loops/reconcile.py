"""Closes the difference between the book and what the providers have: finishes, marks lost, removes orphans."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable

import structlog

from cloudrouter.providers import base
from cloudrouter.providers.base import Observation
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.provisioning import Provisioning
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import states
from cloudrouter.wire.errors import CloudRouterError

log = structlog.get_logger("reconcile")


class Reconcile:
    """Every verb may be cut at any step; this finds what is half done and brings it to an end."""

    def __init__(self, context: Context, machines: Machines, provisioning: Provisioning) -> None:
        self._context = context
        self._machines = machines
        self._provisioning = provisioning
        self._orphans: dict[str, float] = {}

    async def run(self) -> None:
        """Look for ever; the first look is at once."""
        while True:
            await self.look()
            await asyncio.sleep(self._context.settings.reconcile_every_s)

    async def look(self) -> None:
        """One comparison with every provider; a provider that does not answer is left for the next time."""
        strays: dict[str, Observation] = {}
        for name, provider in self._context.providers.items():
            rows = {row.id: row for row in self._context.store.living() if row.provider == name}
            try:
                everything = [one async for one in provider.list()]
            except CloudRouterError as error:
                if rows:
                    log.warning("provider does not answer", provider=name, reason=error.message)
                continue
            for row in rows.values():
                mine = [one for one in everything if one.machine_id == row.id and _is_of(row, one)]
                await self._guarded(row.id, self._settle(row, mine[0] if mine else None))
            for one in everything:
                current = self._context.store.get(one.machine_id)
                if current is None or not _is_of(current, one):
                    strays[_key(one)] = one
        self._orphans = {key: at for key, at in self._orphans.items() if key in strays}
        for one in strays.values():
            await self._guarded(one.machine_id, self._orphan(one))

    async def _guarded(self, machine_id: str, settling: Awaitable[None]) -> None:
        try:
            await settling
        except CloudRouterError as error:
            log.warning("not settled yet", machine=machine_id, reason=error.message)
        except Exception:
            # Whatever one machine does, the others are looked after.
            log.exception("settling met a defect", machine=machine_id)

    async def _settle(self, row: Row, seen: Observation | None) -> None:
        if self._provisioning.is_busy(row.id) or self._context.lock(row.id).locked():
            return  # a verb is at work on it
        # The list was read before; the row may have moved on since.
        row = self._context.store.get(row.id) or row
        if row.state == states.PENDING or (row.state == states.STARTING and row.ready_ms is None):
            self._provisioning.begin(row)
        elif row.state == states.STARTING and row.unconfirmed_until is None and not row.confirmed:
            grace = self._context.settings.unconfirmed_grace_s
            await self._context.set(row, unconfirmed_until=self._context.clock() + grace)
        elif row.state == states.DELETING:
            await self._machines.delete_row(row, reason=row.reason)
        elif row.state == states.STOPPING:
            async with self._context.lock(row.id):
                await self._machines.stop_locked(row, reason=row.reason)
        elif row.state == states.RESUMING:
            await self._machines.resume(row.owner, row.id)
        elif row.state in (states.RUNNING, states.STARTING, states.STOPPED):
            await self._compare(row, seen)

    async def _compare(self, row: Row, seen: Observation | None) -> None:
        if seen is None or seen.state == base.GONE:
            if row.handle is not None and (
                (await self._context.provider(row.provider).inspect(self._context.handle(row))).state != base.GONE
            ):
                return  # made or started since the list was read
            reason = f"lost: {row.provider} no longer has it"
            if row.handle is not None and row.sidecars:
                # They hold on to what the machine left behind; nothing can be made of it again.
                await self._context.provider(row.provider).delete(self._context.handle(row))
            await self._context.set(row, state=states.FAILED, reason=reason, handle=None)
        elif seen.state in (base.STOPPED, base.FAILED) and row.state != states.STOPPED:
            self._context.guests.forget(row.id)
            if row.sidecars:
                # What ended by itself has left them running on the network that was its own.
                await self._context.provider(row.provider).stop(self._context.handle(row))
            reason = seen.reason or "it was stopped outside of CloudRouter"
            if row.state == states.STARTING:
                await self._context.set(row, state=states.FAILED, reason=reason)
            else:
                await self._context.set(row, state=states.STOPPED, reason=reason, started_at=None)

    async def _orphan(self, seen: Observation) -> None:
        """What no book knows, or knows by another handle, is removed; the grace is for a row that is being written."""
        now = self._context.clock()
        first = self._orphans.setdefault(_key(seen), now)
        if now - first < self._context.settings.orphan_grace_s:
            return
        provider = self._context.provider(seen.handle.provider)
        await provider.delete(seen.handle)
        self._context.events.emit(
            "machine.orphan_removed",
            f"{seen.machine_id} was in no book and is removed",
            machine_id=seen.machine_id,
        )


def _key(seen: Observation) -> str:
    return json.dumps([seen.handle.provider, dict(seen.handle.data)], sort_keys=True)


def _is_of(row: Row, seen: Observation) -> bool:
    """Whether the book means this object: by its handle, once there is one."""
    return row.handle is None or row.handle == dict(seen.handle.data)
