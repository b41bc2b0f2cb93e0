"""A command in progress on the event loop, read piece by piece and written to."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from typing import IO, Any, Self

from cloudrouter.client import commands
from cloudrouter.client.aio.streams import AsyncStream
from cloudrouter.client.aio.turns import Turns
from cloudrouter.client.execution import Output, make_result, read_channel, signal_request
from cloudrouter.client.results import Result
from cloudrouter.client.websocket import NoAnswer
from cloudrouter.wire.streams import CHUNK, WINDOW


class AsyncExecution:
    """Iterate over it for the output as it comes; `exit_code` is known at the end.

    Leaving its `with` block, or closing it, ends a command that still runs. One task may write while another reads.
    """

    def __init__(self, stream: AsyncStream, command: str) -> None:
        self._stream = stream
        self._command = command
        self._window = WINDOW
        self._ready: deque[Output] = deque()
        self._exit: dict[str, Any] | None = None
        self._turns = Turns(stream)

    @classmethod
    async def begin(cls, stream: AsyncStream, request: dict[str, Any], command: str) -> Self:
        """Ask for the command; the stream is closed when that fails."""
        try:
            await stream.send_text(json.dumps(request))
        except BaseException:
            await stream.close()
            raise
        return cls(stream, command)

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while the command runs or its output is not read to the end."""
        return None if self._exit is None else int(self._exit.get("code", 255))

    async def __aiter__(self) -> AsyncIterator[Output]:
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._exit is not None:
                return
            await self._receive()

    async def write(self, data: bytes | str) -> None:
        """Give the command input; waits while it does not read. What it prints meanwhile is kept in memory."""
        rest = memoryview(data.encode() if isinstance(data, str) else data)
        while rest and self._exit is None:
            if self._window == 0:
                await self._receive()
                continue
            piece = rest[: min(self._window, CHUNK)]
            self._window -= len(piece)
            rest = rest[len(piece) :]
            await self._stream.send_binary(piece)

    async def close_input(self) -> None:
        """Tell the command that no more input comes."""
        if self._exit is None:
            await self._stream.send_text('{"eof":true}')

    async def send_signal(self, name: str) -> None:
        """Send a signal to the command and its children, such as `INT`."""
        request = signal_request(name)
        if self._exit is None:
            await self._stream.send_text(request)

    async def wait(self) -> Result:
        """Read to the end; the result with all output that was not iterated over before."""
        parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        async for channel, data in self:
            parts[channel].append(data)
        return make_result(self._command, self._exit or {}, b"".join(parts["stdout"]), b"".join(parts["stderr"]))

    async def close(self) -> None:
        """End the command when it still runs."""
        await self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def _receive(self) -> None:
        await self._turns.wait(self._take)
        if self._exit is not None:
            await self._stream.close()

    def _take(self, kind: str, payload: bytes) -> None:
        if kind == "binary":
            self._ready.append(Output(read_channel(payload), payload[1:]))
            return
        self._obey(commands.read_text(payload))

    def _obey(self, said: dict[str, Any]) -> None:
        """Take in one of the machine's words."""
        self._window = commands.granted(self._window, said)
        word = commands.final_of(said)
        if word is not None:
            self._exit = said[word] if isinstance(said[word], dict) else {}


async def ask(
    stream: AsyncStream, request: dict[str, Any], *, timeout: float | None = commands.ASK_TIMEOUT_S
) -> dict[str, Any]:
    """Send a request that has no data and return its final message whole, such as `{"jobs": [...]}`.

    timeout: seconds for all of it; NoAnswer when it takes longer. None waits for ever.
    """
    try:
        async with asyncio.timeout(timeout):
            await stream.send_text(json.dumps(request))
            while (message := await stream.receive()) is not None:
                if message[0] == "text":
                    answer = commands.read_text(message[1])
                    if commands.final_of(answer) is not None:
                        return answer
    except TimeoutError:
        raise NoAnswer(f"The machine did not answer within {timeout:g} s.", next="cloudrouter ls") from None
    finally:
        await stream.close()
    raise commands.broken(stream.close_reason)


async def feed(execution: AsyncExecution, data: bytes | str | IO[bytes]) -> None:
    """Give a command all of its input: what is given, or what comes out of an open file, pipe or terminal."""
    if isinstance(data, (bytes, bytearray, memoryview, str)):
        await execution.write(data)
    else:
        # A descriptor of our own: the loop may watch the caller's already, and the caller may close it.
        fd = os.dup(data.fileno())
        try:
            while piece := await _read(fd):
                await execution.write(piece)
                if execution.exit_code is not None:
                    return
        finally:
            os.close(fd)
    await execution.close_input()


async def _read(fd: int) -> bytes:
    """The next piece from a descriptor, waited for without a thread; empty at its end."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(fd, readable.set)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        return os.read(fd, CHUNK)  # A regular file, which nobody can wait for, nor needs to.
    try:
        while True:
            await readable.wait()
            try:
                return os.read(fd, CHUNK)
            except BlockingIOError:
                readable.clear()
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return b""  # A terminal that hung up.
    finally:
        loop.remove_reader(fd)
