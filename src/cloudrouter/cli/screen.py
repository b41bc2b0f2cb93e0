"""A block of lines on a terminal that is written over in place, without flicker and without a cleared screen."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self, TextIO

BEGIN, END = "\x1b[?25l\x1b[?7l", "\x1b[?25h\x1b[?7h"
"""No cursor, and lines that are too long are cut instead of wrapped, which would shift those below."""
KEEP_LINES = 24


class Screen:
    """Draws below what stands there already; what was drawn last stays when it ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Put these lines in the place of the last ones; what does not fit the terminal's height is counted."""
        shown = _fitting(lines, _height(self._stream))
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        # Line by line over the old ones, then away with what is below: nothing is blank for a moment.
        body = "".join(f"{line}\x1b[K\n" for line in shown)
        self._stream.write(f"{up}\r{body}\x1b[J")
        self._stream.flush()
        self._drawn = len(shown)

    def __enter__(self) -> Self:
        self._stream.write(BEGIN)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stream.write(END)
        self._stream.flush()


def _fitting(lines: Sequence[str], height: int) -> list[str]:
    room = max(2, height - 1)
    if len(lines) <= room:
        return list(lines)
    return [*lines[: room - 1], f"... and {len(lines) - room + 1} more"]


def _height(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).lines or KEEP_LINES
    except (OSError, ValueError):
        return KEEP_LINES
