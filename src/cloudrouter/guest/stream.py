"""One stream as an operation sees it: its input with the window rule, its control messages, its answers."""

from __future__ import annotations

import asyncio
import json
import os
import socket

from websockets.exceptions import ConnectionClosed

from cloudrouter.wire.errors import CloudRouterError, Unreachable, UsageError
from cloudrouter.wire.streams import SIGNALS, WINDOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Union

    from websockets.asyncio.server import ServerConnection

_GRANT_AT = WINDOW // 4
"""Consumed bytes are granted again in lumps of this size, so that a message pays for many bytes."""


class Input:
    """Data from the opener that the operation has not consumed yet: never more than the window."""

    def __init__(self, grant: Callable[[int], None]) -> None:
        self._grant = grant
        self._pending = bytearray()
        self._credit = WINDOW
        self._consumed = 0
        self._changed: Optional[asyncio.Future[None]] = None
        self.wanted = False
        """Whether the operation takes data at all."""
        self.ended = False
        self._abandoned = False

    def feed(self, data: bytes) -> None:
        """Take a message's data; UsageError when the opener had no right to send it."""
        if not self.wanted:
            raise UsageError("This operation takes no data.")
        if self.ended:
            raise UsageError("Data came after its end.")
        self._credit -= len(data)
        if self._credit < 0:
            raise UsageError("More data came than the window allows.")
        if not self._abandoned:
            self._pending += data
            self._wake()

    def end(self) -> None:
        """No more data will come."""
        self.ended = True
        self._wake()

    async def peek(self, limit: int) -> bytearray:
        """Wait for data and return the first bytes of it without consuming them; nothing at the end."""
        while not self._pending and not self.ended:
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed
        return self._pending[:limit]

    def consume(self, count: int) -> None:
        """These many of the first bytes have found their place; the opener may send as many again."""
        del self._pending[:count]
        self._consumed += count
        if self._consumed >= _GRANT_AT and not self.ended:
            self._credit += self._consumed
            self._grant(self._consumed)
            self._consumed = 0

    def abandon(self) -> None:
        """Nobody takes data any more: what is there is dropped, and nothing more is granted."""
        self._abandoned = True
        self._pending.clear()

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class Stream:
    """The guest's end of one stream."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._tasks: set[asyncio.Task[None]] = set()
        self.input = Input(self._grant)
        self.on_signal: Optional[Callable[[str], None]] = None
        self.on_resize: Optional[Callable[[int, int], None]] = None
        self.on_message: Optional[Callable[[dict[str, Any]], bool]] = None
        """Gets what is none of the common messages; whether it was one of the operation's own."""
        self.finished = False

    async def first_message(self) -> Union[str, bytes]:
        """What the stream is for. Waits as long as the opener likes: the router keeps spare streams."""
        return await self._connection.recv()

    async def listen(self) -> None:
        """Take in what the opener sends until it leaves (ConnectionClosed) or breaks the rules (UsageError)."""
        receive = self._connection.recv
        while True:
            message = await receive()
            if isinstance(message, bytes):
                self.input.feed(message)
            else:
                self._obey(_read_object(message))

    async def send_data(self, channel: int, data: bytes) -> None:
        """Send output; returns when the socket has room again."""
        await self._connection.send(b"%c%b" % (channel, data))
        await asyncio.sleep(0)  # a fast command must not keep the loop to itself

    async def send(self, word: str, body: Any) -> None:
        """Send a text message with one key."""
        await self._connection.send(json.dumps({word: body}, separators=(",", ":")))

    async def finish(self, word: str, body: Any) -> None:
        """Send the final message."""
        self.finished = True
        await self.send(word, body)

    async def fail(self, error: CloudRouterError) -> None:
        """Send the error as the final message, unless there was one."""
        if not self.finished:
            await self.finish("error", error.to_json())

    async def hand_over(self, word: str) -> socket.socket:
        """Send the last message and take the connection out of this stream, which is over with that.

        Whoever opened it must send nothing more before it has read that message: bytes behind it are not frames.
        """
        transport = self._connection.transport
        transport.pause_reading()
        await self.finish(word, {})
        if transport.get_write_buffer_size():
            raise Unreachable("The connection takes no more data.")
        sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        transport.abort()  # closes its own descriptor, not the connection
        sock.setblocking(False)  # noqa: FBT003
        return sock

    async def close(self) -> None:
        """Say goodbye and wait until the opener has read everything and answered."""
        for task in self._tasks:
            task.cancel()
        closing = asyncio.ensure_future(self._connection.close())
        try:
            while True:  # what still comes must be taken, or the answer behind it would never be read
                await self._connection.recv()
        except ConnectionClosed:
            await closing

    def _grant(self, count: int) -> None:
        task = asyncio.ensure_future(self._send_grant(count))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_grant(self, count: int) -> None:
        try:
            await self.send("window", count)
        except ConnectionClosed:
            return  # `listen` sees the same and ends the operation

    def _obey(self, message: dict[str, Any]) -> None:
        if message.get("eof") is True:
            self.input.end()
        elif "signal" in message:
            name = message["signal"]
            if name not in SIGNALS:
                raise UsageError(f"There is no signal {str(name)[:20]!r} to send.", fix=f"One of {', '.join(SIGNALS)}.")
            if self.on_signal is not None:
                self.on_signal(name)
        elif "resize" in message:
            columns, rows = read_size(message["resize"])
            if self.on_resize is not None:
                self.on_resize(columns, rows)
        elif self.on_message is None or not self.on_message(message):
            raise UsageError("A message in the middle of a stream must be eof, signal or resize.")


def read_size(value: object) -> tuple[int, int]:
    """(columns, rows) of a terminal from `[columns, rows]`."""
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int and 0 < n < 65536 for n in value):
        return value[0], value[1]
    raise UsageError("The size of a terminal is [columns, rows], both between 1 and 65535.")


def read_request(message: Union[str, bytes]) -> dict[str, Any]:
    """A stream's first message as the object it must be."""
    if not isinstance(message, str):
        raise UsageError("A stream begins with a JSON object, not with data.")
    return _read_object(message)


def _read_object(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise UsageError("A text message must be a JSON object.")
    return message
