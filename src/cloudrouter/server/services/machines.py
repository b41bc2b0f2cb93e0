"""The verbs on machines: start, confirm, stop, resume, extend, delete, and looking them up."""

from __future__ import annotations

import asyncio
import builtins
import secrets
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import structlog

from cloudrouter.providers import base
from cloudrouter.providers.base import Images, Need
from cloudrouter.server.services import finding
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.naming import check_name, suggest_name
from cloudrouter.server.services.provisioning import Provisioning
from cloudrouter.server.services.readying import Readying
from cloudrouter.server.services.selecting import Selection, select
from cloudrouter.server.services.sidecarrows import all_on, check_sidecars
from cloudrouter.server.services.sizing import decide_size
from cloudrouter.server.services.volumes import check_mounts
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import flavours, ids, states
from cloudrouter.wire.errors import (
    CloudRouterError,
    Conflict,
    Internal,
    InvalidSpec,
    NotFound,
    NotRunning,
    Unreachable,
    Unsupported,
    UsageError,
)
from cloudrouter.wire.machines import StartMachine

NAME_ATTEMPTS = 100
NOTES_KEPT = 1000
CHECK_DEADLINE_S = 1.0
"""How long `ls` waits for a provider's sign of life."""
MAX_EXTEND_S = 10 * 365 * 86400.0

log = structlog.get_logger("machines")


