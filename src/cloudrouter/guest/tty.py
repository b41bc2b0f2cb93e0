"""Pseudo-terminals for commands that want one."""

from __future__ import annotations

import fcntl
import grp
import os
import struct
import termios
from dataclasses import dataclass

from cloudrouter.guest.stream import read_size
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.guest.environment import Account

_DEFAULT_TERM = "xterm-256color"


@dataclass(frozen=True)
class Wanted:
    """The terminal of a request."""

    columns: int
    rows: int
    term: str


def read_wanted(value: object) -> Wanted:
    """The request's `tty` object; UsageError when it cannot be."""
    if not isinstance(value, dict):
        raise UsageError("tty must be an object with cols, rows and term.")
    term = value.get("term") or _DEFAULT_TERM
    if not isinstance(term, str) or not term.isascii() or not term.isprintable() or len(term) > 100:
        raise UsageError("The term of a tty must be a short word.")
    columns, rows = read_size([value.get("cols", 80), value.get("rows", 24)])
    return Wanted(columns, rows, term)


class Terminal:
    """The guest's side of a pseudo-terminal."""

    def __init__(self, wanted: Wanted, account: Account) -> None:
        self.master, self.slave = os.openpty()
        self.resize(wanted.columns, wanted.rows)
        if account.switch:
            os.fchown(self.slave, account.uid, terminal_group(account.gid))
            os.fchmod(self.slave, 0o620)

    def resize(self, columns: int, rows: int) -> None:
        """Tell the size; the kernel sends WINCH to whoever is in the foreground."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def foreground(self) -> int:
        """The process group in the foreground, 0 when there is none."""
        try:
            return os.tcgetpgrp(self.master)
        except OSError:
            return 0

    def end_of_file(self) -> bytes:
        """The character that means the end of input on this terminal now."""
        return bytes(termios.tcgetattr(self.master)[6][termios.VEOF])

    def close_slave(self) -> None:
        """The process has its own copy."""
        os.close(self.slave)


def terminal_group(fallback: int) -> int:
    """The group that terminals belong to, so that programs such as `write` can reach them."""
    try:
        return grp.getgrnam("tty").gr_gid
    except KeyError:
        return fallback
