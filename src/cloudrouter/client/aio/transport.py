"""Requests to the router over its Unix socket for one event loop: JSON calls, lines as they come, streams."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from cloudrouter.client.aio.http1 import Connection
from cloudrouter.client.aio.streams import AsyncStream, open_stream
from cloudrouter.client.http1 import Head, late
from cloudrouter.client.transport import (
    CALL_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    check_peer,
    connect_error,
    maybe_done,
    read_answer,
    read_object,
    write_request,
)
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire import routes

CALLS_AT_ONCE = 32
"""Calls in progress; more wait their turn."""
STREAMS_AT_ONCE = 256
"""Streams that carry something, such as commands and tunnels; more wait until others end."""
OPENINGS_AT_ONCE = 32
_KEPT = 8
_LOOK_AGAIN_S = 0.01


class AsyncTransport:
    """The way to one router, for one event loop."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self.server_version: str | None = None
        """The router's version, known after the first answer."""
        self._idle: list[Connection] = []
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self._openings = asyncio.Semaphore(OPENINGS_AT_ONCE)
        self._streams = asyncio.Semaphore(STREAMS_AT_ONCE)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        once: bool = False,
    ) -> Any:
        """One request, its JSON answer; None for an empty one. `timeout`: seconds for the whole of it.

        once: it does something that must not happen twice, so it is never sent again.
        Raises the error that the router answered, or Unreachable.
        """
        async with self._calls:
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S if timeout is None else timeout):
                    connection, head = await self._exchange(method, path, body, headers, once=once)
                    try:
                        content = await connection.body(head)
                    except BaseException:
                        connection.close()
                        raise
            except TimeoutError:
                raise late() from None
        self._done_with(connection, head)
        return read_answer(head, content)

    async def lines(self, method: str, path: str, body: Any = None) -> AsyncGenerator[dict[str, Any], None]:
        """The objects of an NDJSON answer as they come; waits as long as the router does. Raises as `call` does."""
        connection, head = await self._exchange(method, path, body, None)
        finished = False
        try:
            if head.status >= 400:
                read_answer(head, await connection.body(head))
            async with aclosing(connection.lines(head)) as lines:
                async for line in lines:
                    yield read_object(line)
            finished = True
        finally:
            if finished:
                self._done_with(connection, head)
            else:
                connection.close()

    async def stream(self, path: str, *, brief: bool = False, timeout: float = 30.0) -> AsyncStream:
        """A WebSocket to this path on a connection of its own; `timeout`: seconds for the upgrade.

        brief: it asks something and is closed at once, so it need not wait for other streams to end.
        """
        if not brief:
            await self._streams.acquire()
        release = _once(None if brief else self._streams)
        try:
            async with self._openings, asyncio.timeout(timeout):
                return await open_stream(await self._connect(), path, self._learn_version, release)
        except TimeoutError:
            release()
            raise late() from None
        except BaseException:
            release()
            raise

    async def close(self) -> None:
        """Close the idle connections. The transport can still be used: the next call connects again."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # The loop tells the sockets' ends in its next round.

    async def _exchange(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] | None, *, once: bool = False
    ) -> tuple[Connection, Head]:
        """Send a request and read the answer's head.

        A kept connection may have been closed by the router just now; then nothing was heard and the request goes
        out once more on a fresh one. Requests of this API may be repeated: those that make something carry an
        idempotency key or name what they change. What may happen once only goes over one that is surely open.
        """
        request, content = write_request(method, path, body, headers)
        while True:
            connection = self._idle_connection(open_only=once) or await Connection.over(await self._connect())
            try:
                await connection.send(request, content)
                head = await connection.head()
            except ConnectionLost:
                connection.close()
                if once:
                    raise maybe_done() from None
                if connection.used and not connection.heard:
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            self._learn_version(head)
            return connection, head

    def _idle_connection(self, *, open_only: bool) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.ended and (not open_only or connection.is_open()):
                return connection
            connection.close()
        return None

    def _done_with(self, connection: Connection, head: Head) -> None:
        connection.used = True
        if head.keeps and not connection.ended and len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def _learn_version(self, head: Head) -> None:
        self.server_version = head.headers.get(routes.VERSION_HEADER, self.server_version)

    async def _connect(self) -> socket.socket:
        """A connected socket whose other end is a router of ours.

        Not the loop's own connecting: on a Unix socket EAGAIN means that the router's queue is full, and not, as the
        loop takes it, that the connection is on its way. The kernel tells nobody when there is room, hence the look.
        """
        deadline = asyncio.get_running_loop().time() + CONNECT_TIMEOUT_S
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(0)
                sock.connect(self.socket_path)
                check_peer(sock, self.socket_path)
                return sock
            except BlockingIOError:
                sock.close()
                if asyncio.get_running_loop().time() > deadline:
                    raise connect_error(self.socket_path, OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))) from None
                await asyncio.sleep(_LOOK_AGAIN_S)
            except BaseException as error:
                sock.close()
                if isinstance(error, OSError):
                    raise connect_error(self.socket_path, error) from None
                raise


def _once(semaphore: asyncio.Semaphore | None) -> Any:
    """A function that gives back one place, however often it is called."""
    places = [semaphore] if semaphore is not None else []

    def release() -> None:
        if places:
            places.pop().release()

    return release