class Machines:
    """Everything that may be asked of machines; raises wire errors, knows nothing of HTTP."""

    def __init__(self, context: Context, provisioning: Provisioning, readying: Readying) -> None:
        self._context = context
        self._provisioning = provisioning
        self._readying = readying
        self.notes: dict[str, builtins.list[str]] = {}
        """machine id -> what its starter should know, for starts since the router's own."""

    # -- looking up ---------------------------------------------------------------------------------------------

    async def doubts(self, rows: list[Row]) -> list[CloudRouterError]:
        """Why what these rows say may be out of date: their providers do not answer."""
        named = {row.provider for row in rows if row.state != states.GONE}
        doubts: list[CloudRouterError] = []
        for name in sorted(named & set(self._context.providers)):
            try:
                async with asyncio.timeout(CHECK_DEADLINE_S):
                    await self._context.provider(name).check()
            except (CloudRouterError, TimeoutError) as error:
                said = error.message if isinstance(error, CloudRouterError) else "it took too long."
                message = f"The provider {name} does not answer, so its machines are shown as last seen: {said}"
                doubts.append(Unreachable(message, fix="Look what is wrong.", next="cloudrouter doctor"))
        return doubts

    async def list(self, owner: str, *, all_states: bool = False, selection: Selection | None = None) -> list[Row]:
        """Living machines that fit, oldest first unless asked otherwise; with all_states also gone ones."""
        wanted = selection or Selection()
        if all_states or wanted.wants_gone():
            rows = await self._context.store.all(owner)
        else:
            rows = self._context.store.living(owner)
        hidden = frozenset() if all_states else states.HIDDEN - wanted.in_states
        return select([row for row in rows if row.state not in hidden], wanted)

    def living(self, owner: str) -> builtins.list[Row]:
        """Every machine that is not gone, oldest first."""
        return self._context.store.living(owner)

    def current(self, machine_id: str) -> Row | None:
        """The row of a machine by its id; None when it is gone."""
        return self._context.store.get(machine_id)

    def find(self, owner: str, ref: str, *, exact: bool = False) -> Row:
        """The living machine that an argument means."""
        return finding.find(self._context.store.living(owner), ref, exact=exact)

    async def get(self, owner: str, ref: str) -> Row:
        """The machine that an argument means; a deleted one by its whole id or name."""
        try:
            return self.find(owner, ref)
        except NotFound:
            gone = await self._context.store.get_gone(owner, ids.from_dns_label(ref))
            if gone is None:
                raise
            return gone

    def reachable(self, owner: str, ref: str) -> Row:
        """The machine that an argument means, if its guest may be spoken to; NotRunning with the next command."""
        row = self.find(owner, ref)
        if row.state not in states.REACHABLE or row.handle is None:
            raise not_running(row)
        return row

    def still_reachable(self, row: Row) -> None:
        """Raises NotRunning, or NotFound, when a machine that could be spoken to has ended meanwhile."""
        current = self._current(row)
        if current.state not in states.REACHABLE:
            raise not_running(current)

    # -- start --------------------------------------------------------------------------------------------------

    async def start(self, owner: str, wanted: StartMachine, *, key: str | None = None) -> Row:
        """Write the machine into the book and begin to make it; the same key gives the same machine again."""
        context = self._context
        if key is not None and (known := await context.store.get_by_key(owner, key)) is not None:
            return known
        for attempt in range(NAME_ATTEMPTS):
            try:
                row = await context.store.add(await self._plan(owner, wanted, key))
                break
            except Conflict:
                # The same request may have come twice at once; then it is its own twin that took name and key.
                twin = await context.store.get_by_key(owner, key) if key is not None else None
                if twin is not None:
                    return twin
                # A name of our own choosing may have been taken since it was chosen; the next one is free.
                if wanted.name is not None or attempt == NAME_ATTEMPTS - 1:
                    raise
        context.events.emit("machine.pending", f"{row.id} is wanted", machine_id=row.id, image=row.image)
        self._provisioning.begin(row)
        return row

    async def _plan(self, owner: str, wanted: StartMachine, key: str | None) -> Row:
        context = self._context
        provider_name = wanted.provider or context.settings.default_provider
        provider = context.provider(provider_name)
        name = self._choose_name(owner, wanted)
        image, notes = wanted.image or "", builtins.list[str]()
        if not image:
            image, notes = await self._readying.choose(provider, context.settings.default_image)
        _check_start(wanted)
        check_mounts(wanted.mounts, provider)
        size = decide_size(wanted, await provider.offers(Need()), provider.features())
        apps = [flavours.app_name(app) for app in flavours.split(image)[1]]
        await check_sidecars(
            wanted.sidecars,
            provider,
            apps=apps,
            mounts=wanted.mounts,
            cpu=size.cpu,
            memory_bytes=size.memory_bytes,
        )
        await _check_image(provider, image, asked=wanted.image is not None)
        now, machine_id = context.clock(), ids.new_machine_id()
        if notes:
            self._keep_notes(machine_id, notes)
        return Row(
            id=machine_id,
            owner=owner,
            name=name,
            state=states.PENDING,
            reason="",
            provider=provider_name,
            handle=None,
            image=image,
            size=size.name,
            cpu=size.cpu,
            memory_bytes=size.memory_bytes,
            disk_bytes=size.disk_bytes,
            labels=dict(wanted.labels),
            env={**wanted.client_env, **wanted.env},
            ca_sha256=context.save_ca(wanted.ca_pem) if wanted.ca_pem else None,
            mounts=[vars(mount) for mount in wanted.mounts],
            package_cache=wanted.package_cache and provider.features().package_door,
            apps=apps,
            sidecars=[asdict(one) for one in wanted.sidecars],
            token=secrets.token_urlsafe(32),
            idempotency_key=key,
            confirmed=not wanted.provisional,
            unconfirmed_until=None,
            created_at=now,
            started_at=None,
            expires_at=now + wanted.timeout_seconds if wanted.timeout_seconds else None,
            ready_ms=None,
            updated_at=now,
        )

    def _keep_notes(self, machine_id: str, notes: builtins.list[str]) -> None:
        if len(self.notes) >= NOTES_KEPT:
            del self.notes[next(iter(self.notes))]
        self.notes[machine_id] = notes

    def _choose_name(self, owner: str, wanted: StartMachine) -> str:
        rows = self._context.store.living(owner)
        if wanted.name is None:
            return suggest_name(rows, wanted.labels.get("folder", ""))
        check_name(rows, wanted.name)
        return wanted.name

    async def confirm(self, owner: str, ref: str) -> Row:
        """The starter says that everything is in place: starting becomes running. Running is success."""
        row = self.find(owner, ref)
        async with self._context.lock(row.id):
            row = self._current(row)
            if row.state == states.RUNNING:
                return row
            if row.state != states.STARTING or row.ready_ms is None:
                raise not_running(row)
            return await self._context.set(row, state=states.RUNNING, confirmed=True, unconfirmed_until=None)

    async def follow(self, owner: str, ref: str) -> AsyncIterator[dict[str, Any]]:
        """What happens to a machine until it is ready, then `{"machine": Row}` or `{"error": ...}` as the last."""
        row = self.find(owner, ref)
        failure: dict[str, Any] | None = None
        async with self._context.events.listen(row.id) as queue:
            while True:
                current = self._context.store.get(row.id)
                if current is None or current.state in (states.DELETING, states.FAILED):
                    yield {"error": failure or _ended(row, current).to_json()}
                    return
                if current.ready_ms is not None or current.state in (
                    states.RUNNING,
                    states.STOPPED,
                    states.PAUSED,
                ):
                    yield {"machine": current}
                    return
                message = await queue.get()
                if message is None:
                    yield {"error": Internal("The progress was not read in time.").to_json()}
                    return
                failure = message.get("progress", {}).get("error", failure)
                yield message

    # -- life ---------------------------------------------------------------------------------------------------

    async def stop(self, owner: str, ref: str) -> Row:
        """End the machine's processes and keep its disk. Stopped already is success."""
        row = self.find(owner, ref)
        async with self._context.lock(row.id):
            return await self.stop_locked(self._current(row), reason="")

    async def stop_locked(self, row: Row, *, reason: str) -> Row:
        """`stop` for callers that hold the machine's lock."""
        context = self._context
        if row.state == states.STOPPED:
            return row
        if row.state not in (states.RUNNING, states.STARTING, states.RESUMING, states.STOPPING) or row.handle is None:
            raise not_running(row)
        provider = context.provider(row.provider)
        if not provider.features().stop_keeps_disk:
            raise UsageError(f"The provider {row.provider} cannot keep a stopped machine's disk.", fix="Delete it.")
        await self._provisioning.cancel(row.id)
        row = await context.set(row, state=states.STOPPING, reason=reason)
        context.guests.forget(row.id)
        await provider.stop(context.handle(row))
        return await context.set(row, state=states.STOPPED, started_at=None)

    async def resume(self, owner: str, ref: str) -> Row:
        """Boot a stopped machine and wait for its guest. Running is success; a passed deadline is refused."""
        row = self.find(owner, ref)
        context = self._context
        async with context.lock(row.id):
            row = self._current(row)
            if row.state == states.RUNNING:
                return row
            if row.state not in (states.STOPPED, states.RESUMING, states.FAILED) or row.handle is None:
                raise not_running(row)
            if row.expires_at is not None and row.expires_at <= context.clock():
                raise Conflict(
                    f"The deadline of {row.id} has passed.",
                    fix="Give it more time first.",
                    next=f"cloudrouter extend {row.id} --seconds 3600",
                )
            row = await context.set(row, state=states.RESUMING, reason="", sidecars=all_on(row))
            try:
                await context.provider(row.provider).start(context.handle(row))
                await self._provisioning.await_guest(row)
            except Exception as error:
                reason = error.message if isinstance(error, CloudRouterError) else f"{type(error).__name__}: {error}"
                await context.set(row, state=states.FAILED, reason=reason)
                raise
            return await context.set(
                row, state=states.RUNNING, started_at=context.clock(), confirmed=True, unconfirmed_until=None
            )

    async def extend(self, owner: str, ref: str, seconds: float) -> Row:
        """Set the deadline to exactly now + seconds."""
        if not 0 < seconds <= MAX_EXTEND_S:
            raise UsageError(f"A deadline in {seconds:g} seconds cannot be.", fix="Give 1 second to 10 years.")
        row = self.find(owner, ref)
        if row.state == states.DELETING:
            raise not_running(row)
        row = await self._context.set(row, expires_at=self._context.clock() + seconds)
        self._context.events.emit(
            "machine.extended",
            f"{row.id} may live {seconds:g} s from now",
            machine_id=row.id,
            expires_at=row.expires_at,
        )
        return row

    async def rename(self, owner: str, ref: str, name: str) -> Row:
        """Give the machine another name, or none with an empty one; the same again is success."""
        row = self.find(owner, ref)
        async with self._context.lock(row.id):
            row = self._current(row)
            if name:
                check_name(self._context.store.living(owner), name, own_id=row.id)
            if name == row.name:
                return row
            before = row.name
            row = await self._context.set(row, name=name)
        told = f"{row.id} is called {name}" if name else f"{row.id} has no name any more"
        self._context.events.emit("machine.renamed", told, machine_id=row.id, before=before, name=name)
        return row

    async def delete(self, owner: str, ref: str) -> Row:
        """Remove the machine and everything of it; allowed in every state, a gone one is NotFound."""
        return await self.delete_row(self.find(owner, ref, exact=True))

    async def delete_row(self, row: Row, *, reason: str = "") -> Row:
        """`delete` for a row that is at hand."""
        context = self._context
        await self._provisioning.cancel(row.id)
        async with context.lock(row.id):
            current = context.store.get(row.id)
            if current is None:
                return Row(**{**vars(row), "state": states.GONE})
            if current.state != states.DELETING:
                current = await context.set(current, state=states.DELETING, reason=reason)
            await self._provisioning.remove(current)
            gone = await context.set(current, state=states.GONE)
            await context.store.forget_env([row.id])
        context.locks.pop(row.id, None)
        return gone

    def _current(self, row: Row) -> Row:
        current = self._context.store.get(row.id)
        if current is None:
            raise NotFound(f"{row.id} was deleted.", next="cloudrouter ls")
        return current


