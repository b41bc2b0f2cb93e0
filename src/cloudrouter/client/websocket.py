"""One two-way stream to a guest: the client side of a WebSocket over a connected socket, blocking or in a poll loop."""

from __future__ import annotations

import binascii
import os
import select
import time
from collections import deque

from cloudrouter.client import frames
from cloudrouter.wire.errors import Unreachable
from cloudrouter.wire.streams import MESSAGE_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Self, Union

    Data = Union[bytes, bytearray, memoryview]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SENT_AT_ONCE = 16
"""Buffers handed to one sendmsg."""
_PONG_BOUND = MESSAGE_LIMIT
"""A peer that sends pings and does not read gets no more pongs than this many bytes behind it."""
QUEUE_BYTES = 8 * 1024 * 1024
"""A blocked sender stops reading when this much waits to be received."""


class ConnectionLost(Unreachable):
    """The peer went away in the middle: it died, or the connection was cut. Trying again may help."""


class NoAnswer(Unreachable):
    """The peer is there and says nothing for longer than the caller waits."""


def new_key() -> str:
    """A fresh value of Sec-WebSocket-Key."""
    return binascii.b2a_base64(os.urandom(16), newline=False).decode()


def accepted_key(key: str) -> str:
    """What the server must answer to this key."""
    try:
        from _sha1 import sha1  # type: ignore[import-not-found]  # hashlib loads OpenSSL: 3 ms
    except ImportError:
        from hashlib import sha1
    digest: bytes = sha1(key.encode() + _GUID).digest()  # noqa: S324 - what RFC 6455 asks for
    return binascii.b2a_base64(digest, newline=False).decode()


