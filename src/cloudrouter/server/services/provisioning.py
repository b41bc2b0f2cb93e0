"""Making a machine real: image, create, first answer of the guest, its configuration. Each step may be repeated."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from cloudrouter.providers import base
from cloudrouter.providers.base import Handle
from cloudrouter.server.services import packaging, sidecarrows
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.volumes import make_volumes
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import boot, states
from cloudrouter.wire.errors import CloudRouterError, NotRunning, ProviderBug, TimedOut, Unreachable

FIRST_RETRY_S = 0.01
LAST_RETRY_S = 0.25

log = structlog.get_logger("provisioning")


class Provisioning:
    """Runs one task for each machine that is being made."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, row: Row) -> None:
        """Make the machine in the background, unless that is happening already."""
        if row.id not in self._tasks:
            task = asyncio.create_task(self._run(row), name=f"provision {row.id}")
            self._tasks[row.id] = task
            task.add_done_callback(lambda _task: self._tasks.pop(row.id, None))

    def is_busy(self, machine_id: str) -> bool:
        """Whether a task for this machine is at work."""
        return machine_id in self._tasks

    async def cancel(self, machine_id: str) -> None:
        """End the task of a machine and wait until it has let go."""
        task = self._tasks.get(machine_id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def aclose(self) -> None:
        """End every task; the machines are finished or removed when the router starts again."""
        for machine_id in list(self._tasks):
            await self.cancel(machine_id)

    async def _run(self, row: Row) -> None:
        try:
            await self._provision(row)
        except CloudRouterError as error:
            await self._fail(row, error)
        except Exception as error:
            log.exception("provisioning broke", machine=row.id)
            bug = ProviderBug(f"Making the machine failed unexpectedly: {type(error).__name__}: {error}.")
            await self._fail(row, bug)

    async def _provision(self, row: Row) -> None:
        context = self._context
        provider = context.provider(row.provider)
        reference = await context.image_reference(row)
        if row.mounts:
            await make_volumes(context, row)
        if row.sidecars:
            await sidecarrows.fetch_images(context, row)
        if row.package_cache:
            row = await packaging.begin(context, row)
        context.events.progress(row.id, step="creating")
        handle = await provider.create(context.spec(row, reference))
        row = await context.set(row, handle=dict(handle.data), state=states.STARTING)
        context.events.progress(row.id, step="booting")
        await self.await_guest(row)
        now = context.clock()
        values: dict[str, Any] = {"ready_ms": max(0, round((now - row.created_at) * 1000)), "started_at": now}
        if row.confirmed:
            values["state"] = states.RUNNING
        else:
            values["unconfirmed_until"] = now + context.settings.unconfirmed_grace_s
        row = await context.set(row, **values)
        context.events.emit("machine.ready", f"{row.id} answers", machine_id=row.id, ready_ms=row.ready_ms)

    async def await_guest(self, row: Row) -> None:
        """Wait until the guest takes its configuration; TimedOut with the reason seen last."""
        context = self._context
        written = [mount["path"] for mount in row.mounts if not mount["read_only"]]
        if sidecarrows.shares_workspace(row):
            written.append(boot.WORKSPACE)
        row = context.store.get(row.id) or row
        request = {"op": "configure", "env": row.env, "ca_pem": context.load_ca(row.ca_sha256), "mounts": written}
        request |= await packaging.wanted(context, row)
        pause, reason = FIRST_RETRY_S, "it was not reached"
        try:
            async with asyncio.timeout(context.settings.ready_deadline_s):
                while True:
                    try:
                        answer = await context.guests.ask(row, request)
                    except (Unreachable, NotRunning) as error:
                        reason = error.message
                    else:
                        await packaging.note(context, row, answer)
                        return
                    await self._check_alive(row)
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, LAST_RETRY_S)
        except TimeoutError as error:
            raise TimedOut(
                f"The guest of {row.id} did not answer within {context.settings.ready_deadline_s:g} s: {reason}",
                fix="Look at the router's log; the image may lack the guest.",
                next="cloudrouter server logs",
            ) from error

    async def _check_alive(self, row: Row) -> None:
        context = self._context
        seen = await context.provider(row.provider).inspect(context.handle(row))
        if seen.state in (base.STOPPED, base.FAILED, base.GONE):
            said = await self._last_words(row)
            raise Unreachable(
                f"{row.id} ended before its guest answered ({seen.state}{': ' + seen.reason if seen.reason else ''})."
                + (f" It said: {said}" if said else ""),
                fix="Look at the router's log; the image may lack the guest.",
                next="cloudrouter server logs",
            )

    async def _last_words(self, row: Row) -> str:
        """The last line on its console, made harmless; empty where there is none to be had."""
        provider = self._context.provider(row.provider)
        if not isinstance(provider, base.Console):
            return ""
        try:
            output = await provider.read_console(self._context.handle(row), limit_bytes=4096)
        except CloudRouterError:
            return ""
        lines = output.decode(errors="replace").strip().splitlines()
        return "".join(char if char.isprintable() else "?" for char in lines[-1])[:300] if lines else ""

    async def _fail(self, row: Row, error: CloudRouterError) -> None:
        context = self._context
        log.warning("machine failed", machine=row.id, code=error.code, reason=error.message)
        current = context.store.get(row.id)
        if current is None or current.state in (states.DELETING, states.FAILED):
            return
        context.events.progress(row.id, step="failed", error=error.to_json())
        try:
            await self.remove(current)
        except CloudRouterError as second:
            log.warning("leftovers stay for the next reconcile", machine=row.id, reason=second.message)
        await context.set(current, state=states.FAILED, reason=error.message, handle=None)

    async def remove(self, row: Row) -> None:
        """Remove whatever the provider has of a machine, known by handle or found by id."""
        context = self._context
        provider = context.provider(row.provider)
        context.guests.forget(row.id)
        if row.handle is not None:
            await provider.delete(Handle(row.provider, row.handle))
            return
        found = [seen.handle async for seen in provider.list() if seen.machine_id == row.id]
        for handle in found:
            await provider.delete(handle)
