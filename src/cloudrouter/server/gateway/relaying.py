"""HTTP between a browser and a machine: the request in, the answer out, bytes streamed both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import structlog
from aiohttp import ClientError, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from cloudrouter.server.gateway.exchange import Exchange, Pool
from cloudrouter.server.gateway.headers import Outside, answer_head, request_head
from cloudrouter.server.gateway.links import Goal

BODILESS = frozenset({204, 304})
LONG_BYTES = 256 * 1024
"""Bodies whose rest is at least this long pass without being looked at again."""

log = structlog.get_logger("gateway")


class Passed(web.StreamResponse):
    """A machine's answer that was written to the browser's connection already: aiohttp has nothing left to do."""

    def __init__(self, request: web.BaseRequest, *, whole: bool, kept: bool) -> None:
        super().__init__()
        self._request = request
        self._whole = whole
        self._may_follow = whole and kept

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow."""
        return self._may_follow

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Written already."""
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Where the end did not come, the connection is cut, so that nobody takes half for all."""
        if not self._whole and self._request.transport is not None:
            self._request.transport.abort()


class Rest(asyncio.Protocol):
    """Takes the rest of a body of known length from a pipe, straight to the browser."""

    takes_views = True

    def __init__(self, browser: asyncio.Transport, left: int) -> None:
        self._browser = browser
        self.left = left
        self.surplus = False
        self.stirred = asyncio.Event()
        """Set when there is something to do: pause, or the end."""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        """Pass it on; more than was announced is nobody's."""
        if len(data) > self.left:
            self.surplus = True
            data = data[: self.left]
        self.left -= len(data)
        self._browser.write(data)
        self.stirred.set()

    def eof_received(self) -> bool:
        """The end came too early, unless all is there."""
        self.connection_lost(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """As the end."""
        self.lost = True
        self.stirred.set()


async def relay(pool: Pool, request: web.BaseRequest, outside: Outside, goal: Goal) -> web.StreamResponse:
    """One request and its answer."""
    body = _body(request) if request.body_exists else None
    chunked = body is not None and "Content-Length" not in request.headers
    head = request_head(request.method, outside, request.raw_headers, upgrade=False, chunked=chunked)
    exchange = await pool.ask(goal, request.method, head, body, chunked=chunked)
    try:
        return await pass_on(request, outside, exchange)
    finally:
        exchange.close()


async def pass_on(request: web.BaseRequest, outside: Outside, exchange: Exchange) -> web.StreamResponse:
    """Write the machine's answer to the browser."""
    status, raw = exchange.message.code, exchange.message.raw_headers
    length = _length(exchange)
    has_body = request.method != "HEAD" and status not in BODILESS
    modern = request.version >= HttpVersion11
    chunked = has_body and length is None and modern
    kept = request.keep_alive and (not has_body or length is not None or modern)
    own = [b"Content-Length: %d" % length] if length is not None and status != 204 else []
    if chunked:
        own.append(b"Transfer-Encoding: chunked")
    if not kept:
        own.append(b"Connection: close")
    elif not modern:
        own.append(b"Connection: keep-alive")
    out = _Out(request, answer_head(status, exchange.message.reason, outside, raw, own), chunked=chunked)
    if not has_body:
        out.end()
        return Passed(request, whole=True, kept=kept)
    try:
        whole = await _pass_body(request, exchange, out, length)
    except (ClientError, OSError) as error:
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the browser has left") from None
        log.debug("an answer was cut off", machine=outside.place.machine_id, reason=type(error).__name__)
        whole = False
    return Passed(request, whole=whole, kept=kept)


class _Out:
    """The browser's side of an answer: the head goes with the first piece, the end with the last."""

    def __init__(self, request: web.BaseRequest, head: bytes, *, chunked: bool) -> None:
        self._request = request
        self._waiting = head
        self._chunked = chunked

    def put(self, data: bytes, *, last: bool = False) -> None:
        """Write a piece of the body."""
        if self._chunked:
            end = b"\r\n0\r\n\r\n" if last else b"\r\n"
            data = b"%s%x\r\n%s%s" % (self._waiting, len(data), data, end)
        elif self._waiting:
            data = self._waiting + data
        self._waiting = b""
        self._write(data)

    def begin(self) -> None:
        """Write the head alone: nothing else has come yet, and who waits for events may know that it begins."""
        self._write(self._waiting)
        self._waiting = b""

    def end(self) -> None:
        """Write what is left, and the end."""
        self._write(self._waiting + (b"0\r\n\r\n" if self._chunked else b""))

    def _write(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the browser has left")
        if data:
            transport.write(data)


async def _pass_body(request: web.BaseRequest, exchange: Exchange, out: _Out, length: int | None) -> bool:
    """The body as it comes, as fast as the browser takes it; whether all of it came."""
    body, drain = exchange.body, request.writer.drain
    if not (data := body.read_nowait()) and not body.at_eof():
        out.begin()
    while data := data or await body.readany():
        last = body.is_eof() and body.at_eof()
        out.put(data, last=last)
        if last:
            return True
        # Nothing waits in the buffer; what the parser still holds would keep the pipe from reading.
        if length is not None and length - body.total_bytes >= LONG_BYTES and exchange.pipe.is_reading():
            if more := body.read_nowait():
                out.put(more)
            else:
                return await _pass_rest(request, exchange, length - body.total_bytes)
        data = b""
        await drain()
    out.end()
    return True


async def _pass_rest(request: web.BaseRequest, exchange: Exchange, left: int) -> bool:
    """The rest of a long body, past the parser."""
    browser, pipe, protocol = request.transport, exchange.pipe, request.protocol
    if browser is None:
        raise ConnectionResetError("the browser has left")
    rest = Rest(browser, left)
    pipe.set_protocol(rest)
    try:
        while rest.left and not rest.lost:
            await rest.stirred.wait()
            rest.stirred.clear()
            if protocol.writing_paused:
                pipe.pause_reading()
                await request.writer.drain()
                pipe.resume_reading()
            if browser.is_closing():
                raise ConnectionResetError("the browser has left")
    finally:
        pipe.set_protocol(exchange.inner)
    if rest.left == 0 and not rest.surplus and not rest.lost:
        exchange.body.feed_eof()
    return rest.left == 0


def _length(exchange: Exchange) -> int | None:
    for name, value in exchange.message.raw_headers:
        if name.lower() == b"content-length":
            return int(value)
    return None


async def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The request's body as it comes; who asked to be told when to send is told, once the server inside is there."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    while data := await request.content.readany():
        yield data
