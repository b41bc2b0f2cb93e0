"""Opening streams to guests: dial through the provider, present the machine's token, keep one spare open."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import Event
from websockets.typing import BytesLike

try:
    from websockets.speedups import apply_mask
except ImportError:  # where its wheel has no compiled part
    from websockets.utils import apply_mask

from cloudrouter.providers.base import Handle, Provider
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import boot, streams
from cloudrouter.wire.errors import CloudRouterError, Internal, Unreachable, from_json

OPEN_DEADLINE_S = 10.0
MASKS_BYTES = 256
MESSAGE_LETTERS = 2000
ADVICE = {
    "": "Look at the machine: cloudrouter status and cloudrouter ps tell more.",
    "browser_down": "The browser starts again by itself: look at the page before you do it again.",
    "dialog_open": "Answer the dialog first, with browser dialog-accept or browser dialog-dismiss.",
    "not_a_field": "Take a snapshot and choose a field: textbox, searchbox, combobox, or what can be edited.",
    "not_found": "Check the path or the id; paths are relative to the machine's workspace.",
    "stale_ref": "Take a new snapshot: the page has changed, and each snapshot has refs of its own.",
    "step_failed": "Take a snapshot, or a screenshot, and see what the page looks like.",
    "tab_gone": "See which tabs there are, and go to one, or open a new one.",
    "timed_out": "Give it more time with --timeout, or see what it waits for.",
    "transfer_failed": "Make room in the machine, or choose another place there.",
    "unreachable": "Wait until the program in the machine is up, then try again.",
    "usage": "Check the words of the command: see --help.",
}
"""What helps with a guest's error, by its code."""
SPARE_LIFE_S = 120.0
"""A spare that nobody used for this long is closed, so that idle machines cost nothing."""

log = structlog.get_logger("guests")


def said_by_machine(body: Any) -> CloudRouterError:
    """A guest's error, without its advice: agents do what stands behind `Next:`, and a machine may be hostile."""
    error = from_json(body)
    error.message = f"The machine says: {error.message[:MESSAGE_LETTERS]}"
    error.fix, error.next, error.details = ADVICE.get(error.code, ADVICE[""]), "", {}
    return error


def _said(row: Row, message: str | bytes) -> dict[str, Any]:
    """A guest's word; raises the error that it tells, and Internal for what is none: it may be anything."""
    try:
        answer = json.loads(message)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Internal(f"The guest of {row.id} answered with something unreadable.")
    if "error" in answer:
        raise said_by_machine(answer["error"])
    return answer


class FrameTaker(Protocol):
    """Who takes a stream's messages as they arrive, without the library's queue between."""

    def take_text(self, data: BytesLike) -> None:
        """A text message."""

    def take_binary(self, data: BytesLike) -> None:
        """A binary message."""

    def writable(self) -> None:
        """The socket has room again."""

    def lost(self) -> None:
        """The stream is gone."""


class GuestConnection(ClientConnection):
    """A stream whose far end may be hostile: it is cut off when it does what our guest never does.

    Pings want pongs, which would pile up for one who does not read; endless fragments would pile up unread here.
    """

    taker: FrameTaker | None = None
    """Set before anything is asked; from then on nothing comes from `recv`."""
    _masks = b""

    def send_now(self, data: bytes) -> None:
        """Send a binary message without the library's bookkeeping; the caller minds state, size and back-pressure."""
        if not self._masks:
            self._masks = os.urandom(MASKS_BYTES)  # for many messages: asking for each costs more than all the rest
        mask, self._masks = self._masks[:4], self._masks[4:]
        length = len(data)
        if length < 126:
            head = struct.pack("!BB", 0x82, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x82, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x82, 0x80 | 127, length)
        self.transport.write(b"".join((head, mask, apply_mask(data, mask))))

    def process_event(self, event: Event) -> None:
        """Look at each frame before the library does."""
        if isinstance(event, Frame) and (event.opcode in (Opcode.PING, Opcode.PONG) or not event.fin):
            log.warning("a guest broke the rules of streams", frame=event.opcode.name)
            self.transport.abort()
            return
        if self.taker is not None and isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
            take = self.taker.take_binary if event.opcode is Opcode.BINARY else self.taker.take_text
            take(event.data)
            return
        super().process_event(event)

    def resume_writing(self) -> None:
        """Pass it on."""
        super().resume_writing()
        if self.taker is not None:
            self.taker.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        super().connection_lost(exc)
        if self.taker is not None:
            self.taker.lost()


