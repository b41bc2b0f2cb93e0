"""Watching machines on the event loop: the router's log of events, and what machines use."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from cloudrouter.client.aio.following import rest, revive
from cloudrouter.client.aio.link import Link
from cloudrouter.client.observing import Patience, last_of, read_events, read_usages
from cloudrouter.client.requests import events_path, following_path, read_record, stats_path
from cloudrouter.client.transport import NotListening
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire.machines import Event, Usage


async def events(
    link: Link, *, machine: str | None, kind: str | None, after: int | None, follow: bool
) -> AsyncGenerator[Event, None]:
    """The events there are, page by page; with follow those that come, across restarts of the router."""
    if not follow:
        while page := read_events(await link.call("GET", events_path(machine, kind, after))):
            for event in page:
                yield event
            after = page[-1].seq
        return
    if after is None:
        after = last_of(await link.call("GET", events_path(machine, kind, None, tail=0)))
    patience = Patience()
    while True:
        seen = after
        patience.begin()
        try:
            async with aclosing(link.lines(following_path(machine, kind, after))) as lines:
                async for line in lines:
                    event = read_record(Event, line)
                    yield event
                    after = event.seq
        except NotListening as error:
            await rest(link, patience.absence, error)
            continue
        except ConnectionLost:
            await revive(link)
        patience.ended(brought=after != seen)


async def follow_stats(link: Link, machines: list[str], interval: float) -> AsyncGenerator[list[Usage], None]:
    """Measurements as they come, across restarts of the router."""
    patience = Patience()
    while True:
        brought = False
        patience.begin()
        try:
            async with aclosing(link.lines(stats_path(machines, interval))) as lines:
                async for line in lines:
                    yield read_usages(line)
                    brought = True
        except NotListening as error:
            await rest(link, patience.absence, error)
            continue
        except ConnectionLost:
            await revive(link)
        patience.ended(brought=brought)
