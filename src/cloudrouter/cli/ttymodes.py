"""What a program has switched on in the terminal it is shown on, so that leaving it in the middle can switch it off."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.client.commands import Write

_BEGIN = b"\x1b[?"
_OFF = {b"47", b"1047", b"1049", b"1", b"66", b"1000", b"1002", b"1003", b"1004", b"1005", b"1006", b"1015", b"2004"}
"""Private modes that a shell does without: other screen, keypads, mouse, focus, pasting."""
_CURSOR = b"25"
"""The cursor: to be on, not off."""
_LONGEST = 32


class Modes:
    """A writer that passes on what is shown and remembers which modes it has set."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._on: set[bytes] = set()
        self._hidden = False
        self._rest = b""

    def __call__(self, piece: memoryview) -> None:
        """One piece of what is shown."""
        self._look(self._rest + bytes(piece))
        self._write(piece)

    def reset(self) -> bytes:
        """What puts the terminal back to how a shell wants it; empty where nothing is to be done."""
        off = b"".join(b"\x1b[?%bl" % mode for mode in sorted(self._on))
        shown = b"\x1b[?25h" if self._hidden else b""
        return off + shown + (b"\x1b[0m\r" if off or shown else b"")

    def _look(self, data: bytes) -> None:
        at = 0
        while (at := data.find(_BEGIN, at)) >= 0:
            end = at + len(_BEGIN)
            while end < len(data) and end - at < _LONGEST and data[end : end + 1] in b"0123456789;":
                end += 1
            if end == len(data):
                self._rest = data[at:]  # cut in two: looked at again with what comes
                return
            self._note(data[at + len(_BEGIN) : end].split(b";"), data[end : end + 1])
            at = end
        self._rest = next((_BEGIN[:n] for n in (2, 1) if data.endswith(_BEGIN[:n])), b"")

    def _note(self, modes: list[bytes], word: bytes) -> None:
        if word not in (b"h", b"l"):
            return
        for mode in modes:
            if mode == _CURSOR:
                self._hidden = word == b"l"
            elif mode in _OFF and word == b"h":
                self._on.add(mode)
            else:
                self._on.discard(mode)
