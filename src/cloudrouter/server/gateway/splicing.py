"""WebSockets: after the server inside has agreed, bytes pass as they are, so nothing of the protocol is lost."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from cloudrouter.server.gateway.exchange import Exchange, Pool
from cloudrouter.server.gateway.headers import Outside, answer_head, request_head
from cloudrouter.server.gateway.links import Goal
from cloudrouter.server.gateway.relaying import Passed, pass_on
from cloudrouter.wire.errors import Unreachable


class Early:
    """Takes what arrives before the two ends are joined."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Keep it; there is more to come."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """The connection's end shows at the transport."""


class End(asyncio.Protocol):
    """One of two connections that are joined: what comes here goes there."""

    takes_views = True

    def __init__(self, other: asyncio.Transport, over: asyncio.Future[None]) -> None:
        self._other = other
        self._over = over
        self.lost = False
        """Whether this one's own connection has ended."""

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._other.write(data)

    def eof_received(self) -> bool:
        """A WebSocket has no half: both end, behind what was written."""
        return False

    def pause_writing(self) -> None:
        """This end does not take more: stop reading at the other."""
        self._other.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the other end along."""
        self.lost = True
        self._other.close()
        if not self._over.done():
            self._over.set_result(None)


async def splice(
    pool: Pool, request: web.BaseRequest, outside: Outside, goal: Goal, *, head: bytes = b""
) -> web.StreamResponse:
    """A WebSocket's handshake, then its bytes until one side ends; an answer that is no handshake is passed on.

    head: the request as the server inside gets it, where it is not the one that came. Who sends it speaks for a
    program, which would follow a redirect to anywhere: then nothing but a handshake is passed on, without more.
    """
    strict = bool(head)
    head = head or request_head(request.method, outside, request.raw_headers, upgrade=True, chunked=False)
    exchange = await pool.ask(goal, request.method, head)
    try:
        if exchange.message.code != 101:
            if strict:
                raise Unreachable(f"The server answered {exchange.message.code} and no WebSocket.")
            return await pass_on(request, outside, exchange)
        if exchange.message.headers.get("Upgrade", "").lower() != "websocket":
            raise Unreachable("The server's answer cannot be passed on: it is no WebSocket.")
        await _join(request, outside, exchange, strict=strict)
        return Passed(request, whole=True, kept=False)
    finally:
        exchange.close()


async def _join(request: web.BaseRequest, outside: Outside, exchange: Exchange, *, strict: bool) -> None:
    """Write the handshake's answer and join the two transports."""
    browser, inner = request.transport, exchange.pipe
    if browser is None:
        raise ConnectionResetError("the browser has left")
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    from_inside, from_outside = Early(), Early()
    server: Any = request.protocol
    exchange.inner.set_parser(from_inside, None)
    server.set_parser(from_outside)
    own = (b"Connection: Upgrade", b"Upgrade: websocket")
    said = exchange.message.raw_headers
    kept = tuple(one for one in said if not strict or one[0].lower().startswith(b"sec-websocket-"))
    head = answer_head(101, "Switching Protocols", outside, kept, own)
    outer = End(inner, over)
    browser.set_protocol(outer)
    browser.write(head + from_inside.data)
    inner.set_protocol(End(browser, over))
    inner.write(from_outside.data)
    try:
        await over
    finally:
        inner.close()
        # aiohttp has to hear of its connection's end, also when that came while the bytes passed it by.
        browser.set_protocol(server)
        if outer.lost:
            server.connection_lost(None)
        else:
            browser.close()
