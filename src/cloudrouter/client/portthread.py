"""A forward for programs that block: the one of the event loop, on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.ports import AsyncForward

T = TypeVar("T")


class PortThread:
    """Runs one AsyncForward until closed; raises what opening it raises."""

    def __init__(self, socket_path: str, path: str, request: dict[str, Any], local_port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cloudrouter forward", daemon=True)
        self._thread.start()
        try:
            self.forward = self._ask(self._open(socket_path, path, request, local_port))
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """End the forward and the thread. Closing twice is fine."""
        if self._loop.is_closed():
            return
        try:
            self._ask(self._close())
        finally:
            self._end()

    async def _open(self, socket_path: str, path: str, request: dict[str, Any], local_port: int) -> AsyncForward:
        self._link = Link(socket_path)
        return await AsyncForward.begin(self._link, path, request, local_port)

    async def _close(self) -> None:
        await self.forward.close()
        await self._link.close()

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
