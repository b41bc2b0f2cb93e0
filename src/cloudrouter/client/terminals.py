"""The person's terminal and signals while a command runs: raw mode, size, wake-ups; all of it put back afterwards."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def size(fd: int) -> tuple[int, int]:
    """(columns, rows) of a terminal; 80 x 24 where it does not say."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        columns = rows = 0
    return columns or 80, rows or 24


class DetachKeys:
    """Looks in what is typed for the keys that leave a terminal alone; pure."""

    def __init__(self, keys: bytes, *, muted: bool = False) -> None:
        """keys: one behind the other, none where there are none. muted: nothing that is typed is to be sent."""
        self._keys = keys
        self._muted = muted
        self._held = b""
        self.left = False
        """Whether the keys have come."""

    def take(self, piece: bytes) -> bytes:
        """What of it is sent now; a beginning of the keys waits for what comes next."""
        out = bytearray()
        for byte in piece:
            self._held += bytes((byte,))
            while self._held and not self._keys.startswith(self._held):
                out += self._held[:1]
                self._held = self._held[1:]
            if self._keys and self._held == self._keys:
                self.left, self._held = True, b""
                break
        return b"" if self._muted else bytes(out)


class Attached:
    """Hand signals to `on_signal` and make `tty_fd` raw; the value is a descriptor to poll, readable after a signal.

    A signal that is ignored already stays so, as SIGHUP under nohup. Only the main thread may use this.
    """

    def __init__(
        self, on_signal: Callable[[int], object], tty_fd: int | None, handled: tuple[int, ...] = HANDLED
    ) -> None:
        self._on_signal = on_signal
        self._handled = handled
        self._tty_fd = tty_fd
        self._handlers: list[tuple[int, Any]] = []
        self._attributes: list[Any] | None = None
        self._pipe: tuple[int, int] = (-1, -1)
        self._wakeup_before = -1

    def __enter__(self) -> int:
        try:
            self._attach()
        except BaseException:
            self._detach()
            raise
        return self._pipe[0]

    def _attach(self) -> None:
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in (*self._handled, *((signal.SIGWINCH,) if self._tty_fd is not None else ())):
            before = signal.getsignal(number)
            if before == signal.SIG_IGN:
                continue
            signal.signal(number, self._handle)
            self._handlers.append((number, before))
        if self._tty_fd is not None:
            import termios
            import tty

            self._attributes = termios.tcgetattr(self._tty_fd)
            tty.setraw(self._tty_fd, termios.TCSADRAIN)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._on_signal(number)

    def __exit__(self, *_exception: object) -> None:
        self._detach()

    def _detach(self) -> None:
        if self._attributes is not None and self._tty_fd is not None:
            import termios

            try:
                termios.tcsetattr(self._tty_fd, termios.TCSADRAIN, self._attributes)
            except termios.error:
                pass  # The terminal itself is gone.
        if self._pipe[1] >= 0:
            signal.set_wakeup_fd(self._wakeup_before)
        if self._handlers:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, before in self._handlers:
            signal.signal(number, before if before is not None else signal.SIG_DFL)
        for fd in self._pipe:
            if fd >= 0:
                os.close(fd)
