"""One stream to a guest on the event loop: a WebSocket of the `websockets` library that speaks our errors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.protocol import State

from cloudrouter.client import frames, http1
from cloudrouter.client.http1 import Head
from cloudrouter.client.transport import read_answer
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire.errors import Unreachable
from cloudrouter.wire.streams import CHUNK, MESSAGE_LIMIT


class AsyncStream:
    """An open WebSocket. One task may send while another receives.

    What is sent after the peer went away is lost in silence: `receive` tells how it ended, as its last words may
    say why. Closing ends the operation.
    """

    def __init__(self, connection: ClientConnection, on_close: Callable[[], object]) -> None:
        self._connection = connection
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self.closed = False
        """Whether it was closed here."""

    @property
    def close_reason(self) -> str:
        """What the peer said when it closed; empty before, and when it said nothing."""
        return self._connection.close_reason or ""

    @property
    def over(self) -> bool:
        """Whether the connection is known to be ending or gone; what came before can still be received."""
        return self._connection.state is not State.OPEN

    async def send_text(self, text: str) -> None:
        """Send one text message and wait while the socket has no room."""
        await self._send(text.encode("utf-8", "replace"), text=True)

    async def send_binary(self, data: bytes | memoryview) -> None:
        """Send one binary message and wait while the socket has no room."""
        await self._send(data, text=False)

    async def receive(self) -> tuple[str, bytes] | None:
        """The next message as ("text" or "binary", payload), or None after the peer's goodbye.

        Raises ConnectionLost when the connection ends without one, and Unreachable when the peer talks nonsense.
        """
        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            if error.sent is not None and not error.rcvd_then_sent:
                raise frames.BrokenFrame(error.sent.reason or "it breaks the protocol") from None
            if error.rcvd is None:
                raise _lost(error) from None
            return None
        return ("text", message.encode()) if isinstance(message, str) else ("binary", message)

    async def close(self) -> None:
        """Say goodbye as far as the socket takes it at once, and close. Closing twice is fine."""
        if self.closed:
            return
        self.closed = True
        self._on_close()
        connection = self._connection
        if connection.state is State.OPEN:
            # Not `connection.close()`, which waits until the peer has read all and answered.
            connection.protocol.send_close(frames.NORMAL)
            for data in connection.protocol.data_to_send():
                if data:
                    connection.transport.write(data)
        if connection.transport.get_write_buffer_size():
            connection.transport.abort()  # Who does not read need not hear it.
        else:
            connection.transport.close()
        await connection.wait_closed()

    def __del__(self) -> None:
        # An execution that nobody holds any more ends its command, as one of the blocking SDK does.
        if not self.closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._connection.transport.abort)
            self._on_close()

    async def _send(self, data: bytes | memoryview, *, text: bool) -> None:
        try:
            await self._connection.send(data, text=text)
        except ConnectionClosed:
            return  # See the class: receive tells it.


async def open_stream(
    sock: socket.socket, path: str, on_head: Callable[[Head], object], on_close: Callable[[], object]
) -> AsyncStream:
    """A stream to this path over a connected socket, which it owns from now on; deadlines are the caller's."""
    try:
        connection = await connect(
            f"ws://localhost{path}",
            sock=sock,
            compression=None,
            proxy=None,
            user_agent_header=None,
            open_timeout=None,
            # A slow reader answers no pings; that the router is gone the socket tells.
            ping_interval=None,
            max_size=MESSAGE_LIMIT,
            write_limit=2 * CHUNK,
        )
    except InvalidStatus as error:
        response = error.response
        head = Head(
            response.status_code, {name.lower(): value for name, value in response.headers.raw_items()}, keeps=False
        )
        on_head(head)
        read_answer(head, bytes(response.body or b""))
        raise Unreachable(f"The router answered a stream with HTTP {head.status}.") from None
    except (InvalidMessage, EOFError, OSError):
        raise http1.lost(None) from None
    except InvalidHandshake:
        raise Unreachable("What listens on the router's socket does not speak WebSocket.") from None
    if connection.response is not None:
        headers = {name.lower(): value for name, value in connection.response.headers.raw_items()}
        on_head(Head(101, headers, keeps=False))
    return AsyncStream(connection, on_close)


def _lost(error: ConnectionClosed) -> ConnectionLost:
    why = f" ({error.__cause__.strerror})" if isinstance(error.__cause__, OSError) and error.__cause__.strerror else ""
    return ConnectionLost(
        f"The router closed the stream in the middle{why}.",
        fix="Try again; the router may have been restarted.",
        next="cloudrouter server status",
    )
