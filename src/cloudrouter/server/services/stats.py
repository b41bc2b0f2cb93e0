"""What machines use now: all of them measured at once, and again as often as somebody watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import structlog

from cloudrouter.providers.base import Measurable, Measurement
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.views import rfc3339
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import states
from cloudrouter.wire.errors import CloudRouterError, UsageError
from cloudrouter.wire.machines import Usage

MOMENT_S = 0.25
"""How long cpu is watched where there is no measurement before."""
AT_ONCE = 16
MEASURE_DEADLINE_S = 5.0
MIN_INTERVAL_S = 0.5
MAX_INTERVAL_S = 3600.0

log = structlog.get_logger("stats")

FindRows = Callable[[], Sequence[Row]]


@dataclass(frozen=True)
class _Sample:
    at: float
    seen: Measurement


class Stats:
    """Measures; nothing is kept between two who ask."""

    def __init__(self, context: Context, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._monotonic = monotonic
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def now(self, rows: Sequence[Row]) -> list[Usage]:
        """Every machine of these, cpu over a moment; those that do not run have no numbers."""
        before = await self._measure(rows)
        await asyncio.sleep(MOMENT_S)
        return await self._usages(rows, before, {})

    async def follow(
        self, find_rows: FindRows, *, interval_s: float, ended: asyncio.Event
    ) -> AsyncIterator[list[Usage]]:
        """At once, and then every interval until `ended` is set; `find_rows` sees machines come and go."""
        before = await self._measure(find_rows())
        await _rest(min(MOMENT_S, interval_s), ended)
        while not ended.is_set():
            began = self._monotonic()
            after: dict[str, _Sample] = {}
            yield await self._usages(find_rows(), before, after)
            before = after
            # From beginning to beginning, so that the measuring itself does not slow the beat.
            await _rest(interval_s - (self._monotonic() - began), ended)

    async def _usages(self, rows: Sequence[Row], before: dict[str, _Sample], after: dict[str, _Sample]) -> list[Usage]:
        after.update(await self._measure(rows))
        at = rfc3339(self._context.clock()) or ""
        return [_usage(row, at, before.get(row.id), after.get(row.id)) for row in rows]

    async def _measure(self, rows: Sequence[Row]) -> dict[str, _Sample]:
        found = await asyncio.gather(*(self._measure_one(row) for row in rows))
        return {row.id: sample for row, sample in zip(rows, found, strict=True) if sample is not None}

    async def _measure_one(self, row: Row) -> _Sample | None:
        """One machine; None where there is nothing to measure, whatever the reason."""
        provider = self._context.providers.get(row.provider)
        if row.state not in states.REACHABLE or row.handle is None or not isinstance(provider, Measurable):
            return None
        try:
            async with self._slots, asyncio.timeout(MEASURE_DEADLINE_S):
                seen = await provider.measure(self._context.handle(row))
                return _Sample(self._monotonic(), seen)
        except (CloudRouterError, TimeoutError) as error:
            log.debug("not measured", machine=row.id, reason=str(error) or type(error).__name__)
            return None


async def _rest(seconds: float, ended: asyncio.Event) -> None:
    """Sleep, but not longer than until the end."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await ended.wait()
    except TimeoutError:
        return


def check_interval(interval_s: float) -> float:
    """The interval, if it is one that makes sense."""
    if not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
        raise UsageError(
            f"{interval_s:g} seconds cannot be the interval.",
            fix=f"Give {MIN_INTERVAL_S:g} to {MAX_INTERVAL_S:g} seconds.",
        )
    return interval_s


def _usage(row: Row, at: str, before: _Sample | None, after: _Sample | None) -> Usage:
    seen = after.seen if after is not None else Measurement()
    return Usage(
        id=row.id,
        name=row.name,
        state=row.state,
        at=at,
        cpu=_cpu(before, after),
        cpu_limit=row.cpu,
        memory_bytes=seen.memory_bytes,
        memory_limit_bytes=row.memory_bytes,
        disk_bytes=seen.disk_bytes,
        network_received_bytes=seen.network_received_bytes,
        network_sent_bytes=seen.network_sent_bytes,
        processes=seen.processes,
    )


def _cpu(before: _Sample | None, after: _Sample | None) -> float | None:
    """Cpus in use between two samples; None for the first one, and over a boot, where the count begins again."""
    if before is None or after is None or before.seen.cpu_seconds is None or after.seen.cpu_seconds is None:
        return None
    used, passed = after.seen.cpu_seconds - before.seen.cpu_seconds, after.at - before.at
    return round(used / passed, 4) if used >= 0 and passed > 0 else None
