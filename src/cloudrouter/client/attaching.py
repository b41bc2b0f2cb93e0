"""A job's output as an iterator, and its input, over as many streams as it takes."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from cloudrouter.client import commands, following
from cloudrouter.client.execution import Execution, Output, read_channel, signal_request
from cloudrouter.client.progress import Progress
from cloudrouter.client.transport import Transport
from cloudrouter.client.websocket import Stream
from cloudrouter.wire.errors import Internal, Unreachable
from cloudrouter.wire.streams import WINDOW


class JobOutput(ABC):
    """What a job's stream has told so far, whoever reads the stream: output in order, how far it is, how it ended."""

    _ready: deque[Output]
    _window: int
    _exit: dict[str, Any] | None
    _progress: Progress
    gone: int
    """Bytes of output that the machine had dropped before they could be read."""

    @property
    def exit_code(self) -> int | None:
        """The job's exit code once it has ended and its output is read; None while that is not known."""
        code = None if self._exit is None else self._exit.get("code")
        return code if isinstance(code, int) and not isinstance(code, bool) else None

    @property
    def state(self) -> str:
        """`running`, `exited` or `lost`, as the end of the output told it; empty before."""
        return str((self._exit or {}).get("state", ""))

    def _reached(self) -> object:
        """How far it is: a stream that breaks without getting any further is not replaced for ever."""
        return self._progress.job, self._progress.position

    def _note_gone(self, count: int) -> None:
        self.gone += count

    @abstractmethod
    def _begin(self, started: Any) -> None:
        """Obey the stream's first word: which job it is, and where its input stands."""

    def _take(self, kind: str, payload: bytes) -> None:
        """Obey one message of the stream."""
        if kind == "binary":
            self._ready.append(Output(read_channel(payload), payload[1:]))
            self._progress.shown()
            return
        said = commands.read_text(payload)
        if "started" in said:
            self._begin(said["started"])
        elif "window" in said:
            before, self._window = self._window, commands.granted(self._window, said)
            self._progress.taken(self._window - before)
        else:
            self._progress.obey(said)
        word = commands.final_of(said)
        if word is not None:
            self._exit = said[word] if isinstance(said[word], dict) else {}


class Attachment(JobOutput, Execution):
    """Iterate over it for a job's output: every byte once, also when the router or the guest is killed meanwhile.

    Leaving its `with` block, or closing it, leaves the job alone. `exit_code` is None for a job that still runs
    (logs without follow) or is lost. Not thread-safe.
    """

    def __init__(self, transport: Transport, machine: str, request: dict[str, Any], command: str) -> None:
        self._transport = transport
        self._machine = machine
        self._first = request
        self._progress = Progress(self._note_gone)
        self._replaying = False
        self._patience = following.Patience(time.monotonic)
        """One for all streams: a machine that takes each up and drops it again wears it out."""
        self._left = False
        self.gone = 0
        super().__init__(self._open(), self._progress.request(request), command)

    def close(self) -> None:
        """Let go of the job, which goes on."""
        self._left = True
        self._stream.close()

    def _open(self) -> Stream:
        return following.open_stream(self._transport, self._machine)

    def _send(self, send: Callable[[Any], None], data: Any) -> None:
        try:
            send(data)
        except Unreachable as error:
            self._go_on(error)

    def write(self, data: bytes | str) -> None:
        """Give the command input; waits while it does not read. What it prints meanwhile is kept in memory."""
        self._await_start()
        super().write(data)

    def send_signal(self, name: str) -> None:
        """Send a signal to the job and its children, such as `INT`; over another stream when the present one is broken.

        The job may get it twice when the stream breaks right after it was sent.
        """
        request = signal_request(name)
        self._await_start()
        while self._exit is None and not self._carry(request):
            self._receive()  # what came before the break, and at its end another stream

    def _await_start(self) -> None:
        """Wait until the machine has said which job this is: only one that is known can be gone on with."""
        while self._progress.job is None and self._exit is None:
            self._receive()

    def _carry(self, text: str) -> bool:
        """Send it; False when the stream is seen to be broken: only reading shows that a peer has said goodbye."""
        try:
            self._stream.send_text(text)
            return self._stream.feed()
        except Unreachable:
            return False

    def _send_input(self, piece: memoryview) -> None:
        self._progress.sent(bytes(piece))
        self._send(self._stream.send_binary, piece)

    def close_input(self) -> None:
        """Tell the job that no more input comes."""
        self._progress.input_ended = True
        if self._exit is None:
            self._send(self._stream.send_text, '{"eof":true}')

    def _receive(self) -> None:
        try:
            self._receive_once()
        except Unreachable as error:
            self._go_on(error)

    def _receive_once(self) -> None:
        message = self._stream.receive()
        if message is None:
            raise commands.ended(self._stream)
        self._take(*message)
        if self._exit is not None:
            self._stream.close()

    def _begin(self, started: Any) -> None:
        """Take up the job; after a broken stream the input that it did not get is sent again."""
        if not isinstance(started, dict):
            raise Internal("The machine did not say which job this is.")
        self._progress.begin(started)
        again, self._replaying = self._replaying, False
        if not again or started.get("stdin") is not True:
            return
        for piece in self._progress.unsent(started.get("input")):
            self._window -= len(piece)
            self._stream.send_binary(piece)
        if self._progress.input_ended:
            self._stream.send_text('{"eof":true}')

    def _go_on(self, error: Unreachable) -> None:
        """Another stream to the same job, once one can be had; the error when there is none for too long."""
        if self._left:
            raise error
        if self._progress.job is None and ("line" in self._first or "argv" in self._first):
            raise Unreachable(
                "The connection broke while a command was being started.", next=f"cloudrouter ps {self._machine}"
            )
        following.rest(self._transport, self._patience, error, self._reached())
        following.persist(self._transport, self._again, moved=self._reached, patience=self._patience)

    def _again(self) -> None:
        self._stream.close()
        self._stream = self._open()
        self._window, self._replaying = WINDOW, True
        self._stream.send_text(json.dumps(self._progress.request(self._first)))
        while self._replaying and self._exit is None:
            self._receive_once()
