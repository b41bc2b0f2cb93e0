"""Opening pipes into machines, pooled for HTTP, and ending all of a machine's at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from cloudrouter.auth.hosts import Place
from cloudrouter.server.gateway.pipes import Pipe
from cloudrouter.server.guests.connections import Guests
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.store.machines import Row
from cloudrouter.wire.errors import CloudRouterError, TimedOut

OPEN_DEADLINE_S = 20.0
START_DEADLINE_S = 300.0
STREAM_BYTES = 128 * 1024
PATIENCE_S = 0.3
"""How long a person looks at nothing before the page that says what is starting."""


class AppStarts(CloudRouterError):
    """The app has to start first, and who asked rather sees that than waits."""

    code, http_status = "starting", 503


@dataclass(frozen=True)
class Goal:
    """Where a connection is to lead."""

    row: Row
    place: Place
    holds: bool
    """Whether the request waits while an app starts."""


class Links:
    """Every pipe that is open."""

    def __init__(self, guests: Guests, traffic: Traffic) -> None:
        self._guests = guests
        self._traffic = traffic
        self._pipes: dict[str, set[Pipe]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, goal: Goal) -> Pipe:
        """A pipe to the goal; the machine's error when nothing takes the connection, AppStarts for the impatient."""
        stack = AsyncExitStack()
        try:
            connection = await stack.enter_async_context(self._guests.stream(goal.row))
            stack.enter_context(self._traffic.stream(goal.row.id))
            pipe = Pipe(connection, lambda gone: self._gone(goal.row.id, gone, stack))
        except BaseException:
            await stack.aclose()
            raise
        self._pipes.setdefault(goal.row.id, set()).add(pipe)
        opening = asyncio.ensure_future(pipe.open(_request(goal.place)))
        try:
            await self._await_opening(goal, pipe, opening)
        except BaseException:
            opening.cancel()
            pipe.abort()
            raise
        return pipe

    async def open_stream(self, goal: Goal) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As `open`, as asyncio's own pair for bytes."""
        pipe = await self.open(goal)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(STREAM_BYTES, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        protocol.connection_made(pipe)
        pipe.set_protocol(protocol)
        return reader, asyncio.StreamWriter(pipe, protocol, reader, loop)

    def end(self, machine_id: str) -> None:
        """End every pipe of a machine."""
        for pipe in list(self._pipes.get(machine_id, ())):
            pipe.abort()

    async def aclose(self) -> None:
        """End every pipe there is."""
        for machine_id in list(self._pipes):
            self.end(machine_id)
        await asyncio.sleep(0)  # the aborted ones say so in the loop's next turn
        while self._closing:
            await asyncio.gather(*self._closing)

    async def _await_opening(self, goal: Goal, pipe: Pipe, opening: asyncio.Future[None]) -> None:
        waiting = asyncio.ensure_future(pipe.waits())
        try:
            async with asyncio.timeout(OPEN_DEADLINE_S):
                await asyncio.wait({opening, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done() and not goal.holds:
                await asyncio.wait({opening}, timeout=PATIENCE_S)
                if not opening.done():
                    raise AppStarts(f"{goal.place.target} is starting.", fix="Ask again in a moment.")
            async with asyncio.timeout(START_DEADLINE_S):
                await opening
        except TimeoutError:
            raise TimedOut(f"{goal.place.target} did not take the connection in time.") from None
        finally:
            waiting.cancel()

    def _gone(self, machine_id: str, pipe: Pipe, stack: AsyncExitStack) -> None:
        pipes = self._pipes.get(machine_id, set())
        pipes.discard(pipe)
        if not pipes:
            self._pipes.pop(machine_id, None)
        task = asyncio.ensure_future(stack.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _request(place: Place) -> dict[str, Any]:
    if place.port is not None:
        return {"op": "tcp", "port": place.port}
    return {"op": "app.connect", "app": place.target}
