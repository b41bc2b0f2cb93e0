"""How much one machine may take of the cache, so that the others get their part."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

TOTAL_CONNECTIONS = 1024
PEER_CONNECTIONS = 192
PEER_WAYS_OUT = 32
"""Requests upstream at the same time for one machine; more wait for their turn."""
PEER_WAITING = 128
"""So many may wait for their turn; more are told to come again later."""
TOTAL_WAYS_OUT = 256
DISTRUST_S = 30.0
"""A machine where a tool refused our certificate goes straight to the registries for so long."""
UNKNOWN = "?"
"""A peer that the kernel does not name, because it lives in another process space than this one."""


def peer_of(connection: socket.socket) -> str:
    """A word for the machine at the other end: its control group; the same for everything that runs in it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = struct.unpack("3i", credentials)[0]
    if pid <= 0:
        return UNKNOWN
    try:
        with open(os.path.join("/proc", str(pid), "cgroup"), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()[:16]
    except OSError:
        return ""  # gone already: all such share one part


class Busy(Exception):
    """Too many requests of this machine wait already."""


class _Ways:
    """The ways out of one machine, and who is there: it is forgotten with the last of them, and not before."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(PEER_WAYS_OUT)
        self.users = 0
        self.waiting = 0


class Limits:
    """Counts per machine; asked before anything is spent on it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._open: Counter[str] = Counter()
        self._distrust: dict[str, float] = {}
        self._ways: dict[str, _Ways] = {}
        self._all_ways = asyncio.Semaphore(TOTAL_WAYS_OUT)

    def enter(self, peer: str) -> bool:
        """Whether one more connection of this machine is served; if so, `leave` must follow."""
        if self.is_distrusted(peer) or self._open.total() >= TOTAL_CONNECTIONS:
            return False
        if peer != UNKNOWN and self._open[peer] >= PEER_CONNECTIONS:
            return False
        self._open[peer] += 1
        return True

    def is_distrusted(self, peer: str) -> bool:
        """Whether this machine is let alone now."""
        return self._distrust.get(peer, 0.0) > self._now()

    def leave(self, peer: str) -> None:
        """A connection has ended."""
        self._open[peer] -= 1
        if self._open[peer] <= 0:
            del self._open[peer]

    def distrust(self, peer: str) -> None:
        """A tool of this machine does not trust our certificate, so serving it now would only break it."""
        self._distrust = {one: until for one, until in self._distrust.items() if until > self._now()}
        self._distrust[peer] = self._now() + DISTRUST_S

    @asynccontextmanager
    async def way_out(self, peer: str) -> AsyncIterator[None]:
        """One request upstream on behalf of a machine; raises Busy when too many of them wait for their turn."""
        own = self._ways.get(peer) or _Ways()
        if own.waiting >= PEER_WAITING and peer != UNKNOWN:
            raise Busy
        self._ways[peer] = own
        own.users += 1
        try:
            async with self._turn(own):
                yield
        finally:
            # Downloads go on when their readers' connections are gone, so these say nothing about who is left.
            own.users -= 1
            if not own.users:
                del self._ways[peer]

    @asynccontextmanager
    async def _turn(self, own: _Ways) -> AsyncIterator[None]:
        own.waiting += 1
        waits = True
        try:
            async with own.turns, self._all_ways:
                own.waiting -= 1
                waits = False
                yield
        finally:
            own.waiting -= waits
