"""The operation `tcp`: bytes both ways between a stream and a port that listens inside the machine."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from cloudrouter.guest.tasks import cancel_all, surely
from cloudrouter.wire.errors import Unreachable, UsageError
from cloudrouter.wire.streams import CHUNK, STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Input, Stream

HOSTS = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
CONNECT_S = 10.0
_GONE = (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ENOTCONN)


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """Connect, then carry bytes until both sides have ended; each may end its own direction first."""
    port, host = request.get("port"), request.get("host")
    if type(port) is not int or not 0 < port < 65536:
        raise UsageError("port must be a number between 1 and 65535.")
    if host is not None and (not isinstance(host, str) or host not in HOSTS):
        raise UsageError("host must be 127.0.0.1 or ::1: a tunnel leads into the machine, not through it.")
    if port == guest.port:
        raise UsageError(f"Port {port} is the machine's own door, and no tunnel leads there.", fix="Use another port.")
    stream.input.wanted = True
    sock = await connect(list(HOSTS) if host is None else [host], port)
    await carry(stream, sock, {})
    await stream.finish("end", {})


async def carry(stream: Stream, sock: socket.socket, started: dict[str, Any]) -> None:
    """Say `started`, then carry bytes between the stream and a connected socket, which is closed at the end."""
    try:
        await stream.send("started", started)
        inward = asyncio.ensure_future(_carry_in(stream.input, sock))
        outward = asyncio.ensure_future(_carry_out(stream, sock))
        try:
            await asyncio.gather(inward, outward)
        finally:
            await surely(cancel_all(inward, outward))
    finally:
        sock.close()


async def connect(hosts: Sequence[str], port: int) -> socket.socket:
    """A connection to a port inside, at the first of the addresses that answers; Unreachable when none does."""
    loop = asyncio.get_running_loop()
    reason = ""
    for host in hosts:
        sock = None
        try:
            sock = socket.socket(HOSTS[host], socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            await asyncio.wait_for(loop.sock_connect(sock, (host, port)), CONNECT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except (OSError, asyncio.TimeoutError) as error:
            number = getattr(error, "errno", None)
            reason = reason or (os.strerror(number).lower() if number else "no answer")
            if sock is not None:
                sock.close()
        except BaseException:
            if sock is not None:
                sock.close()
            raise
    raise Unreachable(
        f"Nothing in the machine answers on port {port}: {reason}.", fix="Start the server, or wait until it listens."
    )


async def _carry_in(source: Input, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await source.peek(CHUNK):
            await loop.sock_sendall(sock, data)
            source.consume(len(data))
        sock.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        source.abandon()  # the server takes no more; what it still has to say is carried on


async def _carry_out(stream: Stream, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(sock, CHUNK):
            await stream.send_data(STDOUT, data)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        # A reset ends both directions: nothing that the opener sends can arrive any more.
        stream.input.abandon()
        stream.input.end()
    await stream.send("eof", True)  # noqa: FBT003
