"""The gateway's sockets: loopback, the port it had before or the next free one, TLS for teams."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

import structlog
from aiohttp import web

from cloudrouter.auth.hosts import LOCAL_DOMAIN, Address
from cloudrouter.server.settings import Settings

LOOPBACK = ("127.0.0.1", "::1")
BACKLOG = 512
RETRY_S = 0.1
TAKEOVER_S = 4.0
"""How long a router waits for the port that the one before it had, and may be letting go of."""
GOODBYE_S = 0.2
_BUSY = (errno.EADDRINUSE, errno.EACCES)
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

log = structlog.get_logger("gateway")


class NoPort(Exception):
    """Why the gateway cannot listen."""


class Listener:
    """Finds a port and serves on it."""

    def __init__(self, settings: Settings, server: web.Server) -> None:
        self._settings = settings
        self._server = server
        self._runner: web.ServerRunner | None = None

    async def open(self) -> Address:
        """Listen; NoPort with the reason when that cannot be."""
        settings = self._settings
        if not settings.gateway_ports:
            raise NoPort("it is switched off")
        tls = _tls(settings)
        sockets, port = await self._bind()
        runner = web.ServerRunner(self._server, shutdown_timeout=GOODBYE_S)
        await runner.setup()
        for sock in sockets:
            await web.SockSite(runner, sock, ssl_context=tls, backlog=BACKLOG).start()
        self._runner = runner
        self._remember(port)
        return Address(port, settings.gateway_domain or LOCAL_DOMAIN, tls is not None)

    async def aclose(self) -> None:
        """Stop listening and end what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _bind(self) -> tuple[list[socket.socket], int]:
        ports = self._settings.gateway_ports
        sockets = await self._take_over() or next((found for port in ports if (found := self._try(port))), None)
        if sockets is None:
            one = len(ports) == 1
            raise NoPort(f"port {ports[0]} is taken" if one else f"ports {ports[0]} to {ports[-1]} are all taken")
        return sockets, sockets[0].getsockname()[1]

    async def _take_over(self) -> list[socket.socket] | None:
        """The port that this router had before: addresses that people have kept go on to be right.

        The router before this one may be letting go of it just now, so it is worth waiting for.
        """
        remembered, loop = self._remembered(), asyncio.get_running_loop()
        if remembered == 0 or remembered not in self._settings.gateway_ports:
            return None
        deadline = loop.time() + TAKEOVER_S
        while (sockets := self._try(remembered)) is None and loop.time() < deadline:
            await asyncio.sleep(RETRY_S)
        return sockets

    def _try(self, port: int) -> list[socket.socket] | None:
        """Sockets on this port, one for each address; None when it is taken on any of them."""
        hosts = (self._settings.gateway_address,) if self._settings.gateway_address else LOOPBACK
        sockets: list[socket.socket] = []
        try:
            for host in hosts:
                # Browsers try both loopbacks; on neither may somebody else answer for us.
                sock = _listen(host, sockets[0].getsockname()[1] if sockets else port)
                if sock is not None:
                    sockets.append(sock)
        except OSError as error:
            for sock in sockets:
                sock.close()
            if error.errno in _BUSY:
                return None
            raise NoPort(f"{host} cannot be listened on: {error.strerror}") from None
        return sockets or None

    @property
    def _memory(self) -> str:
        return f"{self._settings.state_dir}/gateway-port"

    def _remembered(self) -> int:
        try:
            with open(self._memory, encoding="ascii") as file:
                return int(file.read(8))
        except (OSError, ValueError):
            return 0

    def _remember(self, port: int) -> None:
        if port == self._remembered():
            return
        part = f"{self._memory}.{os.getpid()}"
        with open(part, "w", encoding="ascii") as file:
            file.write(f"{port}\n")
        os.replace(part, self._memory)


def _listen(host: str, port: int) -> socket.socket | None:
    """A socket that listens there; None where this host does not have that family or address, and need not."""
    sock = None
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)  # noqa: FBT003
    except OSError as error:
        if sock is not None:
            sock.close()
        if host == "::1" and error.errno in _ABSENT:
            return None
        raise
    return sock


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        raise NoPort(f"the certificate {settings.tls_cert} cannot be used: {error}") from None
    return context