def not_running(row: Row) -> NotRunning:
    """Why a machine cannot be spoken to, with the command that helps in its state."""
    if row.state in (states.STOPPED, states.PAUSED):
        fix, following = "Boot it again.", f"cloudrouter resume {row.id}"
    elif row.state in (states.PENDING, states.STARTING, states.RESUMING):
        fix, following = "Wait until it is running.", f"cloudrouter status {row.id}"
    else:
        fix, following = "Delete it and start another.", f"cloudrouter delete {row.id}"
    detail = f" ({row.reason.rstrip('.')})" if row.reason else ""
    return NotRunning(f"{row.id} is {row.state}{detail}, not running.", fix=fix, next=following, state=row.state)


def _check_start(wanted: StartMachine) -> None:
    if wanted.timeout_seconds is not None and not 0 < wanted.timeout_seconds <= MAX_EXTEND_S:
        raise InvalidSpec("The timeout must be between 1 second and 10 years.", field="timeout_seconds")
    for key in [*wanted.env, *wanted.client_env]:
        if not key or "=" in key or "\0" in key:
            raise InvalidSpec(f"{finding.shown(key)} cannot be the name of a variable.", field="env")
    for value in [*wanted.env.values(), *wanted.client_env.values()]:
        if "\0" in value:
            raise InvalidSpec("The value of a variable cannot hold a NUL byte.", field="env")
    if len(wanted.labels) > 64 or any(len(k) + len(v) > 4096 for k, v in wanted.labels.items()):
        raise InvalidSpec("Too many or too large labels.", fix="64 labels of 4096 characters.", field="labels")


async def _check_image(provider: base.Provider, image: str, *, asked: bool) -> None:
    """Refuse what cannot be an image before a machine is written down; whether it can be had is seen in the making."""
    if isinstance(provider, Images):
        await provider.check_image(image)
    elif asked:
        raise Unsupported(
            f"The provider {provider.name} has no images.", fix="Leave --image and --build out.", feature="images"
        )


def _ended(row: Row, current: Row | None) -> CloudRouterError:
    if current is None or current.state == states.DELETING:
        return NotFound(f"{row.id} was deleted while it started.", next="cloudrouter ls -a")
    return Internal(current.reason or f"{row.id} failed.", next="cloudrouter server logs")
