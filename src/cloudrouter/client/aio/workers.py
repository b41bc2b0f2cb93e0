"""Work on files, which blocks, in threads: with the blocking transport, and ended when its task is cancelled."""

from __future__ import annotations

import asyncio
import threading
from _socket import SHUT_RDWR, socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cloudrouter.client.aio.tasks import surely
from cloudrouter.client.transport import Transport

T = TypeVar("T")

AT_ONCE = 32
"""Transfers and starts in progress; more wait their turn."""


class Interrupted(BaseException):
    """What the work meets at its next connection after its task was cancelled; it unwinds as Ctrl-C does."""


class Interruptible(Transport):
    """A transport whose work another thread may interrupt: once, so that the work can still clean up."""

    def __init__(self, socket_path: str) -> None:
        super().__init__(socket_path)
        self._lock = threading.Lock()
        self._socks: list[socket] = []
        self._pending = False

    def interrupt(self) -> None:
        """Cut what is under way; the next connection raises Interrupted, those after it are made again."""
        with self._lock:
            self._pending = True
            for sock in self._socks:
                try:
                    sock.shutdown(SHUT_RDWR)
                except OSError:
                    pass  # It is closed already.

    def _connect(self) -> socket:
        self._check()
        sock = super()._connect()
        with self._lock:
            self._socks = [one for one in self._socks if one.fileno() >= 0] + [sock]
        try:
            self._check()
        except Interrupted:
            sock.close()
            raise
        return sock

    def _check(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, False
        if pending:
            raise Interrupted


class Workers:
    """The threads of one client, made when they are first needed."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, socket_path: str, work: Callable[[Transport], T]) -> T:
        """What the work returns. When this task is cancelled the work is interrupted, and awaited all the same."""
        transport = Interruptible(socket_path)

        def run() -> T:
            with transport:
                return work(transport)

        if self._threads is None:
            self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="cloudrouter")
        running = self._threads.submit(run)
        future = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if running.cancel():
                raise  # It had not begun.
            transport.interrupt()
            if not future.done():
                await surely(asyncio.wait({future}))
            if not future.cancelled():
                future.exception()  # Looked at: the task's own cancellation is what it is about.
            raise

    def close(self) -> None:
        """Let go of the threads; what they are at goes on."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None
