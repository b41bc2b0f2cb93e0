"""What a terminal has shown last, kept so that a newcomer's terminal can show the same: a bounded piece of its output.

It begins where a reader may begin: never within a character or an escape sequence. The modes that were set before that
place, such as the alternate screen, are kept apart.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

KEPT = 256 * 1024
_MERGED = 4096
_PARAMETERS = 64
"""Bytes of a control sequence that are looked at; the modes that we know fit in."""
_GROUND, _ESCAPE, _BETWEEN, _CONTROL, _STRING = range(5)
_MODES = frozenset(b"1 6 7 25 47 1000 1002 1003 1004 1005 1006 1007 1015 1047 1049 2004".split())
_OTHERS = tuple(b"\x1b" + word for word in (b"]", b"P", b"X", b"^", b"_", b"[?", b"=", b">", b"c"))
"""How strings begin, and what changes modes."""
_CANCELS = (0x18, 0x1A)
_KEYPAD = b"keypad"
_ON = (b"7", b"25")
"""Modes that are set at first: wrapping, and the cursor's being seen."""
RESET = (
    b"\x1b\\"  # ends a string or a sequence that was cut off
    b"\x1b[?1049;1047;47l\x1b[?1000;1002;1003;1004;1005;1006;1007;1015;2004;1;6l\x1b[4l\x1b[r\x1b[?7;25h\x1b>"
    b"\x1b(B\x0f\x1b[0m\x1b[H\x1b[2J"
)
"""Brings any terminal, whatever it was told before, to an empty screen."""


class Scanner:
    """Follows a terminal's output byte by byte, as far as it must to know where characters and sequences end."""

    def __init__(self) -> None:
        self._state = _GROUND
        self._rest = b""
        """The beginning of a character that is not whole yet."""
        self._parameters = b""

    def feed(self, data: bytes) -> tuple[Optional[int], dict[bytes, bool]]:
        """(the last place in the data where a reader may begin, None when there is none; the modes that it changed)."""
        changes: dict[bytes, bool] = {}
        at, size, begun = 0, len(data), -1
        ground = 0 if self._state == _GROUND else -1
        while at < size:
            if self._state == _GROUND:
                found = _next_escape(data, at)
                if found < 0:
                    break
                self._state, self._rest, begun, at = _ESCAPE, b"", found, found + 1
            else:
                at = self._step(data, at, changes)
                if self._state == _GROUND:
                    ground = at
        if self._state != _GROUND:
            return (begun if begun >= 0 else None), changes
        return self._end_of_text(data, ground), changes

    def _end_of_text(self, data: bytes, ground: int) -> Optional[int]:
        """The place behind the last whole character of text that began at `ground`."""
        text = self._rest + data[-4:] if ground == 0 and len(data) < 4 else data[max(ground, len(data) - 4) :]
        missing = _unfinished(text)
        if missing > len(data):  # the character began before this data, and is still not whole
            self._rest = text[-missing:]
            return None
        self._rest = text[len(text) - missing :]
        return len(data) - missing

    def _step(self, data: bytes, at: int, changes: dict[bytes, bool]) -> int:
        """Follow a sequence from a place in it; returns where to go on."""
        if self._state == _STRING:
            return self._pass_string(data, at)
        byte = data[at]
        if byte == 0x1B:
            self._state = _ESCAPE
        elif byte in _CANCELS:
            self._state = _GROUND
        elif self._state == _CONTROL:
            return self._pass_control(data, at, changes)
        elif self._state == _BETWEEN:
            if 0x30 <= byte <= 0x7E:
                self._state = _GROUND
        else:
            self._begin(byte, changes)
        return at + 1

    def _begin(self, byte: int, changes: dict[bytes, bool]) -> None:
        """The byte behind an escape says what this is."""
        if byte == 0x5B:
            self._state, self._parameters = _CONTROL, b""
        elif byte in b"]PX^_":
            self._state = _STRING
        elif 0x20 <= byte <= 0x2F:
            self._state = _BETWEEN
        else:
            self._state = _GROUND
            if byte in b"=>":
                changes[_KEYPAD] = byte == 0x3D
            elif byte == 0x63:  # a full reset
                changes.update({mode: mode in _ON for mode in (*_MODES, _KEYPAD)})

    def _pass_control(self, data: bytes, at: int, changes: dict[bytes, bool]) -> int:
        while at < len(data):
            byte = data[at]
            if byte == 0x1B or byte in _CANCELS:
                return at
            at += 1
            if 0x40 <= byte <= 0x7E:
                self._state = _GROUND
                if byte in b"hl" and self._parameters.startswith(b"?"):
                    modes = self._parameters[1:].split(b";")
                    changes.update((mode, byte == 0x68) for mode in modes if mode in _MODES)
                return at
            if len(self._parameters) < _PARAMETERS:
                self._parameters += data[at - 1 : at]
        return at

    def _pass_string(self, data: bytes, at: int) -> int:
        ends = [found for found in (data.find(end, at) for end in (b"\x07", b"\x18", b"\x1a", b"\x1b")) if found >= 0]
        if not ends:
            return len(data)
        self._state = _ESCAPE if data[min(ends)] == 0x1B else _GROUND
        return min(ends) + 1


