"""What people see: plain tables, colours only where they are wanted, nothing that could harm a terminal."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any, TextIO

    from cloudrouter.wire.errors import CloudRouterError

GAP = "  "
NARROWEST = 20
"""Columns below which nothing is cut any more: such a width is a mistake of the terminal."""

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_STATE_STYLES = {"running": "green", "failed": "red", "stopped": "dim", "paused": "dim", "gone": "dim"}


def say(text: str = "") -> None:
    """One line of the result, on stdout."""
    _write(sys.stdout, text + "\n")


def note(text: str = "") -> None:
    """One line for the person, on stderr, behind everything said so far."""
    if sys.stdout is not None:
        sys.stdout.flush()
    _write(sys.stderr, text + "\n")
    if sys.stderr is not None:
        sys.stderr.flush()


def say_json(value: Any) -> None:
    """The result as JSON: indented for eyes, one line for programs."""
    import json

    say(json.dumps(value, indent=2 if is_terminal(sys.stdout) else None))


def flush() -> None:
    """Bring everything out; raises BrokenPipeError or OSError when the reader is gone or the disk is full."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _write(stream: TextIO | None, text: str) -> None:
    # A closed stdout or stderr (`>&-`) makes Python's streams None; there is nobody to read then.
    if stream is not None:
        stream.write(text)


def show_error(error: CloudRouterError) -> None:
    """The three lines on stderr: what happened, `Fix:` and `Next:`; below the first what a failed step said last."""
    said = error.details.get("output")
    steps = [escape(line) for line in said] if isinstance(said, list) else []
    # The message of such an error holds the same lines, for those who have only the message.
    message = error.message.partition("\n")[0] if steps else error.message
    lines = [f"cloudrouter: {escape(message)}", *(f"  | {line}" for line in steps)]
    if error.fix:
        lines.append(f"Fix:  {escape(error.fix)}")
    if error.next:
        lines.append(f"Next: {escape(error.next)}")
    if wants_colour(sys.stderr):
        lines[0] = paint("cloudrouter:", "red", sys.stderr) + lines[0].removeprefix("cloudrouter:")
    note("\n".join(lines))


# -- terminals ------------------------------------------------------------------------------------------------------


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at this stream."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def wants_colour(stream: TextIO | None) -> bool:
    """Colours only on a terminal that can show them, and never with NO_COLOR."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width(stream: TextIO | None = None) -> int:
    """Columns of the terminal behind a stream; COLUMNS overrides it, 80 where nobody knows."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return max(NARROWEST, int(told))
    for one in (stream, sys.stdout, sys.stderr):
        try:
            if one is not None:
                width = os.get_terminal_size(one.fileno()).columns
                return max(NARROWEST, width) if width else 80
        except (OSError, ValueError):
            continue
    return 80


def paint(text: str, style: str, stream: TextIO | None) -> str:
    """The text in a style, where the stream wants colours."""
    if not text or not wants_colour(stream):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def paint_state(state: str, stream: TextIO | None) -> str:
    """A machine's or job's state in its colour."""
    shown = escape(state)
    style = _STATE_STYLES.get(state)
    return paint(shown, style, stream) if style else shown


# -- text -----------------------------------------------------------------------------------------------------------


def escape(text: object) -> str:
    """Text from outside with everything a terminal could obey made visible: `\\x1b`, `\\n`, `\\u202e`."""
    word = str(text)
    if word.isprintable():
        return word
    return "".join(c if c.isprintable() else _escape_char(c) for c in word)


def _escape_char(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def width_of(text: str) -> int:
    """Columns that a text takes on a terminal, colours not counted."""
    if "\x1b" in text:
        parts = text.split("\x1b[")
        text = parts[0] + "".join(part.partition("m")[2] for part in parts[1:])
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, width: int) -> str:
    """The text in at most that many columns, with an ellipsis where something is missing."""
    if width_of(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        used += width_of(char)
        if used > width - 1:
            break
        kept += char
    return kept + "…"


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    stream: TextIO | None = None,
    shrink: Collection[int] = (),
    styles: dict[int, Any] | None = None,
) -> list[str]:
    """Lines of a plain table. Cells are escaped; on a terminal the columns in `shrink` give way to its width.

    `styles`: column -> function that paints one cell of it (its padding is added afterwards).
    """
    stream = stream or sys.stdout
    cells = [[escape(cell) for cell in row] for row in rows]
    widths = [max([width_of(head), *(width_of(row[i]) for row in cells)]) for i, head in enumerate(headers)]
    if is_terminal(stream):
        _shrink(widths, headers, shrink, terminal_width(stream))
    lines = [paint(_line(headers, widths), "dim", stream)]
    for row in cells:
        shown = [cut(cell, widths[i]) for i, cell in enumerate(row)]
        lines.append(_line(shown, widths, styles or {}))
    return lines


def _shrink(widths: list[int], headers: Sequence[str], shrink: Collection[int], room: int) -> None:
    """Take from the widest column that may give, one character at a time, until the table fits."""
    over = sum(widths) + len(GAP) * (len(widths) - 1) - room
    while over > 0:
        givers = [i for i in shrink if widths[i] > max(4, len(headers[i]))]
        if not givers:
            return
        widest = max(givers, key=lambda i: widths[i])
        widths[widest] -= 1
        over -= 1


def _line(cells: Sequence[str], widths: Sequence[int], styles: dict[int, Any] | None = None) -> str:
    parts = []
    for i, cell in enumerate(cells):
        style = (styles or {}).get(i)
        padding = " " * (widths[i] - width_of(cell))
        parts.append((style(cell) if style else cell) + padding)
    return GAP.join(parts).rstrip()


def pairs(rows: Sequence[tuple[str, str]], *, stream: TextIO | None = None) -> list[str]:
    """`label  value` lines with the values below each other; values are printed as they are."""
    width = max((len(label) for label, _ in rows), default=0)
    return [f"  {paint(f'{label:<{width}}', 'dim', stream or sys.stdout)}  {value}" for label, value in rows]
