"""Commands inside a machine, over the provider's own `dial` and the guest's stream protocol, as tests need them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from cloudrouter.providers.base import Handle, Provider
from cloudrouter.providers.errors import Unreachable
from cloudrouter.wire import streams

RETRY_S = 0.05

ECHO = """
import socket, sys, threading
def serve(peer):
    while True:
        data = peer.recv(65536)
        if not data:
            break
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    peer.recv(1)
    peer.close()
server = socket.create_server(("0.0.0.0", 0), backlog=64)
print(server.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
"""A program that says its port and sends back whatever comes, also a half-close."""


@dataclass(frozen=True)
class Finished:
    """How a command inside ended."""

    code: int
    stdout: bytes
    stderr: bytes


class Inside:
    """One machine, by its handle and the token that its guest was told the digest of."""

    def __init__(self, provider: Provider, handle: Handle, *, token: str, port: int, patience_s: float) -> None:
        self._provider = provider
        self._handle = handle
        self._token = token
        self._port = port
        self._patience_s = patience_s

    async def run(self, *argv: str) -> Finished:
        """Run a program to its end; waits for a guest that is still booting."""
        output = {streams.STDOUT: b"", streams.STDERR: b""}
        async with self.stream() as stream:
            await stream.send(json.dumps({"op": "exec", "argv": list(argv)}))
            async for message in stream:
                if isinstance(message, bytes):
                    output[message[0]] += message[1:]
                    continue
                found = json.loads(message)
                if "error" in found:
                    raise AssertionError(f"the guest refused {argv}: {found['error']}")
                if "exit" in found:
                    return Finished(found["exit"]["code"], output[streams.STDOUT], output[streams.STDERR])
        raise AssertionError(f"the stream ended before {argv} did")

    @asynccontextmanager
    async def serving_echo(self) -> AsyncIterator[int]:
        """An echo server inside for as long as the context lasts; its port."""
        async with self.stream() as stream:
            await stream.send(json.dumps({"op": "exec", "argv": ["python3", "-u", "-c", ECHO]}))
            async for message in stream:
                if isinstance(message, bytes) and message[0] == streams.STDOUT:
                    yield int(message[1:])
                    return
                if isinstance(message, bytes) or "error" in json.loads(message):
                    raise AssertionError(f"the echo server did not start: {message!r}")
        raise AssertionError("the stream ended before the echo server stood")

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[ClientConnection]:
        """A stream to the guest, opened as soon as it answers."""
        connection = await self._open()
        try:
            yield connection
        finally:
            connection.transport.abort()

    async def _open(self) -> ClientConnection:
        reason = "it was not reached"
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    try:
                        return await self.try_open()
                    except (Unreachable, OSError, EOFError, WebSocketException) as error:
                        if isinstance(error, InvalidStatus):
                            raise
                        reason = str(error)
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            raise AssertionError(f"the guest did not answer within {self._patience_s} s: {reason}") from None

    async def try_open(self, *, token: str | None = None) -> ClientConnection:
        """A stream at the first attempt, with another token when one is given."""
        sock = await self._provider.dial(self._handle, port=self._port)
        try:
            return await connect(
                "ws://guest/stream",
                sock=sock,
                additional_headers={"Authorization": f"Bearer {token or self._token}"},
                compression=None,
                max_size=streams.MESSAGE_LIMIT,
                ping_interval=None,
                proxy=None,
            )
        except BaseException:
            sock.close()
            raise


async def exchange(sock: socket.socket, data: bytes) -> bytes:
    """Send all of it, half-close, and read until the other side closes."""
    loop = asyncio.get_running_loop()

    async def send() -> None:
        await loop.sock_sendall(sock, data)
        sock.shutdown(socket.SHUT_WR)

    sending = asyncio.create_task(send())
    received = bytearray()
    while piece := await loop.sock_recv(sock, 65536):
        received += piece
    await sending
    return bytes(received)
