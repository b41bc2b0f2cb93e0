"""The SSH door: a Unix socket at which ssh's ProxyCommand is given a connection to a machine's sshd."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable

import structlog

from cloudrouter.server.settings import Settings
from cloudrouter.wire.errors import CloudRouterError, Internal, Unreachable, UsageError
from cloudrouter.wire.sshdoor import HOST_LIMIT, OPENED, SOCKET_NAME, ref_of

BACKLOG = 512
ASK_S = 10.0
"""Whoever connects and asks nothing for so long is sent away."""

Open = Callable[[str, str, str], Awaitable[tuple[socket.socket, str]]]
"""(owner, ref, host) -> (the connection, the authority's public key); raises a CloudRouterError."""

log = structlog.get_logger("ssh")


class SshDoor:
    """Listens as long as the router lives; connections that were given away go on without it."""

    def __init__(self, settings: Settings, open_connection: Open) -> None:
        self._owner = settings.owner
        self._path = f"{settings.runtime_dir}/{SOCKET_NAME}"
        self._open = open_connection
        self._listening: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Listen, in place of a router that has died; OSError when the path is taken by something else."""
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            pass
        else:
            if stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid():
                os.unlink(self._path)  # the state folder's lock says that no other router is alive
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            sock.bind(self._path)
        except BaseException:
            sock.close()
            raise
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
        sock.setblocking(False)  # noqa: FBT003
        self._listening = sock
        self._accepting = asyncio.create_task(self._accept(sock), name="ssh door")

    async def aclose(self) -> None:
        """Listen no more."""
        if self._listening is None or self._accepting is None:
            return
        os.unlink(self._path)
        for task in (self._accepting, *self._serving):
            task.cancel()
        await asyncio.gather(self._accepting, *self._serving, return_exceptions=True)
        self._listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:
                # No descriptors left, most likely; whoever waits in the queue is served when there are some.
                log.warning("nobody can be let in", reason=error.strerror)
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._serve(sock))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, sock: socket.socket) -> None:
        """One question and its answer."""
        with sock:
            sock.setblocking(False)  # noqa: FBT003
            if not _is_ours(sock):
                return
            try:
                await self._answer(sock)
            except CloudRouterError as error:
                await _tell(sock, error)
            except OSError as error:
                log.debug("the caller has left", reason=error.strerror)
            except Exception as error:
                log.exception("the ssh door broke")
                await _tell(sock, Internal(f"The router met a defect: {type(error).__name__}."))

    async def _answer(self, sock: socket.socket) -> None:
        host = await _read_host(sock)
        connection, authority = await self._open(self._owner, ref_of(host), host)
        with connection:
            # The one small message that this socket ever carries: there is always room for it.
            socket.send_fds(sock, [OPENED + authority.encode() + b"\n"], [connection.fileno()])


async def _read_host(sock: socket.socket) -> str:
    """The host name that ssh was given; UsageError for what no machine can be called."""
    loop, line = asyncio.get_running_loop(), b""
    try:
        async with asyncio.timeout(ASK_S):
            while b"\n" not in line and len(line) <= HOST_LIMIT:
                data = await loop.sock_recv(sock, HOST_LIMIT + 1)
                if not data:
                    raise Unreachable("The caller has left.")
                line += data
    except TimeoutError:
        raise UsageError("No host was asked for in time.") from None
    host = line.partition(b"\n")[0].decode("ascii", "replace")
    if not ref_of(host):
        raise UsageError(
            f"{host[:60]!r} is no machine's host name.",
            fix="Host names of machines look like cr_7k2m9xqd, or my-project.cr for the name my-project.",
            next="cloudrouter ls",
        )
    return host


def _is_ours(sock: socket.socket) -> bool:
    """Whether our own user, or root, is at the other end; the kernel says."""
    _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if uid not in (0, os.getuid()):
        log.warning("foreign user refused", uid=uid)
        return False
    return True


async def _tell(sock: socket.socket, error: CloudRouterError) -> None:
    try:
        await asyncio.get_running_loop().sock_sendall(sock, json.dumps(error.to_json()).encode() + b"\n")
    except OSError as failure:
        log.debug("the caller has left", reason=failure.strerror)
