"""HTTP/1.1 with servers inside machines: connections that are kept and used again, one request on each at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import structlog
from aiohttp import ClientError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import StreamReader

from cloudrouter.auth.hosts import Place
from cloudrouter.server.gateway.headers import framing_fault, is_one_line
from cloudrouter.server.gateway.links import Goal, Links
from cloudrouter.server.gateway.pipes import Pipe
from cloudrouter.wire.errors import Unreachable

KEPT_IDLE_S = 1.5
"""A connection that idles longer is closed: sooner than servers do it, so none closes under a request."""
LOOKS = 4
"""How often in that time the idle ones are looked through."""
KEPT_IDLE = 32
"""Idle connections to one target that are kept."""
MOST_PER_TARGET = 256
"""Requests to one target at once; more wait for their turn."""
HEADER_BYTES = 64 * 1024
"""The longest request line, header or status line that passes."""
HEADERS_MOST = 256
BUFFER = 256 * 1024
"""Bytes of a body that wait in each direction of each request."""
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger("gateway")


class Exchange:
    """One request and its answer. `close` at its end, whatever came of it."""

    def __init__(self, pool: Pool, place: Place, inner: ResponseHandler) -> None:
        self._pool = pool
        self._place = place
        self.inner = inner
        self.message: RawResponseMessage
        self.body: StreamReader
        self._sending: asyncio.Task[None] | None = None

    @property
    def pipe(self) -> Pipe:
        """The connection below; Unreachable when it has ended."""
        if not isinstance(self.inner.transport, Pipe):
            raise Unreachable("The server inside closed the connection.")
        return self.inner.transport

    async def begin(self, method: str, head: bytes, body: AsyncIterator[bytes] | None, *, chunked: bool) -> None:
        """Send the request, its body in the background, and read the head of the answer."""
        self.inner.set_response_params(
            skip_payload=method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=BUFFER,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=HEADERS_MOST,
        )
        self.pipe.write(head)
        if body is not None:
            self._sending = asyncio.create_task(self._send(body, chunked=chunked))
        while True:
            self.message, self.body = await self.inner.read()
            if self.message.code >= 200 or self.message.code == 101:
                break  # what servers say before their answer is not for browsers
        fault = framing_fault(self.message.raw_headers)
        if fault or not is_one_line(self.message.raw_headers):
            raise Unreachable(f"The server's answer cannot be passed on: {fault or 'a header has several lines'}.")

    def close(self) -> None:
        """Give the connection back, or end it when its request or answer is not whole."""
        sent = self._sending is None or self._sending.done()
        if self._sending is not None:
            self._sending.cancel()
        if sent and self.body.is_eof() and not self.inner.should_close:
            self._pool.give_back(self._place, self.inner)
        else:
            self._pool.drop(self._place, self.inner)

    async def _send(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        writer = StreamWriter(self.inner, asyncio.get_running_loop())
        if chunked:
            writer.enable_chunking()
        try:
            async for piece in body:
                await writer.write(piece)
            if chunked:
                self.pipe.write(b"0\r\n\r\n")
        except (ClientError, ConnectionError, Unreachable) as error:
            # The answer, or that there is none, tells the rest.
            log.debug("a request's body was cut off", reason=type(error).__name__)
            self.inner.force_close()


class Pool:
    """The connections of HTTP into machines."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._idle: dict[Place, deque[tuple[ResponseHandler, int]]] = {}
        """With the look that each was kept before; counting looks is cheaper than asking for the time."""
        self._look = 0
        self._rooms: dict[Place, asyncio.Semaphore] = {}
        self._users: dict[Place, int] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def ask(
        self, goal: Goal, method: str, head: bytes, body: AsyncIterator[bytes] | None = None, *, chunked: bool = False
    ) -> Exchange:
        """Send a request; its exchange, with the answer's head. Unreachable when there is no answer.

        A connection that was kept may end just now; what can be asked twice is then asked again on a new one.
        """
        await self._enter(goal.place)
        try:
            kept = self._take(goal.place)
            if kept is not None and (exchange := await self._try(goal, kept, method, head, body, chunked=chunked)):
                return exchange
            inner = await self._open(goal)
            exchange = await self._try(goal, inner, method, head, body, chunked=chunked, last=True)
            assert exchange is not None
            return exchange
        except BaseException:
            self._leave(goal.place)
            raise

    def give_back(self, place: Place, inner: ResponseHandler) -> None:
        """Keep the connection for the next request."""
        idle = self._idle.setdefault(place, deque())
        if len(idle) < KEPT_IDLE:
            idle.append((inner, self._look))
            if self._sweeping is None:
                self._sweeping = asyncio.get_running_loop().call_later(KEPT_IDLE_S / LOOKS, self._sweep)
        else:
            inner.close()
        self._leave(place)

    def drop(self, place: Place, inner: ResponseHandler) -> None:
        """End the connection at once: what is under way in it serves nobody. One that is closing may finish that."""
        if inner.is_connected():
            inner.abort()
        self._leave(place)

    def aclose(self) -> None:
        """End the idle ones."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for idle in self._idle.values():
            for inner, _look in idle:
                inner.abort()
        self._idle.clear()

    async def _try(
        self,
        goal: Goal,
        inner: ResponseHandler,
        method: str,
        head: bytes,
        body: AsyncIterator[bytes] | None,
        *,
        chunked: bool,
        last: bool = False,
    ) -> Exchange | None:
        """The exchange; None when it may be tried again, as nothing of an answer has come."""
        exchange = Exchange(self, goal.place, inner)
        try:
            await exchange.begin(method, head, body, chunked=chunked)
        except (ClientError, ConnectionError, HttpProcessingError, Unreachable) as error:
            inner.abort()
            if not last and method in _REPEATABLE and body is None:
                return None
            if isinstance(error, Unreachable):
                raise
            said = "answered in a way that is no HTTP" if isinstance(error, HttpProcessingError) else "gave no answer"
            raise Unreachable(f"The server inside {said} ({type(error).__name__}).") from None
        except BaseException:
            inner.abort()
            raise
        return exchange

    async def _open(self, goal: Goal) -> ResponseHandler:
        pipe = await self._links.open(goal)
        inner = ResponseHandler(asyncio.get_running_loop())
        inner.connection_made(pipe)
        pipe.set_protocol(inner)
        return inner

    def _take(self, place: Place) -> ResponseHandler | None:
        idle = self._idle.get(place)
        while idle:
            inner, _look = idle.pop()
            if inner.is_connected() and not inner.should_close:
                return inner
            inner.close()
        return None

    def _sweep(self) -> None:
        """Close what has idled too long."""
        self._look += 1
        self._sweeping = None
        for place, idle in list(self._idle.items()):
            while idle and (idle[0][1] <= self._look - LOOKS or not idle[0][0].is_connected()):
                idle.popleft()[0].close()
            if not idle:
                del self._idle[place]
        if self._idle:
            self._sweeping = asyncio.get_running_loop().call_later(KEPT_IDLE_S / LOOKS, self._sweep)

    async def _enter(self, place: Place) -> None:
        room = self._rooms.setdefault(place, asyncio.Semaphore(MOST_PER_TARGET))
        self._users[place] = self._users.get(place, 0) + 1
        try:
            await room.acquire()
        except BaseException:
            self._forget(place)
            raise

    def _leave(self, place: Place) -> None:
        self._rooms[place].release()
        self._forget(place)

    def _forget(self, place: Place) -> None:
        self._users[place] -= 1
        if not self._users[place]:
            del self._users[place], self._rooms[place]
