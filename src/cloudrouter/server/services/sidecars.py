"""Sidecars of machines: asked for at a start, looked after while the machine runs, told of beside its apps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog

from cloudrouter.providers import base
from cloudrouter.providers.base import SidecarSeen
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.sidecarrows import is_off, marked, read_sidecars
from cloudrouter.server.services.views import rfc3339
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import apps, states
from cloudrouter.wire.apps import AppState
from cloudrouter.wire.errors import CloudRouterError, NotFound, NotRunning
from cloudrouter.wire.sidecars import Sidecar

EVERY_S = 1.0
FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 30.0
FORGET_S = 60.0
"""One that ran so long is tried again at once when it ends, as if it had never ended before."""
START_S = 60.0
"""So long one may take until it answers; then its state is `failed`, and it is left running."""
STOP_GRACE_S = 10.0
POLL_S = 0.2
PROBE_S = 0.25
PROBE_DEADLINE_S = 3.0
LINE_LETTERS = 200

log = structlog.get_logger("sidecars")


@dataclass
class _Watch:
    """What is remembered of one sidecar that has ended by itself."""

    failures: int = 0
    """In a row."""
    restarts: int = 0
    try_at: float | None = None
    """When it is started again; None: it is not waiting."""
    told: str = ""


class SidecarService:
    """The verbs on sidecars, and who starts those again that have crashed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._watches: dict[tuple[str, str], _Watch] = {}

    def has(self, row: Row, name: str) -> bool:
        """Whether the machine was started with a sidecar of that name."""
        return any(one.name == name for one in read_sidecars(row))

    # -- looking ------------------------------------------------------------------------------------------------

    async def states(self, row: Row) -> list[AppState]:
        """Each as it is now, in the order in which they were asked for; all are off while the machine is."""
        wanted = read_sidecars(row)
        provider = self._context.providers.get(row.provider)
        if not wanted or not isinstance(provider, base.Sidecars):
            return []
        if row.state not in states.REACHABLE or row.handle is None:
            return [_state(one, apps.OFF, "") for one in wanted]
        seen = {one.name: one for one in await provider.list_sidecars(self._context.handle(row), measure=True)}
        return list(await asyncio.gather(*(self._state(row, one, seen.get(one.name)) for one in wanted)))

    async def logs(self, row: Row, name: str, *, tail: int | None = None) -> bytes:
        """The newest output of one, at most a MiB."""
        provider = self._provider(row, name)
        if row.handle is None:
            raise NotRunning(f"{row.id} is {row.state}, so nothing of {name} is left.", next="cloudrouter ls")
        return await provider.read_sidecar_log(self._context.handle(row), name=name, tail=tail)

    async def _state(self, row: Row, one: Sidecar, seen: SidecarSeen | None) -> AppState:
        if seen is None:
            return _state(one, apps.FAILED, "its container is gone: somebody removed it from the engine by hand")
        if seen.state == base.RUNNING:
            state, reason = await self._health(row, one, seen)
        elif seen.state == base.PAUSED:
            state, reason = apps.RUNNING, "frozen with its machine"
        elif is_off(row, one.name):
            state, reason = apps.OFF, ""
        elif seen.exit_code == 0 and not seen.reason:
            state, reason = apps.OFF, "it ended by itself, with status 0"
        else:
            state, reason = apps.FAILED, await self._why(row, one, seen)
        watch = self._watches.get((row.id, one.name))
        since = seen.started_at if state in (apps.RUNNING, apps.STARTING) else seen.ended_at
        uptime = max(0.0, self._context.clock() - seen.started_at) if seen.started_at is not None else None
        return _state(
            one,
            state,
            reason,
            since=rfc3339(since),
            uptime_s=uptime,
            memory_bytes=seen.memory_bytes,
            restarts=watch.restarts if watch is not None else 0,
        )

    async def _health(self, row: Row, one: Sidecar, seen: SidecarSeen) -> tuple[str, str]:
        """(state, reason) of one whose first process runs: by its image's own check, else by its port."""
        if seen.health == "unhealthy":
            said = _scrubbed(seen.health_said, one)
            return apps.FAILED, "its image's health check fails" + (f": {said}" if said else "")
        if seen.health == "starting":
            return apps.STARTING, "its image's health check has not succeeded yet"
        if seen.health or one.port is None or await self._answers(row, one.port):
            return apps.RUNNING, ""
        ran = self._context.clock() - (seen.started_at or 0)
        told = f"nothing answers at port {one.port}"
        return (apps.STARTING, f"{told} yet") if ran < START_S else (apps.FAILED, f"{told} after {ran:.0f} s")

    async def _answers(self, row: Row, port: int) -> bool:
        """Whether something takes connections at a port of the machine, which is its sidecars' too."""
        request = {"op": "ready", "port": port, "timeout_s": PROBE_S}
        try:
            answer = await self._context.guests.ask(row, request, deadline_s=PROBE_DEADLINE_S)
        except CloudRouterError:
            return False
        found = answer.get("ready")
        return isinstance(found, dict) and found.get("ready") is True

    async def _why(self, row: Row, one: Sidecar, seen: SidecarSeen) -> str:
        """How it ended, its last word, and what happens next."""
        told = _ending(seen)
        try:
            said = _scrubbed((await self.logs(row, one.name, tail=1)).decode(errors="replace"), one)
        except CloudRouterError:
            said = ""
        watch = self._watches.get((row.id, one.name))
        left = watch.try_at - self._context.clock() if watch is not None and watch.try_at is not None else 0.0
        following = f"it is started again in {left:.0f} s" if left >= 0.5 else "it is started again now"
        return f"{told}{f' ({said})' if said else ''}; {following}"

    # -- verbs --------------------------------------------------------------------------------------------------

    async def start(self, row: Row, name: str) -> AppState:
        """Start one that is off or has failed, and wait until it answers or cannot."""
        provider, context = self._provider(row, name), self._context
        async with context.lock(row.id):
            row = await self._mark(_reachable(context, row), name, off=False)
            self._watches.pop((row.id, name), None)
            await provider.start_sidecar(context.handle(row), name=name)
        return await self._settled(row, name)

    async def stop(self, row: Row, name: str) -> AppState:
        """Stop one; it stays off until it, or its machine, is started."""
        provider, context = self._provider(row, name), self._context
        async with context.lock(row.id):
            row = await self._mark(_reachable(context, row), name, off=True)
            self._watches.pop((row.id, name), None)
            await provider.stop_sidecar(context.handle(row), name=name, grace_s=STOP_GRACE_S)
        return await self._one(row, name)

    async def _settled(self, row: Row, name: str) -> AppState:
        """Its state, once it is no longer `starting`, or after START_S."""
        deadline = asyncio.get_running_loop().time() + START_S
        while True:
            found = await self._one(row, name)
            if found.state != apps.STARTING or asyncio.get_running_loop().time() >= deadline:
                return found
            await asyncio.sleep(POLL_S)

    async def _one(self, row: Row, name: str) -> AppState:
        return next(one for one in await self.states(self._context.store.get(row.id) or row) if one.name == name)

    async def _mark(self, row: Row, name: str, *, off: bool) -> Row:
        if is_off(row, name) == off:
            return row
        return await self._context.set(row, sidecars=marked(row, name, off=off))

    def _provider(self, row: Row, name: str) -> base.Sidecars:
        provider = self._context.provider(row.provider)
        if not self.has(row, name) or not isinstance(provider, base.Sidecars):
            raise NotFound(f"{row.id} has no sidecar {name[:40]!r}.", next=f"cloudrouter apps {row.id}")
        return provider

    # -- looking after them -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """One look at those of all machines that have ended: one question to each provider, where there are any."""
        rows = {row.id: row for row in self._context.store.living() if row.sidecars}
        self._watches = {key: one for key, one in self._watches.items() if key[0] in rows}
        for name in {row.provider for row in rows.values() if _is_watched(row)}:
            provider = self._context.providers.get(name)
            if not isinstance(provider, base.Sidecars):
                continue
            try:
                for machine_id in await provider.machines_with_ended_sidecars():
                    await self._look_at(rows.get(machine_id), provider)
            except CloudRouterError as error:
                log.debug("sidecars not seen", provider=name, reason=error.message)

    async def _look_at(self, row: Row | None, provider: base.Sidecars) -> None:
        """One machine; nothing is done while a verb is at work on it."""
        context = self._context
        if row is None or not _is_watched(row) or context.lock(row.id).locked():
            return
        async with context.lock(row.id):
            current = context.store.get(row.id)
            if current is None or not _is_watched(current):
                return
            machine = await context.provider(current.provider).inspect(context.handle(current))
            if machine.state != base.RUNNING:
                return  # they ended with it, and whoever compares the book with reality will say so
            known = {one.name for one in read_sidecars(current)}
            for seen in await provider.list_sidecars(context.handle(current)):
                if seen.name in known and seen.state not in (base.RUNNING, base.PAUSED):
                    await self._ended(current, seen, provider)

    async def _ended(self, row: Row, seen: SidecarSeen, provider: base.Sidecars) -> None:
        """One that does not run: it is told of once, and started again when its time has come."""
        if is_off(row, seen.name) or (seen.exit_code == 0 and not seen.reason):
            return
        now = self._context.clock()
        watch = self._watches.setdefault((row.id, seen.name), _Watch())
        if watch.try_at is None:
            ran = (seen.ended_at or now) - (seen.last_started_at or now)
            watch.failures = 1 if ran >= FORGET_S else watch.failures + 1
            pause = 0.0 if watch.failures == 1 and ran >= FORGET_S else _pause(watch.failures)
            watch.try_at = now + pause
            told = f"The sidecar {seen.name} of {row.id} has ended: {_ending(seen)}"
            self._context.events.emit("sidecar.crashed", told, machine_id=row.id, sidecar=seen.name, again_in_s=pause)
        if now < watch.try_at:
            return
        watch.try_at, watch.restarts = None, watch.restarts + 1
        try:
            await provider.start_sidecar(self._context.handle(row), name=seen.name)
        except CloudRouterError as error:
            log.warning("sidecar not started", machine=row.id, sidecar=seen.name, reason=error.message)


