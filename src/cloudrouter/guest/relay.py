"""The registries' names inside a machine: connections go to the router's package cache, else to the true registry.

Bytes are carried as they are. The cache ends their TLS with a certificate that the machine trusts; where the cache
does not answer, what the tool has said so far is said again to the registry itself, and TLS reaches to there.
"""

from __future__ import annotations

import asyncio
import socket
import time

from cloudrouter.guest.log import describe, log
from cloudrouter.guest.resolving import Resolver
from cloudrouter.guest.tasks import cancel_all
from cloudrouter.wire.packages import HOSTS, PORT, address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Optional

    Address = Callable[[str], tuple[str, int]]

BACKLOG = 128
CHUNK = 256 * 1024
HELLO_LIMIT = 64 * 1024
"""Bytes that a tool may say before the other side's first answer; a TLS greeting is far smaller."""
CONNECT_S = 1.0
FIRST_ANSWER_S = 2.0
"""A cache that says nothing for so long does not answer."""
REGISTRY_CONNECT_S = 10.0
GREETING_S = 30.0
AVOID_S = 10.0
"""How long a cache that did not answer is left alone."""
CONNECTIONS = 512
_FLAGS = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def _listen_address(host: str) -> tuple[str, int]:
    return address_of(host), PORT


class _ToolLeft(Exception):
    """The tool has closed its connection, or says more than any greeting needs."""


class Relay:
    """Listens on one loopback address for each registry."""

    def __init__(
        self,
        door: str,
        *,
        resolver: Optional[Resolver] = None,
        listen_at: Address = _listen_address,
        registry_port: int = PORT,
    ) -> None:
        """door: path of the cache's socket."""
        self._door = door
        self._resolver = resolver or Resolver()
        self._listen_at = listen_at
        self._registry_port = registry_port
        self._listeners: list[socket.socket] = []
        self._accepting: list[asyncio.Future[None]] = []
        self._carrying: set[asyncio.Future[None]] = set()
        self._avoid_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it listens, on every address."""
        return bool(self._accepting) and not any(task.done() for task in self._accepting)

    def open(self) -> None:
        """Listen; OSError, and nothing is open, when one of the addresses cannot be had."""
        try:
            for host in HOSTS:
                listener = socket.socket(socket.AF_INET, _FLAGS)
                self._listeners.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(self._listen_at(host))
                listener.listen(BACKLOG)
        except OSError:
            self._close_listeners()
            raise
        for host, listener in zip(HOSTS, self._listeners):  # noqa: B905 - Python 3.9; as many of each
            self._accepting.append(asyncio.ensure_future(self._accept(listener, host)))

    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host -> where it is listened for."""
        return {host: listener.getsockname() for host, listener in zip(HOSTS, self._listeners)}  # noqa: B905

    async def aclose(self) -> None:
        """End everything."""
        await cancel_all(*self._accepting, *self._carrying)
        self._accepting = []
        self._close_listeners()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    async def _accept(self, listener: socket.socket, host: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError as error:
                log(f"a connection to a registry could not be taken: {describe(error)}")
                await asyncio.sleep(0.1)
                continue
            if len(self._carrying) >= CONNECTIONS:
                client.close()
                continue
            task = asyncio.ensure_future(self._serve(client, host))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def _serve(self, client: socket.socket, host: str) -> None:
        """One connection of a tool to its end; never raises."""
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            said = bytearray()
            far = None
            if time.monotonic() >= self._avoid_until:
                far = await self._through_door(client, said)
            if far is None:
                far = await self._to_registry(host)
                await asyncio.get_running_loop().sock_sendall(far, bytes(said))
            try:
                await carry_both(client, far)
            finally:
                far.close()
        except (OSError, asyncio.TimeoutError, _ToolLeft):
            return  # one of them has left, or the registry is out of reach: the tool sees a closed connection
        finally:
            client.close()

    async def _through_door(self, client: socket.socket, said: bytearray) -> Optional[socket.socket]:
        """A connection to the cache that has begun to answer, the tool having its first bytes; None without one.

        What the tool says meanwhile is kept in `said`.
        """
        loop = asyncio.get_running_loop()
        far = socket.socket(socket.AF_UNIX, _FLAGS)
        try:
            first = b""
            try:
                await asyncio.wait_for(loop.sock_connect(far, self._door), CONNECT_S)
                first = await self._greet(client, far, said)
                await loop.sock_sendall(client, first)
            except asyncio.TimeoutError:
                self._avoid_until = time.monotonic() + AVOID_S
            except OSError:
                first = b""
        except BaseException:
            far.close()
            raise
        if not first:
            far.close()
            return None
        return far

    async def _greet(self, client: socket.socket, far: socket.socket, said: bytearray) -> bytes:
        """Carry the tool's first words to the cache until that answers; its first bytes, empty when it closes.

        Raises TimeoutError when it stays silent, _ToolLeft when there is nobody to answer any more.
        """
        loop = asyncio.get_running_loop()
        answer = asyncio.ensure_future(_readable(far))
        words = asyncio.ensure_future(_readable(client))
        try:
            while True:
                waited = FIRST_ANSWER_S if said else GREETING_S
                done, _ = await asyncio.wait({answer, words}, timeout=waited, return_when=asyncio.FIRST_COMPLETED)
                if answer in done:
                    return far.recv(CHUNK)
                if words not in done:
                    raise asyncio.TimeoutError
                heard = client.recv(HELLO_LIMIT)
                if not heard or len(said) + len(heard) > HELLO_LIMIT:
                    raise _ToolLeft
                said += heard
                await loop.sock_sendall(far, heard)
                words = asyncio.ensure_future(_readable(client))
        finally:
            await cancel_all(answer, words)

    async def _to_registry(self, host: str) -> socket.socket:
        """A connection to the true registry; OSError without one."""
        loop = asyncio.get_running_loop()
        failure: Exception = OSError("no address")
        for address in await self._resolver.resolve(host):
            far = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, _FLAGS)
            try:
                target = (address, self._registry_port)
                await asyncio.wait_for(loop.sock_connect(far, target), REGISTRY_CONNECT_S)
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return far
            except (OSError, asyncio.TimeoutError) as error:
                failure = error
                far.close()
            except BaseException:
                far.close()
                raise
        raise failure


async def _readable(sock: socket.socket) -> None:
    """Wait until there is something to read; unlike a read it can be given up without losing a byte."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(sock, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def carry_both(one: socket.socket, other: socket.socket) -> None:
    """Bytes both ways until both have ended; each may end its own direction first."""
    there, back = asyncio.ensure_future(_carry(one, other)), asyncio.ensure_future(_carry(other, one))
    try:
        await asyncio.gather(there, back)
    finally:
        await cancel_all(there, back)


async def _carry(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, CHUNK):
        await loop.sock_sendall(target, data)
    target.shutdown(socket.SHUT_WR)
