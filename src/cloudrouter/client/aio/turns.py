"""Several tasks that wait for messages of one stream: one receives, and all see that something came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cloudrouter.client import commands
from cloudrouter.client.aio.streams import AsyncStream


class Turns:
    """Hands each message of a stream to its owner, whichever task waited for it."""

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream
        self._lock = asyncio.Lock()
        self.heard = 0
        """Messages so far."""

    async def wait(self, take: Callable[[str, bytes], None]) -> None:
        """Return after at least one more message was taken; raises what `take` raises, or how the stream ended.

        take is handed in here and not kept: an owner that nobody holds any more must not hold itself.
        """
        heard = self.heard
        async with self._lock:
            if self.heard != heard:
                return
            message = await self._stream.receive()
            if message is None:
                raise commands.broken(self._stream.close_reason)
            self.heard += 1
            take(*message)
