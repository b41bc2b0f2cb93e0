"""One `tcp` or `app.connect` stream as an asyncio transport, so that every protocol of bytes runs over it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from websockets.protocol import State
from websockets.typing import BytesLike

from cloudrouter.server.guests.connections import GuestConnection, said_by_machine
from cloudrouter.wire.errors import CloudRouterError, Internal, Unreachable
from cloudrouter.wire.streams import CHUNK, STDOUT, WINDOW

HIGH_WATER = 128 * 1024
LINGER_S = 5.0
"""How long what was written before `close` may take to be read inside the machine."""

log = structlog.get_logger("pipes")


class Pipe(asyncio.Transport):
    """Bytes to and from a socket inside a machine.

    Nothing is sent beyond the window that the guest has granted, nor faster than the socket to it takes it; what comes
    while reading is paused is left in that socket. So memory stays flat in both directions, whoever is slow.
    """

    def __init__(self, connection: GuestConnection, on_gone: Callable[[Pipe], None]) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._on_gone = on_gone
        self._protocol: asyncio.Protocol | None = None
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._waits = asyncio.Event()
        self._window = WINDOW
        self._buffer = bytearray()
        self._high = HIGH_WATER
        self._writing_paused = False
        self._reading_paused = True
        """Until there is a protocol."""
        self._gives_views = False
        """Whether the protocol takes memoryviews, which saves a copy of all that comes."""
        self._held: deque[memoryview | None] = deque()
        """What came while reading was paused; None is the end."""
        self._eof_wanted = self._eof_sent = self._ended = False
        self._closing = self._over = self._told = False
        self._linger: asyncio.TimerHandle | None = None
        connection.taker = self

    # -- opening ------------------------------------------------------------------------------------------------

    async def open(self, request: dict[str, Any]) -> None:
        """Ask for the connection and wait until it is there; raises what the machine says against it."""
        if self._over or self._connection.protocol.state is not State.OPEN:
            raise Unreachable("The stream to the machine broke.")
        self._connection.protocol.send_text(json.dumps(request).encode())
        self._connection.send_data()
        await asyncio.shield(self._started)

    async def waits(self) -> None:
        """Returns once the machine says that it has to start something first."""
        await self._waits.wait()

    # -- asyncio.Transport --------------------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """From now on this one gets what comes; the first one begins the reading."""
        first = self._protocol is None
        self._protocol = protocol  # type: ignore[assignment]
        self._gives_views = getattr(protocol, "takes_views", False)
        if first:
            self.resume_reading()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The one that gets what comes."""
        assert self._protocol is not None
        return self._protocol

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._closing or self._over

    def is_reading(self) -> bool:
        """Whether what comes is handed on."""
        return not self._reading_paused and not self.is_closing()

    def pause_reading(self) -> None:
        """Leave what comes in the socket."""
        if not self._reading_paused and not self._closing:
            self._reading_paused = True
            self._hold_socket()

    def resume_reading(self) -> None:
        """Hand on what was held, then what comes."""
        if not self._reading_paused or self._closing:
            return
        self._reading_paused = False
        self._hand_on()
        if not self._reading_paused and not self._over:
            self._connection.transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """How much may wait before the protocol is asked to pause."""
        self._high = HIGH_WATER if high is None else high

    def get_write_buffer_size(self) -> int:
        """How much waits for the window or the socket."""
        return len(self._buffer)

    def write(self, data: Any) -> None:
        """Send the data, as far as the window goes at once."""
        if self.is_closing() or self._eof_wanted or not data:
            return
        if not self._buffer and len(data) <= min(self._window, CHUNK) and not self._connection.paused:
            self._send(bytes(data))
            return
        self._buffer += data
        self._flush()
        if len(self._buffer) > self._high and not self._writing_paused and self._protocol is not None:
            self._writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        """All of it in one message, where it fits."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Each direction may end by itself."""
        return True

    def write_eof(self) -> None:
        """End our direction behind what was written."""
        self._eof_wanted = True
        self._flush()

    def close(self) -> None:
        """Done: what was written still arrives, nothing more is read."""
        if self.is_closing():
            return
        self._closing = True
        self._held.clear()
        self._eof_wanted = True
        self._flush()
        # Its answers are still needed: grants for what waits, and that the far side has taken everything.
        self._connection.transport.resume_reading()
        self._linger = self._loop.call_later(LINGER_S, self._connection.transport.abort)
        self._loop.call_soon(self._tell_lost, None)

    def abort(self) -> None:
        """Gone at once."""
        self._closing = True
        self._connection.transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is no socket of its own."""
        return default

    # -- FrameTaker ---------------------------------------------------------------------------------------------

    def take_binary(self, data: BytesLike) -> None:
        """Bytes from inside."""
        if not data or data[0] != STDOUT or not self._started.done():
            self._break("output on a channel that does not exist")
        elif len(data) > 1 and not self._closing:
            self._held.append(memoryview(data)[1:])
            self._hand_on()
            if self._held:
                self._hold_socket()

    def take_text(self, data: BytesLike) -> None:
        """A word of the guest."""
        try:
            said = json.loads(bytes(data))
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            self._break("a word that cannot be read")
        elif "window" in said:
            self._grant(said["window"])
        elif "starting" in said:
            self._waits.set()
        elif "started" in said:
            if not self._started.done():
                self._started.set_result(None)
        elif "error" in said:
            self._fail(said_by_machine(said["error"]))
        else:  # eof, or the end
            self._end()
            if "end" in said:
                self._connection.transport.abort()

    def writable(self) -> None:
        """The socket has room again."""
        self._flush()

    def lost(self) -> None:
        """The stream is gone."""
        if self._over:
            return
        self._over = True
        if self._linger is not None:
            self._linger.cancel()
        if not self._started.done():
            self._fail(Unreachable("The stream to the machine broke before it was connected."))
        self._waits.set()
        self._buffer.clear()
        if self._closing:
            self._held.clear()
            self._tell_lost(None)
        else:
            self._held.append(None)
            self._hand_on()
        self._on_gone(self)

    # -- inside -------------------------------------------------------------------------------------------------

    def _grant(self, more: object) -> None:
        if type(more) is not int or more <= 0:
            self._break("a window that cannot be")
            return
        # Never more than the whole window is out, so a generous machine cannot make us hold its uploads.
        self._window = min(self._window + more, WINDOW)
        self._flush()

    def _flush(self) -> None:
        while self._buffer and self._window and not self._connection.paused and not self._over:
            with memoryview(self._buffer) as view:
                piece = bytes(view[: min(self._window, CHUNK)])
            del self._buffer[: len(piece)]
            self._send(piece)
        if self._eof_wanted and not self._eof_sent and not self._buffer and self._is_open():
            self._eof_sent = True
            self._connection.protocol.send_text(b'{"eof":true}')
            self._connection.send_data()
        if self._writing_paused and len(self._buffer) <= self._high // 4 and self._protocol is not None:
            self._writing_paused = False
            if not self._told:
                self._protocol.resume_writing()

    def _send(self, piece: bytes) -> None:
        if self._is_open():
            self._window -= len(piece)
            self._connection.send_now(piece)

    def _is_open(self) -> bool:
        return not self._over and self._connection.protocol.state is State.OPEN

    def _end(self) -> None:
        """The far side sends no more."""
        if not self._ended and not self._closing:
            self._ended = True
            self._held.append(None)
            self._hand_on()

    def _hand_on(self) -> None:
        """Give the protocol what is held, as long as it takes it."""
        protocol = self._protocol
        while self._held and not self._reading_paused and not self._told and protocol is not None:
            piece = self._held.popleft()
            if piece is not None:
                protocol.data_received(piece if self._gives_views else bytes(piece))  # type: ignore[arg-type]
            elif self._over:
                self._tell_lost(None)
            elif not protocol.eof_received():
                self.close()
            protocol = self._protocol

    def _hold_socket(self) -> None:
        if not self._over:
            self._connection.transport.pause_reading()

    def _tell_lost(self, error: Exception | None) -> None:
        if not self._told and self._protocol is not None:
            self._told = True
            self._protocol.connection_lost(error)

    def _fail(self, error: CloudRouterError) -> None:
        if not self._started.done():
            self._started.set_exception(error)
            self._started.exception()  # who waits has it already, or has left
        else:
            log.debug("a connection into a machine broke", reason=error.message)
        self._connection.transport.abort()

    def _break(self, what: str) -> None:
        log.warning("a guest broke the rules of streams", what=what)
        self._fail(Internal(f"The machine broke the rules of streams: {what}."))
