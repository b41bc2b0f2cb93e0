"""The socket that machines speak to: TLS for the five names, bounds for each machine, nobody waits for ever."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from cloudrouter.cache.answers import Answers, Asker
from cloudrouter.cache.authority import Certificates
from cloudrouter.cache.fills import Failed
from cloudrouter.cache.limits import Limits, peer_of
from cloudrouter.cache.log import log
from cloudrouter.wire.packages import SOCKET

BACKLOG = 512
HANDSHAKE_S = 10.0
IDLE_S = 60.0
"""A connection without a whole request for so long is closed, also in the middle of its headers."""
SWEEP_S = 5.0
LINE_LIMIT = 8190
"""Bytes of a request's first line, and of one header."""

HTTP: dict[str, Any] = {
    "access_log": None,
    "auto_decompress": False,
    "keepalive_timeout": IDLE_S,
    "lingering_time": 2.0,
    "max_line_size": LINE_LIMIT,
    "max_field_size": LINE_LIMIT,
    "max_headers": 64,
}

_REFUSALS = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE")
"""What TLS alerts are called by which a tool says that it does not trust our authority."""


class _Connection(RequestHandler):
    """aiohttp's HTTP for one connection, which knows since when it has been waiting for a request."""

    def __init__(self, server: web.Server, asker: Asker, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self.asker = asker
        self.waiting_since: float | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.waiting_since = asyncio.get_running_loop().time()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let whoever waits for the end go on."""
        super().connection_lost(exc)
        self.ended.set()


class Door:
    """Accepts connections until closed."""

    def __init__(self, folder: str, certificates: Certificates, answers: Answers, limits: Limits) -> None:
        self._folder = folder
        self._certificates = certificates
        self._answers = answers
        self._limits = limits
        # Whoever has left wants nothing any more: a handler that waits for its turn must not outlive its connection.
        self._server = web.Server(self._handle, handler_cancellation=True)
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None

    async def serve(self) -> None:
        """Accept for ever; cancel it to end."""
        self._socket = _listen(self._folder)
        loop = asyncio.get_running_loop()
        sweeping = asyncio.create_task(self._sweep())
        try:
            while True:
                try:
                    accepted, _ = await loop.sock_accept(self._socket)
                except OSError as error:
                    log(f"cannot accept: {error.strerror}")
                    await asyncio.sleep(0.1)
                    continue
                task = asyncio.create_task(self._welcome(accepted))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            sweeping.cancel()
            self._socket.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(sweeping, *self._tasks, return_exceptions=True)
            await self._server.shutdown(2.0)

    async def _welcome(self, accepted: socket.socket) -> None:
        """One connection to its end. One that is not served is closed at once: its machine then goes out itself."""
        peer = peer_of(accepted)
        if not self._limits.enter(peer):
            accepted.close()
            return
        try:
            await self._speak(accepted, peer)
        except ssl.SSLError as error:
            if any(word in str(error.reason or error) for word in _REFUSALS):
                log(f"a tool in a machine does not trust the cache ({error.reason}); it goes out itself for a while")
                self._limits.distrust(peer)
        except (OSError, TimeoutError):
            return  # the other side has left, or never spoke
        finally:
            accepted.close()
            self._limits.leave(peer)

    async def _speak(self, accepted: socket.socket, peer: str) -> None:
        accepted.setblocking(False)  # noqa: FBT003
        connection = _Connection(self._server, Asker("", peer), **HTTP)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: connection,
            accepted,
            ssl=self._certificates.door,
            ssl_handshake_timeout=HANDSHAKE_S,
        )
        tls = transport.get_extra_info("ssl_object")
        connection.asker.host = self._certificates.host_of(tls.context)
        if not connection.asker.host:
            transport.abort()  # asked for no name
        self._connections.add(connection)
        try:
            await connection.ended.wait()
        finally:
            self._connections.discard(connection)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.waiting_since = None
        try:
            return await self._answers.answer(request, connection.asker)
        except Failed:
            raise ConnectionResetError("a download broke") from None
        except (ConnectionError, TimeoutError):
            raise  # the asker has left, or takes nothing
        except Exception as error:
            log(f"a request met a defect: {type(error).__name__}: {error}")
            raise
        finally:
            connection.waiting_since = asyncio.get_running_loop().time()

    async def _sweep(self) -> None:
        """Close connections that wait too long, and renew the certificates in time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            self._certificates.renew()
            now = loop.time()
            for connection in list(self._connections):
                since = connection.waiting_since
                if since is not None and now - since > IDLE_S and connection.transport is not None:
                    connection.transport.abort()


def _listen(folder: str) -> socket.socket:
    """The door's socket, put in the place of one that a dead process left.

    The folder is named through a descriptor: a socket's path may have 107 bytes at most.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = os.path.join("/proc/self/fd", str(held))
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        part = f"{place}/{SOCKET}.new"
        if os.path.lexists(part):
            os.unlink(part)
        sock.bind(part)
        os.chmod(part, 0o666)  # noqa: S103 - machines have other users; the folder above is closed to everybody else
        sock.listen(BACKLOG)
        sock.setblocking(False)  # noqa: FBT003
        os.rename(part, f"{place}/{SOCKET}")
        return sock
    finally:
        os.close(held)
