"""A command in progress, read piece by piece and written to."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cloudrouter.client import commands
from cloudrouter.client.results import Result
from cloudrouter.wire.errors import Internal, UsageError
from cloudrouter.wire.streams import CHUNK, SIGNALS, STDERR, STDOUT, WINDOW

if TYPE_CHECKING:
    from cloudrouter.client.websocket import Stream


class Output(NamedTuple):
    """One piece of output as it came."""

    channel: str
    """`stdout` or `stderr`."""
    data: bytes


class Execution:
    """Iterate over it for the output as it comes; `exit_code` is known at the end.

    Leaving its `with` block, or closing it, ends a command that still runs. Not thread-safe.
    """

    def __init__(self, stream: Stream, request: dict[str, Any], command: str) -> None:
        self._stream = stream
        self._command = command
        self._window = WINDOW
        self._ready: deque[Output] = deque()
        self._exit: dict[str, Any] | None = None
        stream.send_text(json.dumps(request))

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while the command runs or its output is not read to the end."""
        return None if self._exit is None else int(self._exit.get("code", 255))

    def __iter__(self) -> Iterator[Output]:
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._exit is not None:
                return
            self._receive()

    def write(self, data: bytes | str) -> None:
        """Give the command input; waits while it does not read. What it prints meanwhile is kept in memory."""
        rest = memoryview(data.encode() if isinstance(data, str) else data)
        while rest and self._exit is None:
            while self._window == 0 and self._exit is None:
                self._receive()
            piece = rest[: min(self._window, CHUNK)]
            self._window -= len(piece)
            if self._exit is None:
                self._send_input(piece)
            rest = rest[len(piece) :]

    def _send_input(self, piece: memoryview) -> None:
        self._stream.send_binary(piece)

    def close_input(self) -> None:
        """Tell the command that no more input comes."""
        if self._exit is None:
            self._stream.send_text('{"eof":true}')

    def send_signal(self, name: str) -> None:
        """Send a signal to the command and its children, such as `INT`."""
        request = signal_request(name)
        if self._exit is None:
            self._stream.send_text(request)

    def wait(self) -> Result:
        """Read to the end; the result with all output that was not iterated over before."""
        parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        for channel, data in self:
            parts[channel].append(data)
        return make_result(self._command, self._exit or {}, b"".join(parts["stdout"]), b"".join(parts["stderr"]))

    def close(self) -> None:
        """End the command when it still runs."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _receive(self) -> None:
        message = self._stream.receive()
        if message is None:
            raise commands.ended(self._stream)
        kind, payload = message
        if kind == "binary":
            self._ready.append(Output(read_channel(payload), payload[1:]))
            return
        said = commands.read_text(payload)
        self._obey(said)
        if commands.final_of(said) is not None:
            self._stream.close()

    def _obey(self, said: dict[str, Any]) -> None:
        """Take in one of the machine's words."""
        self._window = commands.granted(self._window, said)
        word = commands.final_of(said)
        if word is not None:
            self._exit = said[word] if isinstance(said[word], dict) else {}


def signal_request(name: str) -> str:
    """The message that sends a signal; UsageError when there is no such one."""
    word = name.upper().removeprefix("SIG")
    if word not in SIGNALS:
        raise UsageError(f"{name!r} is not a signal that can be sent.", fix=f"One of {', '.join(SIGNALS)}.")
    return json.dumps({"signal": word})


def read_channel(payload: bytes) -> str:
    """The channel that a piece of output is of; Internal when there is no such one."""
    channel = {STDOUT: "stdout", STDERR: "stderr"}.get(payload[0] if payload else 0)
    if channel is None:
        raise Internal("The machine sent output on a channel that does not exist.")
    return channel


def make_result(command: str, ended: dict[str, Any], stdout: bytes, stderr: bytes) -> Result:
    """The Result behind an `exit` message."""
    code, duration = ended.get("code"), ended.get("duration_ms")
    signal = ended.get("signal")
    if not isinstance(code, int):
        raise Internal("The machine did not say how the command ended.")
    return Result(
        command=command,
        exit_code=code,
        stdout=stdout,
        stderr=stderr,
        duration_ms=duration if isinstance(duration, int) else 0,
        signal=signal if isinstance(signal, str) else None,
        timed_out=bool(ended.get("timeout")),
    )
