"""`/v1/events`, `/v1/stats`, `/v1/machines/{ref}/inspect`: watching what happens and what is used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from litestar import get
from litestar.params import FromQuery
from litestar.response import Stream

from cloudrouter.server.api.machines import NDJSON
from cloudrouter.server.api.state import Asked, Owner, Ref, Services
from cloudrouter.server.services.stats import check_interval
from cloudrouter.server.services.views import rfc3339
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import routes, states
from cloudrouter.wire.errors import NotFound, UsageError
from cloudrouter.wire.machines import Event, Usage

PAGE = 1000
DEFAULT_INTERVAL_S = 2.0


@get(routes.EVENTS, summary="Read the event log")
async def list_events(
    services: Asked,
    owner: Owner,
    after: FromQuery[int | None] = None,
    machine: FromQuery[str | None] = None,
    kind: FromQuery[str | None] = None,
    since: FromQuery[float | None] = None,
    tail: FromQuery[int | None] = None,
) -> dict[str, Any]:
    """At most 1000 events, oldest first: the last `tail`, or those behind `after` that are at most `since` seconds old.

    `kind` is a pattern such as `machine.*`. `last` is the newest sequence number there is, whether it fits or not:
    where `/v1/events/follow` goes on.
    """
    if tail is not None and not 0 <= tail <= PAGE:
        raise UsageError(f"{tail} cannot be the number of events.", fix=f"Give 0 to {PAGE}.", field="tail")
    machine_id = await _machine_id(services, owner, machine)
    await services.events.flush()
    # Asked before the reading, and nothing newer is told: so whoever goes on behind `last` gets each event once.
    last = await services.event_store.last_seq()
    if tail is not None:
        rows = await services.event_store.newest(tail, machine_id=machine_id, kind=kind) if tail else []
    else:
        oldest = None if since is None else services.clock() - since
        rows = await services.event_store.after(after or 0, machine_id=machine_id, kind=kind, since=oldest, limit=PAGE)
    return {"events": [_event(row) for row in rows if row["seq"] <= last], "last": last}


@get(routes.EVENTS_FOLLOW, summary="Follow the event log")
async def follow_events(
    services: Asked,
    owner: Owner,
    after: FromQuery[int | None] = None,
    machine: FromQuery[str | None] = None,
    kind: FromQuery[str | None] = None,
) -> Stream:
    """NDJSON: every event behind `after` (None: from now on), once and in order; ends when the router does."""
    machine_id = await _machine_id(services, owner, machine)
    await services.events.flush()
    begin = await services.event_store.last_seq() if after is None else after

    async def lines() -> AsyncIterator[bytes]:
        events = services.events.follow(begin, machine_id=machine_id, kind=kind, ended=services.status.stopping)
        async for row in events:
            yield msgspec.json.encode(_event(row)) + b"\n"

    return Stream(lines(), media_type=NDJSON)


@get(routes.STATS, summary="Measure machines")
async def show_stats(
    services: Asked, owner: Owner, machine: FromQuery[list[str] | None] = None
) -> dict[str, list[Usage]]:
    """What machines use now; without `machine` all that live. Takes a moment, in which cpu is watched."""
    return {"stats": await services.stats.now(_finder(services, owner, machine)())}


@get(routes.STATS_FOLLOW, summary="Watch what machines use")
async def follow_stats(
    services: Asked,
    owner: Owner,
    machine: FromQuery[list[str] | None] = None,
    interval: FromQuery[float] = DEFAULT_INTERVAL_S,
) -> Stream:
    """NDJSON: `{"stats": [...]}` at once and then every `interval` seconds; ends when the router does."""
    find_rows = _finder(services, owner, machine)
    check_interval(interval)

    async def lines() -> AsyncIterator[bytes]:
        async for usages in services.stats.follow(find_rows, interval_s=interval, ended=services.status.stopping):
            yield msgspec.json.encode({"stats": usages}) + b"\n"

    return Stream(lines(), media_type=NDJSON)


@get(f"{routes.MACHINES}/{{ref:str}}/inspect", summary="Show everything about a machine")
async def inspect_machine(services: Asked, owner: Owner, ref: Ref) -> dict[str, Any]:
    """The machine with its spec, handle, observation, features, guest, jobs and last events; no secrets."""
    return await services.inspection.inspect(await services.machines.get(owner, ref))


def _finder(services: Services, owner: str, refs: Sequence[str] | None) -> Callable[[], list[Row]]:
    """Finds the rows that are meant, anew each time; raises NotFound now when one of them is not there."""
    if not refs:
        return lambda: [row for row in services.machines.living(owner) if row.state not in states.HIDDEN]
    wanted = list(dict.fromkeys(services.machines.find(owner, ref).id for ref in refs))
    return lambda: [row for one in wanted if (row := services.machines.current(one)) is not None]


async def _machine_id(services: Services, owner: str, ref: str | None) -> str | None:
    """The id behind an argument, also of a machine that was deleted."""
    if ref is None:
        return None
    try:
        return (await services.machines.get(owner, ref)).id
    except NotFound as error:
        raise NotFound(error.message, fix=error.fix, next="cloudrouter events") from error


def _event(row: dict[str, Any]) -> Event:
    return Event(**{**row, "at": rfc3339(row["at"])})


HANDLERS = [list_events, follow_events, show_stats, follow_stats, inspect_machine]
