"""Watching machines: the router's log of events, and what machines use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from cloudrouter.client import following
from cloudrouter.client.facts import check_list
from cloudrouter.client.requests import events_path, following_path, read_record, stats_path
from cloudrouter.client.transport import NotListening, Transport
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire.machines import Event, Usage

ROUNDS = 3
"""A router that ends so many connections in a row at once is not asked again."""
AT_ONCE_S = 1.0


class Patience:
    """Counts connections that ended at once without bringing anything; pure but for its clock.

    `absence` is about those that could not be made: a router that is being restarted is waited for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = 0.0
        self._short = 0
        self.absence = following.Patience(clock)

    def begin(self) -> None:
        """A connection is made."""
        self._begun = self._clock()
        self.absence.begin()

    def ended(self, *, brought: bool) -> None:
        """A connection has ended; ConnectionLost when there were too many like it."""
        self.absence.forget()
        self._short = 0 if brought or self._clock() - self._begun > AT_ONCE_S else self._short + 1
        if self._short >= ROUNDS:
            raise ConnectionLost("The router ends the connection again and again.", next="cloudrouter server logs")


def events(
    call: Callable[[str, str], Any],
    transport: Transport,
    *,
    machine: str | None,
    kind: str | None,
    after: int | None,
    follow: bool,
) -> Iterator[Event]:
    """The events there are, page by page; with follow those that come, across restarts of the router."""
    if not follow:
        while page := read_events(call("GET", events_path(machine, kind, after))):
            yield from page
            after = page[-1].seq
        return
    if after is None:
        after = last_of(call("GET", events_path(machine, kind, None, tail=0)))
    patience = Patience()
    while True:
        seen = after
        patience.begin()
        try:
            for line in transport.lines("GET", following_path(machine, kind, after)):
                event = read_record(Event, line)
                yield event
                after = event.seq
        except NotListening as error:
            following.rest(transport, patience.absence, error)
            continue
        except ConnectionLost:
            following.revive(transport)
        patience.ended(brought=after != seen)


def last_of(answer: Any) -> int:
    """The newest sequence number, by an answer with events."""
    last = answer.get("last") if isinstance(answer, dict) else None
    return last if isinstance(last, int) else 0


def read_events(answer: Any) -> list[Event]:
    """The events of an answer."""
    return [read_record(Event, one) for one in check_list(answer, "events")]


def read_usages(answer: Any) -> list[Usage]:
    """The measurements of an answer."""
    return [read_record(Usage, one) for one in check_list(answer, "stats")]


def follow_stats(transport: Transport, machines: list[str], interval: float) -> Iterator[list[Usage]]:
    """Measurements as they come, across restarts of the router."""
    patience = Patience()
    while True:
        brought = False
        patience.begin()
        try:
            for line in transport.lines("GET", stats_path(machines, interval)):
                yield read_usages(line)
                brought = True
        except NotListening as error:
            following.rest(transport, patience.absence, error)
            continue
        except ConnectionLost:
            following.revive(transport)
        patience.ended(brought=brought)
