"""Reading the router's log: its end, then what is added, also across the rotation of the file."""

from __future__ import annotations

import json
import os
import select
import sys

from cloudrouter.cli import output
from cloudrouter.wire.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Self

LOOK_EVERY_S = 0.25
READ = 256 * 1024
_HIDDEN = ("timestamp", "level", "event", "logger", "exception", "message")
_STYLES = {"warning": "yellow", "error": "red", "critical": "red"}


class RouterLog:
    """The log file at a path, printed line by line: for people, or with as_json as it is."""

    def __init__(self, path: str, *, as_json: bool) -> None:
        self._path = path
        self._as_json = as_json
        self._file = self._open()
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()

    def _open(self) -> BinaryIO:
        try:
            return open(self._path, "rb")
        except FileNotFoundError:
            raise NotFound(
                f"There is no log at {self._path}: no router has run yet.",
                fix="Start it.",
                next="cloudrouter server start",
            ) from None

    def print_tail(self, lines: int) -> None:
        """The last lines; the file is left at its end."""
        for line in self._last(lines):
            self._print(line)

    def _last(self, lines: int) -> list[bytes]:
        end = self._file.seek(0, os.SEEK_END)
        found = b""
        start = end
        while start > 0 and found.count(b"\n") <= lines:
            step = min(READ, start)
            start -= step
            self._file.seek(start)
            found = self._file.read(step) + found
        self._file.seek(end)
        whole, _, self._rest = found.rpartition(b"\n")
        return whole.split(b"\n")[-lines:] if whole and lines else []

    def follow(self) -> None:
        """Print what is added until Ctrl-C."""
        while True:
            self._print_new()
            output.flush()
            if self._was_replaced():
                self._print_new()
                self._file.close()
                self._file, self._rest = self._open(), b""
            else:
                select.select([], [], [], LOOK_EVERY_S)

    def _print_new(self) -> None:
        while piece := self._file.read(READ):
            *whole, self._rest = (self._rest + piece).split(b"\n")
            for line in whole:
                self._print(line)

    def _was_replaced(self) -> bool:
        """Whether the router has begun a new file at this path."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return there.st_ino != os.fstat(self._file.fileno()).st_ino

    def _print(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        output.say(output.escape(text) if self._as_json else "\n".join(readable(text)))


def readable(text: str) -> list[str]:
    """One line of the log for people: time, level, event, facts; an exception's lines below it."""
    try:
        entry = json.loads(text)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        return [output.escape(text)]
    level = str(entry.get("level", ""))
    message = str(entry.get("message") or "")
    facts = [f"{key}={_short(value)}" for key, value in entry.items() if _adds(key, value, message)]
    shown_level = output.paint(f"{level:<7}", _STYLES.get(level, "dim"), sys.stdout)
    event = output.escape(message or entry.get("event", ""))
    rest = output.paint(output.escape(" ".join(facts)), "dim", sys.stdout)
    first = "  ".join(part for part in (str(entry.get("timestamp", ""))[:19], shown_level, event, rest) if part)
    below = [f"    {output.escape(one)}" for one in str(entry.get("exception") or "").splitlines()]
    return [first, *below]


def _adds(key: str, value: object, message: str) -> bool:
    """Whether a fact says something that its line does not say already; whole objects are for --json."""
    return key not in _HIDDEN and not isinstance(value, (dict, list)) and str(value) not in message.split()


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
