"""The event log: facts are kept in order in the database and told at once to whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from cloudrouter.providers.base import Clock
from cloudrouter.server.store.events import EventStore

LISTENER_LIMIT = 1000
"""Undelivered messages after which a listener that does not read is cut off."""

log = structlog.get_logger("events")

_Fact = tuple[float, str, str | None, str, dict[str, Any]]


class EventLog:
    """Emits facts without making the emitter wait for the disk."""

    def __init__(self, store: EventStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._queue: asyncio.Queue[_Fact | asyncio.Future[None] | None] = asyncio.Queue()
        self._listeners: set[_Listener] = set()
        self._writer: asyncio.Task[None] | None = None
        self._written = asyncio.Event()
        """Set, and replaced by a new one, whenever an event has been committed."""

    def start(self) -> None:
        """Begin to write; needs a running loop."""
        self._writer = asyncio.create_task(self._write(), name="event writer")

    async def aclose(self) -> None:
        """Write what is queued and end."""
        if self._writer is not None:
            self._queue.put_nowait(None)
            await self._writer
            self._writer = None

    async def flush(self) -> None:
        """Wait until everything that was emitted before is in the database."""
        if self._writer is None:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(reached)
        await reached

    def emit(self, kind: str, message: str, *, machine_id: str | None = None, **data: Any) -> None:
        """Record one fact; `kind` is `noun.verb`, the message a sentence for people."""
        now = self._clock()
        log.info(kind, machine=machine_id, message=message, **data)
        self._queue.put_nowait((now, kind, machine_id, message, data))
        self._tell(machine_id, {"event": {"at": now, "kind": kind, "machine_id": machine_id, "message": message}})

    def progress(self, machine_id: str | None, **step: Any) -> None:
        """Tell listeners about a step of long work; steps are not facts and are not kept."""
        self._tell(machine_id, {"progress": step})

    @asynccontextmanager
    async def listen(self, machine_id: str | None = None) -> AsyncIterator[asyncio.Queue[dict[str, Any] | None]]:
        """A queue of what is told from now on, about one machine or all; None in it means cut off."""
        listener = _Listener(machine_id)
        self._listeners.add(listener)
        try:
            yield listener.queue
        finally:
            self._listeners.discard(listener)

    async def follow(
        self, after: int, *, machine_id: str | None = None, kind: str | None = None, ended: asyncio.Event
    ) -> AsyncIterator[dict[str, Any]]:
        """Every event after a sequence number, once and in order, read from the database after its commit.

        Goes on until `ended` is set. Who has read up to some number goes on from there, also after a restart.
        """
        ending = asyncio.create_task(ended.wait())
        try:
            while not ended.is_set():
                # Taken before the read: what is committed after the read sets this very one.
                written = self._written
                found = await self._store.after(after, machine_id=machine_id, kind=kind)
                for event in found:
                    after = int(event["seq"])
                    yield event
                if not found:
                    waiting = asyncio.create_task(written.wait())
                    await asyncio.wait({ending, waiting}, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
        finally:
            ending.cancel()

    def _tell(self, machine_id: str | None, message: dict[str, Any]) -> None:
        for listener in list(self._listeners):
            if listener.machine_id not in (None, machine_id):
                continue
            if listener.queue.qsize() >= LISTENER_LIMIT:
                listener.queue.put_nowait(None)
                self._listeners.discard(listener)
            else:
                listener.queue.put_nowait(message)

    async def _write(self) -> None:
        while (item := await self._queue.get()) is not None:
            if isinstance(item, asyncio.Future):
                if not item.done():
                    item.set_result(None)
                continue
            at, kind, machine_id, message, data = item
            try:
                await self._store.append(at=at, kind=kind, machine_id=machine_id, message=message, data=data)
            except Exception:
                # A full disk must not end the router; the log file still has the event.
                log.exception("event not written", kind=kind)
                continue
            written, self._written = self._written, asyncio.Event()
            written.set()


class _Listener:
    def __init__(self, machine_id: str | None) -> None:
        self.machine_id = machine_id
        self.queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