class Stream:
    """An open WebSocket. `send_*` and `receive` block; `feed`, `take`, `queue_*` and `flush` are for poll loops.

    Not thread-safe. Whatever the peer does, the methods raise nothing but Unreachable (ConnectionLost when the peer
    vanished, BrokenFrame when it talks nonsense). After an error the stream is closed.
    """

    def __init__(self, sock: socket, leftover: bytes = b"") -> None:
        """Take over a socket after its upgrade; `leftover` is what came behind the upgrade's answer."""
        sock.settimeout(0)
        self._sock = sock
        self._reader = frames.FrameReader()
        self._out: list[Data] = []
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._inbox_bytes = 0
        self._closing = False
        self._ended = False
        self.pending = 0
        """Bytes that are queued and not yet handed to the kernel."""
        self.closed = False
        """Whether the socket is closed; nothing comes and nothing goes any more."""
        self.close_code: int | None = None
        """Why the peer closed: its code once it said goodbye, else None."""
        self.close_reason = ""
        while leftover:
            room = self._reader.room()
            n = min(len(room), len(leftover))
            room[:n] = leftover[:n]
            leftover = leftover[n:]
            self._take(n)

    # -- for poll loops -----------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The socket's descriptor, -1 once closed."""
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something queued waits for the socket to become writable."""
        return bool(self._out)

    @property
    def ended(self) -> bool:
        """Whether the peer said goodbye; what it sent before can still be taken."""
        return self._ended

    def feed(self) -> bool:
        """Read once what the socket has, without waiting; False when the peer has said goodbye.

        Answers pings by the way. Raises ConnectionLost when the connection ends without a goodbye.
        """
        if self._ended or self.closed:
            return False
        try:
            n = self._sock.recv_into(self._reader.room())
        except (BlockingIOError, InterruptedError):
            return True
        except OSError as error:
            raise self._lost(error) from None
        if n == 0:
            raise self._lost(None)
        self._take(n)
        return not self._ended

    def take(self) -> tuple[str, bytes] | None:
        """The next whole message that has arrived, as ("text" or "binary", payload); None when there is none."""
        if not self._inbox:
            return None
        message = self._inbox.popleft()
        self._inbox_bytes -= len(message[1])
        return message

    def queue_text(self, text: str) -> None:
        """Put a text message behind what is queued; `flush` sends it."""
        self._queue(frames.TEXT, text.encode("utf-8", "replace"))

    def queue_binary(self, data: Data) -> None:
        """Put a binary message behind what is queued. The data is not copied: leave it alone until it is sent."""
        self._queue(frames.BINARY, data)

    def flush(self) -> bool:
        """Send what the socket takes now, without waiting; True when nothing is left.

        When the peer has closed, what it said before can still be taken; ConnectionLost when it said nothing.
        """
        while self._out and not self.closed:
            try:
                sent = self._sock.sendmsg(self._out[:_SENT_AT_ONCE])
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                self._salvage(error)
                return True
            self._drop(sent)
        return True

    # -- blocking -----------------------------------------------------------------------------------------------

    def send_text(self, text: str, *, timeout: float | None = None) -> None:
        """Send one text message and wait until the kernel has it; timeout in seconds."""
        self.queue_text(text)
        self.drain(timeout=timeout)

    def send_binary(self, data: Data, *, timeout: float | None = None) -> None:
        """Send one binary message and wait until the kernel has it; timeout in seconds."""
        self.queue_binary(data)
        self.drain(timeout=timeout)

    def drain(self, *, timeout: float | None = None) -> None:
        """Wait until everything queued is with the kernel. Reads meanwhile, so that two senders never lock up."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.flush():
            read = not self._ended and self._inbox_bytes < QUEUE_BYTES
            if self._wait(select.POLLOUT | (select.POLLIN if read else 0), deadline) & ~select.POLLOUT and read:
                self.feed()

    def receive(self, *, timeout: float | None = None) -> tuple[str, bytes] | None:
        """The next message as ("text" or "binary", payload), or None after the peer's goodbye.

        Raises ConnectionLost when the connection ends without one, and Unreachable after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._inbox:
            if self._ended or self.closed:
                return None
            found = self._wait(select.POLLIN | (select.POLLOUT if self._out else 0), deadline)
            if found & ~select.POLLOUT:
                self.feed()
            if self._out:
                self.flush()
        return self.take()

    def close(self, code: int = frames.NORMAL, reason: str = "") -> None:
        """Say goodbye as far as the socket takes it at once, and close. Closing twice is fine."""
        if self.closed:
            return
        if not self._closing:
            self._closing = True
            self._queue(frames.CLOSE, frames.close_payload(code, reason))
        try:
            self.flush()
        except Unreachable:
            pass  # The peer is gone already; flush has closed the socket.
        self._close_socket()

    def leave(self, *, timeout: float) -> None:
        """Say goodbye, wait at most `timeout` seconds until the peer has read what came before it, and close.

        What the peer still sends is dropped. A close alone would take what is on its way with it.
        """
        deadline = time.monotonic() + timeout
        try:
            if not self.closed and not self._closing:
                self._closing = True
                self._queue(frames.CLOSE, frames.close_payload(frames.NORMAL, ""))
            while not self.closed and not self._ended:
                self.flush()
                if self._wait(select.POLLIN | (select.POLLOUT if self._out else 0), deadline) & ~select.POLLOUT:
                    self.feed()
                    self._inbox.clear()
        except Unreachable:
            pass  # It is gone already, or too slow.
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _queue(self, opcode: int, data: Data) -> None:
        if self.closed or (self._closing and opcode != frames.CLOSE):
            raise ConnectionLost("The stream is closed.")
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        head = frames.header(opcode, size)
        if size:
            self._out += (head, data)
        else:
            self._out.append(head)
        self.pending += len(head) + size

    def _drop(self, sent: int) -> None:
        """Forget the first `sent` bytes of what is queued."""
        self.pending -= sent
        gone = 0
        for buffer in self._out:
            size = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
            if sent < size:
                self._out[gone] = memoryview(buffer).cast("B")[sent:]
                break
            sent -= size
            gone += 1
        del self._out[:gone]

    def _take(self, n: int) -> None:
        try:
            self._reader.take(n)
            for kind, payload in self._reader.messages:
                if kind in ("text", "binary"):
                    self._inbox.append((kind, payload))
                    self._inbox_bytes += len(payload)
                elif not self._ended:
                    self._obey(kind, payload)
        except frames.BrokenFrame as error:
            self.close(error.close_code)
            raise
        finally:
            self._reader.messages.clear()

    def _salvage(self, error: OSError) -> None:
        """The peer closed while we were sending: its last words, often the reason, are still to be read."""
        lost = self._lost_error(error)
        try:
            while not self._ended and (n := self._sock.recv_into(self._reader.room())):
                self._take(n)
        except OSError:
            pass  # Nothing more to read.
        self._close_socket()
        if not self._inbox and not self._ended:
            raise lost

    def _obey(self, kind: str, payload: bytes) -> None:
        if kind == "close":
            self._ended = True
            self.close_code, self.close_reason = frames.read_close(payload)
            self.close(self.close_code or frames.NORMAL)
        elif kind == "ping" and not self._closing and self.pending < _PONG_BOUND:
            self._queue(frames.PONG, payload)
            self.flush()

    def _wait(self, events: int, deadline: float | None) -> int:
        """Wait for the socket; what poll said about it. Raises Unreachable past the deadline."""
        poller = select.poll()
        poller.register(self._sock.fileno(), events)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        found = poller.poll(None if left is None else left * 1000)
        if not found:
            self._close_socket()
            raise NoAnswer("The machine did not answer in time.")
        return found[0][1]

    def _lost(self, error: OSError | None) -> ConnectionLost:
        self._close_socket()
        return self._lost_error(error)

    def _lost_error(self, error: OSError | None) -> ConnectionLost:
        why = f" ({error.strerror})" if error is not None and error.strerror else ""
        return ConnectionLost(
            f"The router closed the stream in the middle{why}.",
            fix="Try again; the router may have been restarted.",
            next="cloudrouter server status",
        )

    def _close_socket(self) -> None:
        self.closed = True
        self._out.clear()
        self.pending = 0
        self._sock.close()


def check_upgrade(headers: dict[str, str], key: str) -> None:
    """Raise Unreachable unless the answer's headers accept the upgrade asked for with this key."""
    fine = (
        headers.get("upgrade", "").lower() == "websocket"
        and "upgrade" in headers.get("connection", "").lower()
        and headers.get("sec-websocket-accept") == accepted_key(key)
        and not headers.get("sec-websocket-extensions")
    )
    if not fine:
        raise Unreachable("What listens on the router's socket does not speak WebSocket.")
