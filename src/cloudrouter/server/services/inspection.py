"""Everything that is known of one machine, for whoever has to find out what is wrong with it. Secrets stay inside."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cloudrouter.server.services import sidecarrows
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.doors import Doors
from cloudrouter.server.services.views import machine_view, rfc3339
from cloudrouter.server.store.events import EventStore
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import states
from cloudrouter.wire.errors import CloudRouterError
from cloudrouter.wire.machines import Machine

EVENTS = 20
GUEST_DEADLINE_S = 3.0


class Inspection:
    """Asks the book, the provider and the guest; what one of them cannot say is told with its reason."""

    def __init__(self, context: Context, doors: Doors, event_store: EventStore) -> None:
        self._context = context
        self._doors = doors
        self._event_store = event_store

    async def inspect(self, row: Row) -> dict[str, Any]:
        """The stable schema of `inspect`: the machine's own fields, then one key for each source."""
        provider = self._context.provider(row.provider)
        features = provider.features()
        spec = asdict(self._context.spec(row, row.image))
        spec.pop("boot", None)  # the guest's token is behind it
        spec["sidecars"] = [sidecarrows.without_values(one) for one in sidecarrows.read_sidecars(row)]
        await self._context.events.flush()
        events = await self._event_store.newest(EVENTS, machine_id=row.id)
        answers, health = await self._ask(row, "health")
        _answers, jobs = await self._ask(row, "job.list", "jobs") if answers else (False, None)
        machine: Machine = machine_view(row, features, self._doors.address)
        return {
            **asdict(machine),
            "spec": spec,
            "handle": row.handle,
            "observation": await self._observe(row),
            "sidecars": await sidecarrows.inspected(self._context, row),
            "features": asdict(features),
            "env_names": sorted(row.env),
            "ca": {"present": row.ca_sha256 is not None, "sha256": row.ca_sha256},
            "confirmed": row.confirmed,
            "updated_at": rfc3339(row.updated_at),
            "guest": {"answers": answers, "health": health if answers else None, "reason": "" if answers else health},
            "jobs": jobs if isinstance(jobs, list) else [],
            "events": [{**event, "at": rfc3339(event["at"])} for event in events],
        }

    async def _observe(self, row: Row) -> dict[str, Any]:
        """What the provider sees, or why it cannot look."""
        if row.handle is None:
            return {"state": None, "reason": "it has no handle: the provider has not made it, or it is gone"}
        try:
            seen = await self._context.provider(row.provider).inspect(self._context.handle(row))
        except CloudRouterError as error:
            return {"state": None, "reason": error.message}
        return {"state": seen.state, "reason": seen.reason, "started_at": rfc3339(seen.started_at)}

    async def _ask(self, row: Row, operation: str, key: str | None = None) -> tuple[bool, Any]:
        """(whether the guest answers, its answer or why there is none)."""
        if row.state not in states.REACHABLE or row.handle is None:
            return False, f"the machine is {row.state}"
        try:
            answer = await self._context.guests.ask(row, {"op": operation}, deadline_s=GUEST_DEADLINE_S)
        except CloudRouterError as error:
            return False, error.message
        return True, answer.get(key or operation)