def _state(one: Sidecar, state: str, reason: str, **more: Any) -> AppState:
    return AppState(
        name=one.name,
        title=one.title or one.name,
        view=apps.VIEW_NONE,
        state=state,
        reason=reason,
        port=one.port,
        kind=apps.KIND_SIDECAR,
        **more,
    )


def _ending(seen: SidecarSeen) -> str:
    if seen.reason:
        return seen.reason
    return "it was made and never started" if seen.exit_code is None else f"it ended with status {seen.exit_code}"


def _scrubbed(text: str, one: Sidecar) -> str:
    """Text of a sidecar's own on one line, harmless, and without the values of its variables."""
    for value in sorted(one.env.values(), key=len, reverse=True):
        if len(value) > 2:
            text = text.replace(value, "***")
    return "".join(char if char.isprintable() else " " for char in text).strip()[-LINE_LETTERS:]


def _pause(failures: int) -> float:
    return float(min(LAST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 10)))


def _is_watched(row: Row) -> bool:
    return row.state in states.REACHABLE and row.handle is not None and row.ready_ms is not None


def _reachable(context: Context, row: Row) -> Row:
    current = context.store.get(row.id)
    if current is None or current.state not in states.REACHABLE or current.handle is None:
        state = current.state if current is not None else states.GONE
        raise NotRunning(
            f"{row.id} is {state}, and its sidecars run only while it does.",
            fix="Boot it again.",
            next=f"cloudrouter resume {row.id}",
            state=state,
        )
    return current
