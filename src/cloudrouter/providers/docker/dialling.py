"""Streams into machines: by the container's address where it can be reached, else by a program in the container."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any

from cloudrouter.providers.docker.api import CONNECT_DEADLINE_S, EngineApi
from cloudrouter.providers.docker.streams import HEADER, STDOUT
from cloudrouter.providers.errors import NotFound, NotRunning, Unreachable
from cloudrouter.wire.errors import CloudRouterError

ADDRESS_DEADLINE_S = 2.0
QUICK_S = 0.05
"""A connection that took longer than this is looked at again: the address may have changed hands meanwhile."""
EXEC_DEADLINE_S = 15.0
PIECE = 65536
FIND_PYTHON = (
    "unset LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT; "
    "for python in /opt/cloudrouter/runtime/bin/python3 /usr/bin/python3; do "
    'if [ -x "$python" ]; then exec "$python" -I -S -c "$1" "$2"; fi; done; exit 127'
)
"""Our own Python where the image is not ours, else Debian's; $1 is the program, $2 the port."""

AddressOf = Callable[[], Awaitable[str]]
"""Looks at the machine now: its address, empty when it has none; raises NotRunning."""


class Dialler:
    """Remembers, per engine, which way works."""

    def __init__(self, api: EngineApi, *, mode: str) -> None:
        self._api = api
        self.mode = mode
        self._bridges: set[asyncio.Task[None]] = set()

    async def dial(self, machine_id: str, container: str, port: int, *, address_of: AddressOf) -> socket.socket:
        """A connected non-blocking socket to the port."""
        address = await address_of()
        if self.mode == "exec" or not address:
            return await self._by_exec(machine_id, container, port)
        began = time.monotonic()
        try:
            sock = await _connect(address, port, deadline_s=ADDRESS_DEADLINE_S)
        except ConnectionRefusedError as error:
            self.mode = "address"  # somebody answered for the machine, if only to refuse
            raise _nothing_answers(machine_id, port) from error
        except OSError as error:
            await address_of()  # it may have stopped
            if self.mode == "address":
                raise _nothing_answers(machine_id, port) from error
            sock = await self._by_exec(machine_id, container, port)
            self.mode = "exec"
            return sock
        if time.monotonic() - began > QUICK_S:
            await self._still_the_same(address, sock, machine_id, address_of)
        self.mode = "address"
        return sock

    async def aclose(self) -> None:
        """End every bridge."""
        for task in list(self._bridges):
            task.cancel()
        await asyncio.gather(*self._bridges, return_exceptions=True)

    async def _still_the_same(self, address: str, sock: socket.socket, machine_id: str, address_of: AddressOf) -> None:
        try:
            now = await address_of()
        except BaseException:
            sock.close()
            raise
        if now != address:
            sock.close()
            raise Unreachable(f"{machine_id} was restarted meanwhile.")

    async def _by_exec(self, machine_id: str, container: str, port: int) -> socket.socket:
        script = files(__package__).joinpath("bridgescript.py").read_text(encoding="utf-8")
        body = {
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": False,
            "Cmd": ["/bin/sh", "-c", FIND_PYTHON, "sh", script, str(port)],
        }
        try:
            async with asyncio.timeout(EXEC_DEADLINE_S):
                made = await self._api.call("POST", f"containers/{container}/exec", body=body)
                reader, writer = await self._hijack(f"exec/{made['Id']}/start")
                try:
                    first = await _next_piece(reader)
                except BaseException:
                    _hang_up(writer)
                    raise
        except NotFound as error:
            raise NotRunning(f"{machine_id} is gone.") from error
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise Unreachable(f"The container engine opened no stream into {machine_id}.") from error
        if not first.startswith(b"+"):
            _hang_up(writer)
            raise _nothing_answers(machine_id, port)
        return self._join(first[1:], reader, writer)

    async def _hijack(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of its own to the engine, which after the answer's head is the program's stdin and stdout."""
        version = await self._api.version()
        endpoint = self._api.endpoint
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            if endpoint.socket_path is not None:
                reader, writer = await asyncio.open_unix_connection(endpoint.socket_path)
            else:
                host, port = endpoint.address
                reader, writer = await asyncio.open_connection(host, port, ssl=endpoint.tls)
        try:
            body = json.dumps({"Detach": False, "Tty": False}).encode()
            writer.write(
                f"POST /{version}/{path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
                + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            status = head.split(b" ", 2)[1:2]
            if status not in ([b"101"], [b"200"]):
                raise Unreachable(f"The container engine answered {head[:60]!r} instead of a stream.")
        except BaseException:
            _hang_up(writer)
            raise
        return reader, writer

    def _join(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> socket.socket:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)  # noqa: FBT003 - the socket module's own
        task = asyncio.create_task(_carry(first, ours, reader, writer), name="bridge into a machine")
        self._bridges.add(task)

        def finish(_task: asyncio.Task[None]) -> None:
            # Not in the task itself: one that is cancelled before its first step runs none of its code.
            self._bridges.discard(task)
            ours.close()
            _hang_up(writer)

        task.add_done_callback(finish)
        return theirs


async def _connect(address: str, port: int, *, deadline_s: float) -> socket.socket:
    sock = socket.socket()
    try:
        sock.setblocking(False)  # noqa: FBT003 - the socket module's own
        async with asyncio.timeout(deadline_s):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


async def _next_piece(reader: asyncio.StreamReader) -> bytes:
    """The next bytes of the program's stdout; what it says on stderr is passed over, its end is EOFError."""
    while True:
        number, length = HEADER.unpack(await reader.readexactly(HEADER.size))
        data = await reader.readexactly(length)
        if number == STDOUT and data:
            return data


async def _carry(first: bytes, ours: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes both ways until both have ended; the end of one direction is passed on as a half-close."""
    loop = asyncio.get_running_loop()

    async def send() -> None:
        while data := await loop.sock_recv(ours, PIECE):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def receive() -> None:
        await loop.sock_sendall(ours, first)
        try:
            while True:
                await loop.sock_sendall(ours, await _next_piece(reader))
        except EOFError:
            ours.shutdown(socket.SHUT_WR)

    sending = asyncio.create_task(send())
    try:
        # The program in the machine ends when its service closes: then nothing can be sent any more either.
        await receive()
    except OSError:
        return  # whoever dialled has hung up
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


def _hang_up(writer: asyncio.StreamWriter) -> None:
    """At once, whatever is still buffered."""
    writer.close()
    writer.transport.abort()


def _nothing_answers(machine_id: str, port: int) -> CloudRouterError:
    return Unreachable(f"Nothing answers at port {port} of {machine_id}.")


def running_address(body: Mapping[str, Any], machine_id: str, address: str) -> str:
    """The address when the container runs; NotRunning says what it does instead."""
    status = str(body["State"].get("Status"))
    if status != "running":
        raise NotRunning(f"{machine_id} is {status}.")
    return address