class Guests:
    """Streams to the guests of all machines."""

    def __init__(self, providers: dict[str, Provider]) -> None:
        self._providers = providers
        self._spares: dict[str, tuple[GuestConnection, float]] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def stream(self, row: Row) -> AsyncIterator[GuestConnection]:
        """A stream of one's own; closed at the end. A spare is made ready for the next caller meanwhile."""
        connection = self._take_spare(row.id) or await self._open(row)
        try:
            yield connection
        finally:
            # Now, and not while the operation runs: opening one would take the guest's time from the command.
            self._prepare_spare(row)
            # The guest ends the operation when its stream goes; nobody waits for the closing handshake.
            connection.transport.abort() if connection.close_code is None else None

    async def ask(self, row: Row, request: dict[str, Any], *, deadline_s: float = OPEN_DEADLINE_S) -> dict[str, Any]:
        """One question with one JSON answer (health, configure, job.list); raises the guest's error."""
        try:
            async with asyncio.timeout(deadline_s), self.stream(row) as connection:
                await connection.send(json.dumps(request))
                while "starting" in (answer := _said(row, await connection.recv())):
                    log.debug("an app is starting", machine=row.id)
        except TimeoutError as error:
            raise Unreachable(f"The guest of {row.id} did not answer within {deadline_s:g} s.") from error
        except (WebSocketException, OSError) as error:
            raise Unreachable(f"The stream to the guest of {row.id} broke: {type(error).__name__}.") from error
        return answer

    async def read(self, row: Row, request: dict[str, Any], *, deadline_s: float, limit_bytes: int = 8 << 20) -> bytes:
        """The output of an operation that only tells something (app.logs), as it came; raises the guest's error."""
        found = b""
        try:
            async with asyncio.timeout(deadline_s), self.stream(row) as connection:
                await connection.send(json.dumps(request))
                while isinstance(message := await connection.recv(), bytes) and len(found) < limit_bytes:
                    found += message[1:]
        except TimeoutError as error:
            raise Unreachable(f"The guest of {row.id} did not answer within {deadline_s:g} s.") from error
        except (WebSocketException, OSError) as error:
            raise Unreachable(f"The stream to the guest of {row.id} broke: {type(error).__name__}.") from error
        if isinstance(message, str):
            _said(row, message)
        return found

    async def take_over(
        self,
        row: Row,
        request: dict[str, Any],
        answer: Callable[[dict[str, Any]], dict[str, str]],
        *,
        deadline_s: float,
    ) -> socket.socket:
        """The bare connection of a stream that the guest hands over; what its first word says is answered on the way.

        Nothing of ours is on it any more: it goes on when this router ends.
        """
        try:
            async with asyncio.timeout(deadline_s), self.stream(row) as connection:
                await connection.send(json.dumps(request))
                await connection.send(json.dumps(answer(_said(row, await connection.recv()))).encode())
                await connection.send('{"eof":true}')
                if "handed" not in _said(row, await connection.recv()):
                    raise Internal(f"The guest of {row.id} did not hand the connection over.")
                # The guest is silent until it has got our byte, so nothing of what follows has been read here.
                transport = connection.transport
                transport.pause_reading()
                sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        except TimeoutError as error:
            raise Unreachable(f"The guest of {row.id} did not answer within {deadline_s:g} s.") from error
        except (WebSocketException, OSError) as error:
            raise Unreachable(f"The stream to the guest of {row.id} broke: {type(error).__name__}.") from error
        try:
            sock.send(b"\n")
            sock.setblocking(True)  # noqa: FBT003
        except OSError as error:
            sock.close()
            raise Unreachable(f"The stream to the guest of {row.id} broke: {error.strerror}.") from error
        return sock

    def forget(self, machine_id: str) -> None:
        """Drop the spare of a machine that stops or goes."""
        task = self._opening.pop(machine_id, None)
        if task is not None:
            task.cancel()
        spare = self._spares.pop(machine_id, None)
        if spare is not None:
            spare[0].transport.abort()

    def sweep(self) -> None:
        """Close spares that have waited too long."""
        now = time.monotonic()
        for machine_id, (connection, since) in list(self._spares.items()):
            if now - since > SPARE_LIFE_S or connection.close_code is not None:
                self.forget(machine_id)

    async def aclose(self) -> None:
        """Drop every spare."""
        for machine_id in [*self._spares, *self._opening]:
            self.forget(machine_id)

    def _take_spare(self, machine_id: str) -> GuestConnection | None:
        spare = self._spares.pop(machine_id, None)
        if spare is None or spare[0].close_code is not None or spare[0].transport.is_closing():
            return None
        return spare[0]

    def _prepare_spare(self, row: Row) -> None:
        if row.id in self._opening or row.id in self._spares:
            return

        async def prepare() -> None:
            try:
                connection = await self._open(row)
            except CloudRouterError as error:
                log.debug("no spare", machine=row.id, reason=error.message)
            else:
                self._spares[row.id] = (connection, time.monotonic())
            finally:
                self._opening.pop(row.id, None)

        self._opening[row.id] = asyncio.create_task(prepare(), name=f"spare {row.id}")

    async def _open(self, row: Row) -> GuestConnection:
        if row.handle is None:
            raise Unreachable(f"{row.id} is not made yet.")
        provider = self._providers[row.provider]
        sock = await provider.dial(Handle(row.provider, row.handle), port=boot.GUEST_PORT)
        try:
            connection = await connect(
                "ws://guest/stream",
                sock=sock,
                create_connection=GuestConnection,
                additional_headers={"Authorization": f"Bearer {row.token}"},
                user_agent_header=None,
                compression=None,
                max_size=streams.MESSAGE_LIMIT,
                open_timeout=OPEN_DEADLINE_S,
                ping_interval=None,
                close_timeout=2,
                proxy=None,
            )
            return cast("GuestConnection", connection)
        except InvalidHandshake as error:
            sock.close()
            raise Unreachable(f"The guest of {row.id} refused the router's stream: {error}.") from error
        except (WebSocketException, OSError, TimeoutError, EOFError) as error:
            sock.close()
            raise Unreachable(f"The guest of {row.id} does not answer yet: {type(error).__name__}.") from error
