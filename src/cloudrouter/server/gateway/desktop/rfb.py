"""What a client of RFB (RFC 6143, the protocol of VNC) may say who only watches: a strict parser of its messages.

Only whole messages of known form, built or checked here, go on to the machine. Whatever is dropped or misread on the
way can therefore harm nobody but its sender: no byte of it arrives.
"""

from __future__ import annotations

import struct

VERSION = b"RFB 003.008\n"
SECURITY_NONE = 1
SHARED = b"\x01"

SET_PIXEL_FORMAT = 0
SET_ENCODINGS = 2
UPDATE_REQUEST = 3
KEY_EVENT = 4
POINTER_EVENT = 5
CUT_TEXT = 6
CONTINUOUS_UPDATES = 150
FENCE = 248
XVP = 250
SET_DESKTOP_SIZE = 251
QEMU = 255
QEMU_KEY = 0

_PASSED = {SET_PIXEL_FORMAT: 20, UPDATE_REQUEST: 10, CONTINUOUS_UPDATES: 10}
_DROPPED = {KEY_EVENT: 8, POINTER_EVENT: 6, XVP: 4}
"""Messages of one length."""

_HEADS = {SET_ENCODINGS: 4, CUT_TEXT: 8, FENCE: 9, SET_DESKTOP_SIZE: 8, QEMU: 2}
"""How much of the others must be there to know their length."""

MOST_ENCODINGS = 256
MOST_FENCE_BYTES = 64

EXTENDED_KEYS = -258
AUDIO = -259
INPUT_DEVICES = -305
POWER = -309
EXTENDED_BUTTONS = -316
_KEPT_BACK = frozenset((EXTENDED_KEYS, AUDIO, INPUT_DEVICES, POWER, EXTENDED_BUTTONS))
"""Abilities that are of use only to who types; without EXTENDED_BUTTONS a PointerEvent has one length."""


class Refused(Exception):
    """What the client sent is not RFB as a watcher speaks it; the reason is safe to show."""


class Watcher:
    """Judges one connection's bytes from the browser, however they are cut into pieces."""

    def __init__(self) -> None:
        self._server = bytearray()
        self._held = bytearray()
        self._skip = 0
        self._greetings = [self._version, self._security, self._client_init]
        self._refused = ""

    def hear(self, data: bytes) -> None:
        """Listen to the machine's side: which version it speaks decides what the client's bytes mean."""
        missing = len(VERSION) - len(self._server)
        if missing:
            self._server += data[:missing]

    def feed(self, data: bytes) -> bytes:
        """What of these bytes and those held back goes on to the machine; Refused ends the connection for good."""
        if self._refused:
            raise Refused(self._refused)
        self._held += data
        passed = bytearray()
        try:
            while self._take(passed):
                pass
        except Refused as refused:
            self._refused = str(refused)
            raise
        return bytes(passed)

    def _take(self, passed: bytearray) -> bool:
        """Deal with one message, or with a part of one that is dropped; False when more bytes are needed."""
        if self._skip:
            dropped = min(self._skip, len(self._held))
            del self._held[:dropped]
            self._skip -= dropped
            return not self._skip
        if not self._held:
            return False
        if self._greetings:
            return self._greet(passed)
        kind = self._held[0]
        if kind in _DROPPED:
            self._skip = _DROPPED[kind]
            return True
        if kind in _PASSED:
            message = self._cut(_PASSED[kind])
            passed += message
            return bool(message)
        if kind not in _HEADS:
            raise Refused(f"a message of the unknown type {kind}")
        if len(self._held) < _HEADS[kind]:
            return False
        return self._take_long(kind, passed)

    def _take_long(self, kind: int, passed: bytearray) -> bool:
        """A message that tells its own length; its head is there."""
        if kind == SET_ENCODINGS:
            return self._encodings(passed)
        if kind == FENCE:
            size = self._held[8]
            if size > MOST_FENCE_BYTES:
                raise Refused(f"a fence of {size} bytes")
            message = self._cut(9 + size)
            passed += message
            return bool(message)
        if kind == CUT_TEXT:
            (size,) = struct.unpack_from("!i", self._held, 4)  # negative: the extended form, of as many bytes
            self._skip = 8 + abs(size)
        elif kind == SET_DESKTOP_SIZE:
            self._skip = 8 + 16 * self._held[6]
        elif self._held[1] == QEMU_KEY:
            self._skip = 12
        else:
            raise Refused(f"a message of the unknown type {kind}.{self._held[1]}")
        return True

    def _encodings(self, passed: bytearray) -> bool:
        """SetEncodings, without those that belong to typing."""
        (count,) = struct.unpack_from("!H", self._held, 2)
        if count > MOST_ENCODINGS:
            raise Refused(f"{count} encodings")
        message = self._cut(4 + 4 * count)
        if not message:
            return False
        kept = [one for one in struct.unpack_from(f"!{count}i", message, 4) if one not in _KEPT_BACK]
        passed += struct.pack(f"!BxH{len(kept)}i", SET_ENCODINGS, len(kept), *kept)
        return True

    def _cut(self, size: int) -> bytes:
        """The first bytes that are held, or nothing while they are fewer."""
        if len(self._held) < size:
            return b""
        message = bytes(self._held[:size])
        del self._held[:size]
        return message

    def _greet(self, passed: bytearray) -> bool:
        """One step of the beginning, each with an answer of its own form."""
        answer = self._greetings[0]()
        if not answer:
            return False
        passed += answer
        del self._greetings[0]
        return True

    def _version(self) -> bytes:
        if bytes(self._server) != VERSION:
            raise Refused("it spoke before the desktop, or the desktop does not speak RFB 3.8")
        said = self._cut(len(VERSION))
        if said and said != VERSION:
            raise Refused("another version than RFB 3.8")
        return said

    def _security(self) -> bytes:
        said = self._cut(1)
        if said and said[0] != SECURITY_NONE:
            raise Refused("a security type other than None")
        return said

    def _client_init(self) -> bytes:
        """Who watches always shares: not sharing would throw the others out."""
        return SHARED if self._cut(1) else b""
