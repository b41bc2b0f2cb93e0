"""Tar bytes on a stream: sending within the guest's window, taking what it sends, telling how far things are."""

from __future__ import annotations

import time

from cloudrouter.client import commands
from cloudrouter.wire.errors import Internal
from cloudrouter.wire.streams import CHUNK, STDOUT, WINDOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from cloudrouter.client.websocket import Stream

    Progress = Callable[[dict[str, Any]], object]

PROGRESS_EVERY_S = 0.1


def send(stream: Stream, chunks: Iterable[bytes], tell: Callable[[], object]) -> dict[str, Any]:
    """Send chunks as the guest's window allows; the content of its final message."""
    inbox = Inbox(stream)
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest and inbox.final is None:
            inbox.read(wait=inbox.window == 0)
            piece = rest[: min(inbox.window, CHUNK)]
            if piece and inbox.final is None:
                stream.send_binary(piece)
                inbox.window -= len(piece)
                rest = rest[len(piece) :]
        tell()
        if inbox.final is not None:
            break
    else:
        stream.send_text('{"eof":true}')
    while inbox.final is None:
        inbox.read(wait=True)
    return inbox.final


class Inbox:
    """What the guest says while data goes to it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.window = WINDOW
        self.final: dict[str, Any] | None = None

    def read(self, *, wait: bool) -> None:
        """Take what is there, or wait for one message; errors among it are raised."""
        if wait:
            message = self._stream.receive()
            if message is None:
                raise commands.ended(self._stream)
            self._take(message)
        else:
            self._stream.feed()
        while self.final is None and (message := self._stream.take()) is not None:
            self._take(message)

    def _take(self, message: tuple[str, bytes]) -> None:
        if message[0] != "text":
            raise Internal("The machine sent data where none was asked for.")
        said = commands.read_text(message[1])
        self.window = commands.granted(self.window, said)
        word = commands.final_of(said)
        if word is not None:
            self.final = said[word] if isinstance(said[word], dict) else {}


class Incoming:
    """The guest's side of a `get`: how it begins, the archive's bytes, how it ended."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.done: dict[str, Any] = {}
        self.real = ""
        """The path without links, as the machine tells it."""

    def started(self) -> tuple[str, str]:
        """(kind, name) of what comes; the guest's error is raised."""
        kind, payload = self._receive()
        said = commands.read_text(payload) if kind == "text" else {}
        started = said.get("started")
        if not isinstance(started, dict) or started.get("kind") not in ("tree", "file"):
            raise Internal("The machine did not say what it sends.")
        self.real = str(started.get("real", ""))
        return str(started["kind"]), str(started.get("name", ""))

    def chunks(self) -> Iterator[bytes]:
        """The archive's bytes; an error of the guest is raised in the middle."""
        while True:
            kind, payload = self._receive()
            if kind == "text":
                said = commands.read_text(payload)
                if "done" in said:
                    self.done = said["done"] if isinstance(said["done"], dict) else {}
                    return
            elif payload[:1] == bytes((STDOUT,)):
                yield payload[1:]
            else:
                raise Internal("The machine sent output on a channel that does not exist.")

    def _receive(self) -> tuple[str, bytes]:
        message = self._stream.receive()
        if message is None:
            raise commands.ended(self._stream)
        return message


class Watch:
    """Tells how far a transfer is, a few times a second."""

    def __init__(self, phase: str, progress: Progress | None) -> None:
        self._phase = phase
        self._progress = progress
        self._start = self._told = time.monotonic()

    def tell(self, files: int, size: int, *, last: bool = False) -> None:
        """Report counts; `rate` is bytes per second so far."""
        if self._progress is None:
            return
        now = time.monotonic()
        if last or now - self._told >= PROGRESS_EVERY_S:
            self._told = now
            rate = int(size / max(now - self._start, 1e-3))
            self._progress({"phase": self._phase, "files": files, "bytes": size, "rate": rate, "done": last})
