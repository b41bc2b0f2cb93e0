"""Between the page's WebSocket and the desktop's stream in the machine: RFB bytes both ways, none of them kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import WSMessage, WSMsgType, web

from cloudrouter.server.gateway.desktop.rfb import Refused, Watcher
from cloudrouter.wire.errors import CloudRouterError

SUBPROTOCOL = "binary"
PIECE_BYTES = 64 * 1024
MOST_MESSAGE_BYTES = 4 * 1024 * 1024
"""Of one message from the page; noVNC sends pieces of 10 KiB."""
HEARTBEAT_S = 45.0
GOODBYE_S = 2.0
"""How long the browser may take to answer a close."""

TRY_AGAIN = 4000
"""The page connects again by itself."""
NO_USE = 4001
"""Trying again changes nothing before a person has done something; the page says the reason and waits."""
REFUSED = 1008
NOT_BINARY = 1003
_REASON_BYTES = 123
"""What a close frame has room for."""


class Reader(Protocol):
    """The stream's bytes from the machine, as asyncio.StreamReader has them."""

    async def read(self, n: int = ..., /) -> bytes:
        """Up to n bytes; nothing at the end."""


class Writer(Protocol):
    """The stream's bytes to the machine, as asyncio.StreamWriter takes them."""

    def write(self, data: bytes, /) -> None:
        """Hand over bytes."""

    async def drain(self) -> None:
        """Wait until there is room for more."""

    def close(self) -> None:
        """End the stream."""


class Viewing(Protocol):
    """What the bridge must know of a session."""

    @property
    def view_only(self) -> bool:
        """Whether who looks may not type."""


OpenStream = Callable[[], Awaitable[tuple[Reader, Writer]]]


class _Ended(Exception):
    """The connection is over: how the page is told."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def run(request: web.BaseRequest, session: Viewing, open_stream: OpenStream) -> web.WebSocketResponse:
    """Accept the WebSocket, open the stream (which starts the desktop when it has to) and carry until one side ends.

    Errors of the stream close the WebSocket with their message as reason. Cancelling ends both sides.
    """
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,),
        heartbeat=HEARTBEAT_S,
        timeout=GOODBYE_S,
        max_msg_size=MOST_MESSAGE_BYTES,
        compress=False,  # pictures are compressed already
    )
    await socket.prepare(request)
    end = _Ended(TRY_AGAIN, "The desktop's connection ended.")
    try:
        await _carry(socket, Watcher() if session.view_only else None, open_stream)
    except _Ended as ended:
        end = ended
    except CloudRouterError as error:
        end = _Ended(TRY_AGAIN if error.retry else NO_USE, error.message)
    except OSError as error:
        end = _Ended(TRY_AGAIN, f"The desktop's connection broke: {error.strerror or type(error).__name__}.")
    finally:
        await socket.close(code=end.code, message=_fitting(end.reason))
    return socket


async def _carry(socket: web.WebSocketResponse, watcher: Watcher | None, open_stream: OpenStream) -> None:
    """Open the stream while listening for a browser that leaves, then carry both ways until the first end."""
    said = asyncio.create_task(socket.receive())  # the desktop speaks first: until then only a goodbye can come
    opening = asyncio.ensure_future(open_stream())
    tasks: list[asyncio.Future[None]] = []
    try:
        await asyncio.wait((said, opening), return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            _bytes_of(said.result())
            raise _Ended(REFUSED, "It spoke before the desktop.")
        reader, writer = opening.result()
        tasks = [
            asyncio.create_task(_to_machine(socket, said, writer, watcher)),
            asyncio.create_task(_to_browser(reader, socket, watcher)),
        ]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _end([said, opening, *tasks])
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            opening.result()[1].close()


async def _end(tasks: list[asyncio.Future[Any]]) -> None:
    """Cancel what still runs, and wait until it has ended; how it ended is of no interest any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _to_machine(
    socket: web.WebSocketResponse, said: Awaitable[WSMessage], writer: Writer, watcher: Watcher | None
) -> None:
    """The browser's bytes, as fast as the machine takes them; a watcher's only as far as they let one watch."""
    while True:
        data = _bytes_of(await said)
        if watcher is not None:
            try:
                data = watcher.feed(data)
            except Refused as refused:
                raise _Ended(REFUSED, f"This view is for watching only, and its client sent {refused}.") from None
        if data:
            writer.write(data)
            await writer.drain()
        said = socket.receive()


async def _to_browser(reader: Reader, socket: web.WebSocketResponse, watcher: Watcher | None) -> None:
    """The desktop's bytes, as fast as the browser takes them."""
    while data := await reader.read(PIECE_BYTES):
        if watcher is not None:
            watcher.hear(data)
        await socket.send_bytes(data)
    raise _Ended(TRY_AGAIN, "The desktop has ended.")


def _bytes_of(message: WSMessage) -> bytes:
    if message.type is WSMsgType.BINARY:
        return bytes(message.data)
    if message.type is WSMsgType.TEXT:
        raise _Ended(NOT_BINARY, "RFB is carried in binary messages.")
    raise _Ended(TRY_AGAIN, "The browser left.")


def _fitting(reason: str) -> bytes:
    """A reason cut to what a close frame holds, never within a character."""
    return reason.encode()[:_REASON_BYTES].decode(errors="ignore").encode()
