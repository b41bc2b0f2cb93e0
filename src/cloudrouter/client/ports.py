"""Ports inside a machine: a connection to one, and a local port that leads there."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from cloudrouter.client import commands, requests, served
from cloudrouter.wire import routes
from cloudrouter.wire.apps import Port
from cloudrouter.wire.errors import Internal
from cloudrouter.wire.streams import CHUNK, STDOUT, WINDOW

if TYPE_CHECKING:
    from cloudrouter.client.machines import Client
    from cloudrouter.client.websocket import Stream


class Flow:
    """What has come on a tunnel, and what may go; pure."""

    def __init__(self) -> None:
        self.window = WINDOW
        self.opened = False
        """Whether the port has taken the connection."""
        self.ended = False
        """Whether the far side sends no more."""
        self.over = False
        """Whether the guest said its last word."""
        self._pieces: deque[bytes] = deque()

    def take(self, kind: str, payload: bytes) -> None:
        """Take in a message; the error it may hold is raised."""
        if kind == "binary":
            if payload[:1] != bytes((STDOUT,)):
                raise Internal("The machine sent output on a channel that does not exist.")
            if len(payload) > 1:  # An empty piece would read as the end.
                self._pieces.append(payload[1:])
            return
        said = commands.read_text(payload)
        self.window = commands.granted(self.window, said)
        self.over = commands.final_of(said) is not None
        self.opened = self.opened or "started" in said
        self.ended = self.ended or self.over or said.get("eof") is True

    def give(self, limit: int) -> bytes | None:
        """Bytes that came, at most `limit`; nothing at the end, None while there may be more."""
        if not self._pieces:
            return b"" if self.ended else None
        piece = self._pieces.popleft()
        if len(piece) > limit:
            self._pieces.appendleft(piece[limit:])
        return piece[:limit]


class Tunnel:
    """A connection to a port inside the machine: bytes both ways. Closed at the end of a `with` block.

    Not thread-safe; `forward` serves programs that send and receive at the same time.
    """

    def __init__(self, stream: Stream, request: dict[str, Any]) -> None:
        self._stream = stream
        self._flow = Flow()
        try:
            stream.send_text(json.dumps(request))
            while not self._flow.opened:
                self._receive()
        except BaseException:
            stream.close()
            raise

    def send(self, data: bytes) -> None:
        """Send all of the data; waits while the far side does not read. What comes meanwhile is kept in memory."""
        rest = memoryview(data)
        while rest and not self._flow.over:
            if self._flow.window == 0:
                self._receive()
                continue
            piece = rest[: min(self._flow.window, CHUNK)]
            self._stream.send_binary(piece)
            self._flow.window -= len(piece)
            rest = rest[len(piece) :]

    def receive(self, limit: int = CHUNK) -> bytes:
        """The next bytes, at most `limit`, waited for; empty when the far side has ended."""
        while (piece := self._flow.give(limit)) is None:
            self._receive()
        return piece

    def close_input(self) -> None:
        """Tell the far side that no more comes; what it still sends can be received."""
        if not self._flow.over:
            self._stream.send_text('{"eof":true}')

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _receive(self) -> None:
        message = self._stream.receive()
        if message is None:
            raise commands.ended(self._stream)
        self._flow.take(*message)


class Forward:
    """A port of this host that leads to one inside the machine, as long as its `with` block lasts.

    It listens on 127.0.0.1 only. A connection that the machine's port refuses is closed at once; `error` says why.
    """

    def __init__(self, socket_path: str, path: str, request: dict[str, Any], local_port: int) -> None:
        # Loaded here, as it brings asyncio.
        from cloudrouter.client.portthread import PortThread

        self._thread = PortThread(socket_path, path, request, local_port)

    @property
    def port(self) -> int:
        """The port on this host."""
        return self._thread.forward.port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self._thread.forward.url

    @property
    def error(self) -> str:
        """Why the last connection that failed did; empty when none has."""
        return self._thread.forward.error

    def close(self) -> None:
        """Stop listening and end the connections."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class Ports:
    """What listens inside a machine, as its `ports`."""

    def __init__(self, client: Client, machine_id: str) -> None:
        self._client = client
        self._machine_id = machine_id

    def list(self) -> list[Port]:
        """The TCP ports that something listens on inside and that can be reached, by number."""
        answer = self._client.call("GET", routes.machine(self._machine_id, "ports"))
        return [requests.read_record(Port, one) for one in served.read_ports(answer)]

    def forward(self, target: int | str, *, local_port: int = 0, host: str | None = None) -> Forward:
        """A port of this host that leads to a port inside, or to an app by its name; 0: a free one.

        An app is started by the first connection. host: `127.0.0.1` or `::1` inside; None: whichever answers.
        """
        request = requests.target_request(target, host)
        path = routes.machine(self._machine_id, "stream")
        return Forward(self._client.transport.socket_path, path, request, local_port)
