"""A job's output as an iterator on the event loop, and its input, over as many streams as it takes."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

from cloudrouter.client.aio.execution import AsyncExecution
from cloudrouter.client.aio.following import persist, rest
from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.streams import AsyncStream
from cloudrouter.client.aio.turns import Turns
from cloudrouter.client.attaching import JobOutput
from cloudrouter.client.execution import signal_request
from cloudrouter.client.following import Patience
from cloudrouter.client.progress import Progress
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Internal, Unreachable
from cloudrouter.wire.streams import CHUNK, WINDOW


class AsyncAttachment(JobOutput, AsyncExecution):
    """Iterate over it for a job's output: every byte once, also when the router or the guest is killed meanwhile.

    Leaving its `with` block, or closing it, leaves the job alone. `exit_code` is None for a job that still runs
    (logs without follow) or is lost. One task may write while another reads.
    """

    def __init__(self, stream: AsyncStream, link: Link, machine_id: str, request: dict[str, Any], command: str) -> None:
        super().__init__(stream, command)
        self._link = link
        self._machine_id = machine_id
        self._path = routes.machine(machine_id, "stream")
        self._first = request
        self._progress = Progress(self._note_gone)
        self._unsent: list[bytes] | None = None
        """Input that a new stream has to carry first, once the machine has told how much it got."""
        self._changing = asyncio.Lock()
        """Held while another stream takes over: input keeps its order."""
        self._streams = 1
        self._patience = Patience(asyncio.get_running_loop().time)
        """One for all streams: a machine that takes each up and drops it again wears it out."""
        self._left = False
        self.gone = 0

    @classmethod
    async def begin_at(cls, link: Link, machine_id: str, request: dict[str, Any], command: str) -> Self:
        """Take up the job; the stream is closed when that fails."""
        stream = await link.stream(routes.machine(machine_id, "stream"))
        attachment = cls(stream, link, machine_id, request, command)
        try:
            await stream.send_text(json.dumps(attachment._progress.request(request)))
        except BaseException:
            await stream.close()
            raise
        return attachment

    async def write(self, data: bytes | str) -> None:
        """Give the command input; waits while it does not read. What it prints meanwhile is kept in memory."""
        await self._begun()
        rest = memoryview(data.encode() if isinstance(data, str) else data)
        while rest and self._exit is None:
            async with self._changing:
                piece = rest[: min(self._window, CHUNK)]
                if piece:
                    self._window -= len(piece)
                    self._progress.sent(bytes(piece))
                    await self._stream.send_binary(piece)
            rest = rest[len(piece) :]
            if not piece:
                await self._receive()

    async def close_input(self) -> None:
        """Tell the job that no more input comes."""
        await self._begun()
        async with self._changing:
            self._progress.input_ended = True
            if self._exit is None:
                await self._stream.send_text('{"eof":true}')

    async def send_signal(self, name: str) -> None:
        """Send a signal to the job and its children, such as `INT`; over another stream when the present one is broken.

        The job may get it twice when the stream breaks right after it was sent.
        """
        request = signal_request(name)
        await self._begun()
        while self._exit is None:
            async with self._changing:
                stream = self._stream
                await stream.send_text(request)
            for _ in range(2):  # one turn of the loop finds what the socket has to tell, the next one tells it
                await asyncio.sleep(0)
            if not stream.over:
                return
            async with self._changing:
                broken = self._stream is stream  # Else another task has seen to it: the next one may be silent.
            if broken:
                await self._receive()  # what came before the break, and at its end another stream

    async def close(self) -> None:
        """Let go of the job, which goes on."""
        self._left = True
        await self._stream.close()

    async def _begun(self) -> None:
        """Wait until the machine has said which job this is: before that it takes no input."""
        while self._progress.job is None and self._exit is None:
            await self._receive()

    async def _receive(self) -> None:
        present = self._streams
        try:
            await self._receive_once()
        except Unreachable as error:
            async with self._changing:
                if self._streams == present:  # Else another task has seen to it.
                    await self._go_on(error)

    async def _receive_once(self) -> None:
        await self._turns.wait(self._take)
        if self._exit is not None:
            await self._stream.close()

    def _begin(self, started: Any) -> None:
        if not isinstance(started, dict):
            raise Internal("The machine did not say which job this is.")
        self._progress.begin(started)
        self._unsent = self._progress.unsent(started.get("input")) if started.get("stdin") is True else []

    async def _go_on(self, error: Unreachable) -> None:
        """Another stream to the same job, once one can be had; the error when there is none for too long."""
        if self._left:
            raise error
        if self._progress.job is None and ("line" in self._first or "argv" in self._first):
            raise Unreachable(
                "The connection broke while a command was being started.", next=f"cloudrouter ps {self._machine_id}"
            )
        await rest(self._link, self._patience, error, self._reached())
        await persist(self._link, self._again, moved=self._reached, patience=self._patience)
        self._streams += 1

    async def _again(self) -> None:
        """Take up the job again; the input that it did not get is sent first."""
        await self._stream.close()
        self._stream = await self._link.stream(self._path)
        self._turns = Turns(self._stream)
        self._window, self._unsent = WINDOW, None
        await self._stream.send_text(json.dumps(self._progress.request(self._first)))
        while self._unsent is None and self._exit is None:
            await self._receive_once()
        await self._send_again(self._unsent or [])

    async def _send_again(self, unsent: list[bytes]) -> None:
        for piece in unsent:
            self._window -= len(piece)
            await self._stream.send_binary(piece)
        if self._progress.input_ended and self._exit is None:
            await self._stream.send_text('{"eof":true}')