class Screen:
    """The last output of a terminal."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._scanner = Scanner()
        self._pieces: list[tuple[bytearray, bool, dict[bytes, bool]]] = []
        """(bytes, whether a reader may begin behind them, modes changed in them)."""
        self._size = 0
        self._modes: dict[bytes, bool] = {}
        """As they were before the first piece."""
        self._skips = False
        """Whether what comes is dropped until a reader may begin again."""
        self.is_whole = True
        """Whether nothing was dropped yet."""

    def add(self, data: bytes) -> list[tuple[bytes, bool]]:
        """Take output; returns it in one or two parts, each with whether a reader may begin behind it."""
        clean, changes = self._scanner.feed(data)
        if clean is None or clean == 0:
            parts = [(data, False)]
        elif clean == len(data):
            parts = [(data, True)]
        else:
            parts = [(data[:clean], True), (data[clean:], False)]
        for part, is_clean in parts:
            self._keep(part, changes, is_clean=is_clean)
            changes = {}
        while self._size > self._kept:
            self._drop()
        return parts

    def replay(self) -> bytes:
        """What shows the same on any terminal, whatever it was told before."""
        off = [mode for mode in _ON if self._modes.get(mode, True) is False]
        on = [mode for mode, is_set in sorted(self._modes.items()) if is_set and mode not in (*_ON, _KEYPAD)]
        modes = b"".join(b"\x1b[?%bl" % mode for mode in off) + b"".join(b"\x1b[?%bh" % mode for mode in on)
        if self._modes.get(_KEYPAD):
            modes += b"\x1b="
        return RESET + modes + self.content()

    def content(self) -> bytes:
        """The output that is kept."""
        return b"".join(piece for piece, _clean, _changes in self._pieces)

    def _keep(self, data: bytes, changes: dict[bytes, bool], *, is_clean: bool) -> None:
        if self._skips:
            self._modes.update(changes)
            self._skips = not is_clean
            return
        self._size += len(data)
        if self._pieces and len(self._pieces[-1][0]) + len(data) <= _MERGED:
            piece, _, before = self._pieces.pop()
            piece += data
            self._pieces.append((piece, is_clean, {**before, **changes}))
        else:
            self._pieces.append((bytearray(data), is_clean, changes))

    def _drop(self) -> None:
        """Drop the oldest pieces up to where a reader may begin."""
        is_clean = False
        self.is_whole = False
        while self._pieces and not is_clean:
            piece, is_clean, changes = self._pieces.pop(0)
            self._size -= len(piece)
            self._modes.update(changes)
        self._skips = not is_clean


def _next_escape(data: bytes, at: int) -> int:
    """Where to look next from a place in text; -1 when no escape follows.

    Of sequences that end by themselves and change no mode only the last one before another kind matters, and most
    output is full of those, for colours.
    """
    others = [found for found in (data.find(word, at) for word in _OTHERS) if found >= 0]
    other = min(others) if others else len(data)
    last = data.rfind(b"\x1b", at, other)
    return last if last >= 0 else other if others else -1


def _unfinished(text: bytes) -> int:
    """How many of the last bytes are the beginning of a UTF-8 character that is not whole."""
    for back in range(1, min(3, len(text)) + 1):
        byte = text[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if back < length else 0
    return 0
