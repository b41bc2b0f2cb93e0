"""WebSocket frames (RFC 6455) as a client meets them: bytes in, messages out. No I/O, and no trust in the bytes."""

from __future__ import annotations

from cloudrouter.wire.errors import Unreachable
from cloudrouter.wire.streams import MESSAGE_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["text", "binary", "ping", "pong", "close"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KINDS: dict[int, Kind] = {TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}

NORMAL, PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1000, 1002, 1007, 1009
_ROOM = 512 * 1024
_CONTROL_LIMIT = 125


class BrokenFrame(Unreachable):
    """The peer does not speak WebSocket; `close_code` is what it is told before the line is cut."""

    def __init__(self, message: str, close_code: int = PROTOCOL_ERROR) -> None:
        super().__init__(f"The router sent something that is not a WebSocket message: {message}.")
        self.close_code = close_code


def header(opcode: int, length: int) -> bytes:
    """The head of one whole masked message.

    The mask is four zero bytes, so the payload goes out as it is and is never copied. A client must mask, but any
    mask is legal; masking protects careless proxies on the open internet from payloads that look like requests,
    and between this process and a Unix socket there is none.
    """
    if length < 126:
        return bytes((0x80 | opcode, 0x80 | length)) + b"\0\0\0\0"
    if length < 1 << 16:
        return bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big") + b"\0\0\0\0"
    return bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big") + b"\0\0\0\0"


def close_payload(code: int, reason: str = "") -> bytes:
    """The payload of a close frame; the reason is cut to what fits."""
    return code.to_bytes(2, "big") + reason.encode()[:120].decode("utf-8", "ignore").encode()


def read_close(payload: bytes) -> tuple[int | None, str]:
    """(code, reason) of a close frame; no code is legal. Raises BrokenFrame for codes that may not travel."""
    if not payload:
        return None, ""
    if len(payload) == 1:
        raise BrokenFrame("a close frame with half a code")
    code = int.from_bytes(payload[:2], "big")
    if not ((1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999):
        raise BrokenFrame(f"a close frame with the code {code}")
    return code, _text(payload[2:])


class FrameReader:
    """Puts frames together to messages. Bytes are written into `room()` and announced with `take(n)`."""

    def __init__(self, *, limit: int = MESSAGE_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray(_ROOM)
        self._start = 0
        self._end = 0
        self._parts: list[bytes] = []
        self._parts_size = 0
        self._kind = 0
        self.messages: list[tuple[Kind, bytes]] = []
        """Whole messages and control frames in the order they came; the owner takes them out."""

    def room(self) -> memoryview:
        """Free space for the next bytes, never empty."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._buffer):
            self._make_room()
        return memoryview(self._buffer)[self._end :]

    def _make_room(self) -> None:
        """Move the unread rest to the front; a bigger buffer when one frame fills all of it."""
        rest = self._end - self._start
        if rest * 2 > len(self._buffer):
            bigger = bytearray(min(self._limit + _ROOM, len(self._buffer) * 2))
            bigger[:rest] = memoryview(self._buffer)[self._start : self._end]
            self._buffer = bigger
        else:
            self._buffer[:rest] = self._buffer[self._start : self._end]
        self._start, self._end = 0, rest

    def take(self, n: int) -> None:
        """Read what `n` new bytes completed; raises BrokenFrame."""
        self._end += n
        while self._take_frame():
            pass

    def _take_frame(self) -> bool:
        view, have = self._buffer, self._end - self._start
        if have < 2:
            return False
        first, second = view[self._start], view[self._start + 1]
        if first & 0x70:
            raise BrokenFrame("reserved bits are set")
        if second & 0x80:
            raise BrokenFrame("a server's frame is masked")
        opcode, final = first & 0x0F, bool(first & 0x80)
        size, at = second, self._start + 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            if have < 2 + wide:
                return False
            size, at = int.from_bytes(view[at : at + wide], "big"), at + wide
        self._check(opcode, size, final=final)
        if self._end - at < size:
            return False
        payload = bytes(memoryview(view)[at : at + size])
        self._start = at + size
        self._deliver(opcode, payload, final=final)
        return True

    def _check(self, opcode: int, size: int, *, final: bool) -> None:
        if opcode >= CLOSE:
            if opcode not in _KINDS:
                raise BrokenFrame(f"opcode {opcode} is unknown")
            if size > _CONTROL_LIMIT or not final:
                raise BrokenFrame("a control frame is too long or in pieces")
            return
        if opcode > BINARY:
            raise BrokenFrame(f"opcode {opcode} is unknown")
        if (opcode == CONTINUATION) != bool(self._kind):
            raise BrokenFrame("a message begins inside another" if self._kind else "a piece belongs to no message")
        if size + self._parts_size > self._limit:
            raise BrokenFrame(f"a message is larger than {self._limit} bytes", TOO_BIG)

    def _deliver(self, opcode: int, payload: bytes, *, final: bool) -> None:
        if opcode >= CLOSE:
            self.messages.append((_KINDS[opcode], payload))
            return
        if final and not self._kind:
            self._finish(opcode, payload)
            return
        self._kind = self._kind or opcode
        if payload:
            self._parts.append(payload)
            self._parts_size += len(payload)
        if final:
            whole, kind = b"".join(self._parts), self._kind
            self._parts, self._parts_size, self._kind = [], 0, 0
            self._finish(kind, whole)

    def _finish(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            _text(payload)
        self.messages.append((_KINDS[opcode], payload))


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise BrokenFrame("a text is not UTF-8", NOT_UTF8) from None
