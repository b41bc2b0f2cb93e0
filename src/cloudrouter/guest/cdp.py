"""A connection to Chromium's debugging port: requests with their answers, and events, for the browser and its tabs."""

from __future__ import annotations

import asyncio
import json

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from cloudrouter.guest.log import describe, log
from cloudrouter.guest.tasks import cancel_all
from cloudrouter.wire.errors import BrowserDown, StepFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any, Callable

    Heard = Callable[[str, dict[str, Any], str], None]

HOST = "127.0.0.1"
MESSAGE_LIMIT = 32 << 20
ANSWER_LIMIT = 4 << 20
_READ = 256 * 1024
ASK_S = 5.0
"""How long one request may take when nobody says otherwise."""


class Socket:
    """A WebSocket to this machine's own loopback, over asyncio's streams.

    The library's own client needs OpenSSL, which a guest does without; its protocol does not.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = ClientProtocol(parse_uri(url), max_size=MESSAGE_LIMIT)
        self._pieces: list[bytes] = []

    async def shake_hands(self) -> None:
        """Become a WebSocket; WebSocketException when the other side does not."""
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while self._protocol.state is State.CONNECTING and await self._receive():
            continue
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc

    async def send(self, text: str) -> None:
        """Send one message; OSError when the other side has gone."""
        if self._protocol.state is not State.OPEN:
            raise ConnectionResetError("it is closed")
        self._protocol.send_text(text.encode())
        self._flush()
        await self._writer.drain()

    async def messages(self) -> AsyncIterator[bytes]:
        """What comes, until the other side leaves."""
        while True:
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT, Opcode.BINARY):
                    self._pieces.append(bytes(event.data))
                    if event.fin:
                        yield b"".join(self._pieces)
                        self._pieces.clear()
            if self._protocol.state is State.CLOSED or not await self._receive():
                return

    def close(self) -> None:
        """Leave at once: what is on the way is of no use to anybody."""
        self._writer.close()

    async def _receive(self) -> bool:
        data = await self._reader.read(_READ)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._flush()
        return bool(data)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)


class Cdp:
    """One connection; it ends when Chromium does."""

    def __init__(self, socket: Socket, browser: str, heard: Heard) -> None:
        self.browser = browser
        """Which browser this is: no two starts of one have the same."""
        self._socket = socket
        self._heard = heard
        self._count = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.ensure_future(self._read())

    @property
    def is_open(self) -> bool:
        """Whether it can still be asked."""
        return not self._reading.done()

    async def ask(self, method: str, session: str = "", *, timeout_s: float = ASK_S, **params: Any) -> dict[str, Any]:
        """The answer to a request; StepFailed when Chromium refuses it or is silent, BrowserDown when it has gone."""
        if not self.is_open:
            raise BrowserDown("The browser has ended.")
        self._count += 1
        number = self._count
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        try:
            await self._socket.send(json.dumps(message))
            answer = await asyncio.wait_for(waiting, timeout_s)
        except asyncio.TimeoutError:
            raise StepFailed(f"The browser gave no answer to {method} within {timeout_s:g} s.") from None
        except OSError:
            raise BrowserDown("The browser has ended.") from None
        finally:
            self._waiting.pop(number, None)
        error = answer.get("error")
        if isinstance(error, dict):
            raise StepFailed(f"The browser refused {method}: {str(error.get('message'))[:200]}")
        result = answer.get("result")
        return result if isinstance(result, dict) else {}

    async def until_closed(self) -> None:
        """Wait until it has ended."""
        await asyncio.wait({self._reading})

    async def close(self) -> None:
        """Leave."""
        await cancel_all(self._reading)

    async def _read(self) -> None:
        try:
            async for text in self._socket.messages():
                self._take(text)
        except OSError:
            return
        finally:
            self._socket.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(BrowserDown("The browser has ended."))

    def _take(self, text: Any) -> None:
        try:
            message = json.loads(text)
            method, params, session = message.get("method"), message.get("params", {}), message.get("sessionId", "")
            if method is None:
                waiting = self._waiting.get(message.get("id"))
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            else:
                self._heard(str(method), params, str(session))
        except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
            log(f"the browser said what cannot be read: {describe(error)}")


async def open_browser(port: int, heard: Heard) -> Cdp:
    """A connection to the browser itself; BrowserDown when it does not answer. heard: gets (event, params, session)."""
    version = await get(port, "/json/version")
    path = str(version.get("webSocketDebuggerUrl", "") if isinstance(version, dict) else "").partition("/devtools/")[2]
    try:
        socket = await asyncio.wait_for(_connect(port, f"/devtools/{path}"), ASK_S)
    except (OSError, WebSocketException, asyncio.TimeoutError) as error:
        raise BrowserDown(f"The browser does not answer: {describe(error)}.") from None
    return Cdp(socket, path, heard)


async def _connect(port: int, path: str) -> Socket:
    reader, writer = await asyncio.open_connection(HOST, port)
    socket = Socket(reader, writer, f"ws://{HOST}:{port}{path}")
    try:
        await socket.shake_hands()
    except BaseException:
        socket.close()
        raise
    return socket


async def get(port: int, path: str) -> Any:
    """What Chromium answers to a GET on its debugging port; BrowserDown when that is nothing readable."""
    try:
        return await asyncio.wait_for(_get(port, path), ASK_S)
    except (OSError, ValueError, RecursionError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
        raise BrowserDown(f"The browser does not answer: {describe(error)}.") from None


async def _get(port: int, path: str) -> Any:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ),
            0,
        )
        if not 0 < length <= ANSWER_LIMIT:
            raise ValueError("its answer has no length")
        return json.loads(await reader.readexactly(length))
    finally:
        writer.close()
