"""The process that holds one terminal: it outlives guest and clients, shows all of them the same, and takes from all.

It runs in a bare Python and imports almost nothing, because a machine has one for each terminal. The guest connects to
its socket, once for each client.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` costs every holder 1 MB for its enums
import _socket  # `socket` costs more still
import fcntl
import marshal
import os
import select
import sys
import termios
import time

from cloudrouter.guest import holder, ptyline
from cloudrouter.guest.ptyviewer import Viewer
from cloudrouter.guest.screen import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

KEPT_S = 60.0
"""So long an ended terminal still tells its ending to who comes."""
PATIENCE_S = 2.0
"""So long the program waits for clients none of which takes anything; then it goes on, and they get a replay later."""
QUIET_S = 0.25
JIGGLE_S = 0.05
_FIRST_S = 2.0
"""So long the program's output waits for who started it."""
_CLOSED_S = 0.2
_READ = 16 * 1024


class Terminal:
    """The master side of the terminal, and the program on it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.master, slave = os.openpty()
        self.size = (spec["cols"], spec["rows"])
        self.resize(*self.size)
        if spec["owner"] is not None:
            os.fchown(slave, *spec["owner"])
            os.fchmod(slave, 0o620)
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(spec, slave, tell)
        os.close(slave)
        os.close(tell)
        self.fault = os.read(told, 64)
        """Why the program could not be started: digits of an errno, or holder.FOLDER. Empty when it runs."""
        os.close(told)
        os.set_blocking(self.master, False)
        self.status: Optional[int] = None
        """Its exit code, or minus the signal that killed it; None while it runs."""

    def resize(self, columns: int, rows: int) -> None:
        """Tell the size; the kernel sends WINCH to whoever is in the foreground, when it is another one."""
        self.size = (columns, rows)
        self.show_size(columns, rows)

    def show_size(self, columns: int, rows: int) -> None:
        """Tell a size for a moment."""
        packed = b"".join(number.to_bytes(2, sys.byteorder) for number in (rows, columns, 0, 0))
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, packed)

    def send_signal(self, number: int) -> None:
        """As the terminal's keys do: to the group in the foreground; without one to the program's own."""
        try:
            os.killpg(os.tcgetpgrp(self.master) or self.pid, number)
        except OSError:
            return  # it has just ended

    def end_of_file(self) -> bytes:
        """The character that means the end of input now."""
        try:
            return bytes(termios.tcgetattr(self.master)[6][termios.VEOF])
        except termios.error:
            return b""

    def read(self) -> Optional[bytes]:
        """What is there now, empty when nothing is; None when nobody has the terminal open any more."""
        parts: list[bytes] = []
        size = 0
        while size < _READ:
            try:
                data = os.read(self.master, _READ - size)
            except BlockingIOError:
                break
            except OSError:
                return b"".join(parts) if parts else None
            if not data:
                return b"".join(parts) if parts else None
            parts.append(data)
            size += len(data)
        return b"".join(parts)

    def write(self, data: bytes) -> int:
        """Type as much of it as is taken now."""
        try:
            return os.write(self.master, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # nobody reads any more

    def look(self) -> None:
        """See whether the program has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None

    def close(self) -> None:
        """Hang up."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


class Holder:
    """All of one terminal."""

    def __init__(self, terminal: Terminal, listener: int, folder: str, room: int) -> None:
        self._terminal = terminal
        self._listener = _socket.socket(fileno=listener)
        self._listener.setblocking(False)  # noqa: FBT003
        self._folder, self._room = folder, room
        self._screen = Screen()
        self._viewers: dict[int, Viewer] = {}
        self._watch = holder.watch_process(terminal.pid)
        self._began = self._progress = self._heard = time.monotonic()
        self._was_joined = False
        self._restore_at: Optional[float] = None
        self._closed_until: Optional[float] = None
        """When to look again, while nobody has the terminal open."""
        self._leave_at: Optional[float] = None
        """Known once the terminal has ended."""
        self._told = False
        self._asked = False
        """Whether the machine ends."""
        self._wake, wake_end = os.pipe()
        for end in (self._wake, wake_end):
            os.set_blocking(end, False)
        _signal.signal(_signal.SIGTERM, lambda _number, _frame: None)
        _signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)

    def run(self) -> None:
        """Until the terminal has ended, and its ending was kept for long enough."""
        while self._leave_at is None or time.monotonic() < self._leave_at:
            ready = self._poll()
            now = time.monotonic()
            if self._wake in ready:
                self._hear_end()
            if self._listener.fileno() in ready:
                self._accept()
            for fd in [fd for fd in ready if fd in self._viewers]:
                self._serve(self._viewers[fd], ready[fd])
            if self._terminal.master in ready and ready[self._terminal.master] & ~select.POLLOUT:
                self._show()
            self._type()
            if self._restore_at is not None and now >= self._restore_at:
                self._restore_at = None
                self._terminal.resize(*self._terminal.size)
            self._look_for_end(now)
        self._remove()

    def _poll(self) -> dict[int, int]:
        poller = select.poll()
        poller.register(self._listener.fileno(), select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        if self._watch >= 0:
            poller.register(self._watch, select.POLLIN)
        for viewer in self._viewers.values():
            poller.register(viewer.fd, viewer.events())
        master = self._terminal.master
        if master >= 0 and not self._is_closed():
            types = any(viewer.typed for viewer in self._viewers.values())
            events = (0 if self._is_held() else select.POLLIN) | (select.POLLOUT if types else 0)
            if events:  # a terminal that nobody has open any more is always ready for what nobody asked
                poller.register(master, events)
        return dict(poller.poll(self._patience_ms()))

    def _patience_ms(self) -> Optional[int]:
        """Until something is to be done though nothing comes."""
        now = time.monotonic()
        times = [self._restore_at, self._leave_at, self._closed_until]
        if self._leave_at is None:
            if self._terminal.status is not None:
                times.append(self._heard + QUIET_S)
            elif self._watch < 0:
                times.append(now + 0.2)
            if not self._was_joined:
                times.append(self._began + _FIRST_S)
            elif self._is_held():
                times.append(self._progress + PATIENCE_S)
        known = [one for one in times if one is not None]
        return max(0, int((min(known) - now) * 1000) + 1) if known else None

    def _is_held(self) -> bool:
        """Whether the program has to wait: for its first client, or as long as all of them lag and any takes some."""
        now = time.monotonic()
        if self._terminal.status is not None:
            return False
        if not self._was_joined:
            return now < self._began + _FIRST_S
        watching = [viewer for viewer in self._viewers.values() if viewer.watches and not viewer.is_behind]
        lags = bool(watching) and all(viewer.is_full for viewer in watching)
        return lags and now < self._progress + PATIENCE_S

    def _is_closed(self) -> bool:
        """Whether nobody had the terminal open a moment ago."""
        return self._closed_until is not None and time.monotonic() < self._closed_until

    def _accept(self) -> None:
        try:
            fd, _address = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - as `socket` does
        except OSError:
            return
        os.set_blocking(fd, False)
        self._viewers[fd] = Viewer(fd)

    def _serve(self, viewer: Viewer, events: int) -> None:
        if events & ~select.POLLOUT:
            for kind, data in viewer.receive():
                self._obey(viewer, kind, data)
        if not viewer.is_gone and viewer.send():
            self._progress = time.monotonic()
        if viewer.wants_replay:
            viewer.show_again(self._screen.replay())
        if viewer.was_told:
            self._told = True
        if viewer.is_gone:
            del self._viewers[viewer.fd]
            viewer.close()
            self._fit()

    def _obey(self, viewer: Viewer, kind: bytes, data: bytes) -> None:
        if kind == ptyline.HELLO:
            self._welcome(viewer, *marshal.loads(data))  # noqa: S302 - from the guest, which is the same program
        elif kind == ptyline.TYPED:
            viewer.typed += data
        elif kind == ptyline.END:
            viewer.typed += self._terminal.end_of_file() if self._terminal.master >= 0 else b""
        elif kind == ptyline.SIZE:
            viewer.size = marshal.loads(data)  # noqa: S302
            self._fit()
        elif kind == ptyline.SIGNAL and self._terminal.master >= 0:
            self._terminal.send_signal(int(data))

    def _welcome(self, viewer: Viewer, columns: int, rows: int, kind: int) -> None:
        self._told = self._told or kind == ptyline.TOLD
        watching = sum(other.watches for other in self._viewers.values())
        info = (watching, *self._terminal.size, self._terminal.status, self._told)
        viewer.put(ptyline.INFO, marshal.dumps(info))
        if kind in (ptyline.LOOKS, ptyline.TOLD):
            viewer.end()
            return
        viewer.size, viewer.watches, self._was_joined = (columns, rows), True, True
        self._progress = time.monotonic()
        before = self._terminal.size
        self._fit()
        if kind == ptyline.NEW and self._screen.is_whole:
            viewer.show(self._screen.content(), is_clean=False)
        else:
            viewer.show_again(self._screen.replay())
            if before == self._terminal.size and self._terminal.master >= 0:
                columns, rows = self._terminal.size
                self._terminal.show_size(columns, rows - 1 if rows > 1 else rows + 1)
                self._restore_at = time.monotonic() + JIGGLE_S
        if self._leave_at is not None:
            self._tell(viewer)

    def _fit(self) -> None:
        """The smallest size of those who watch; with nobody the last one stays."""
        sizes = [viewer.size for viewer in self._viewers.values() if viewer.watches and not viewer.is_gone]
        if sizes and self._terminal.master >= 0:
            size = (min(columns for columns, _ in sizes), min(rows for _, rows in sizes))
            if size != self._terminal.size:
                self._terminal.resize(*size)

    def _show(self) -> None:
        data = self._terminal.read()
        # A hang-up would kill a program that has closed its terminal: at its end many do, and some open it again.
        self._closed_until = time.monotonic() + _CLOSED_S if data is None else None
        if data:
            self._heard = time.monotonic()
            for part, is_clean in self._screen.add(data):
                for viewer in self._viewers.values():
                    if viewer.watches:
                        viewer.show(part, is_clean=is_clean)

    def _type(self) -> None:
        for viewer in self._viewers.values():
            if viewer.typed and self._terminal.master >= 0:
                del viewer.typed[: self._terminal.write(bytes(viewer.typed))]
            elif viewer.typed:
                viewer.typed.clear()

    def _hear_end(self) -> None:
        """The machine ends: so does what is on the terminal, for the kernel tells it, and nobody will come to ask."""
        os.read(self._wake, 512)
        self._asked = True
        if self._leave_at is not None:
            self._leave_at = 0.0
        self._terminal.close()

    def _look_for_end(self, now: float) -> None:
        """Once the program has ended and the terminal is quiet: note it, and tell everybody."""
        if self._leave_at is not None:
            return
        if self._terminal.status is None:
            self._terminal.look()
            if self._terminal.status is None:
                return
            self._heard, self._closed_until = now, None  # what it said last is still to be read
            if self._watch >= 0:
                os.close(self._watch)
                self._watch = -1
        if self._terminal.master >= 0 and self._closed_until is None and now < self._heard + QUIET_S:
            return
        self._closed_until = None
        self._terminal.close()
        self._leave_at = 0.0 if self._asked else now + KEPT_S
        holder.tell_ending(self._folder, self._room, self._terminal.status)
        for viewer in list(self._viewers.values()):
            if viewer.watches:
                self._tell(viewer)

    def _tell(self, viewer: Viewer) -> None:
        viewer.tell_end(ptyline.EXIT, b"%d" % (self._terminal.status or 0))

    def _remove(self) -> None:
        for viewer in self._viewers.values():
            viewer.send()  # what is taken now, for at the machine's end nobody waits
            viewer.close()
        for name in os.listdir(self._folder):
            os.unlink(f"{self._folder}/{name}")
        os.rmdir(self._folder)


def _become(spec: dict[str, Any], slave: int, tell: int) -> None:
    """Turn this child into the program on the terminal; never returns."""
    try:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for target in (0, 1, 2):
            os.dup2(slave, target)
        os.close(slave)
        holder.enter(spec, tell)
    except OSError as error:
        os.write(tell, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)


def main() -> None:
    """Read the spec from stdin, start the program, say on stdout how that went, and hold the terminal."""
    spec = marshal.loads(holder.read_all(0))  # noqa: S302 - from the guest, which is the same program
    folder = spec["folder"]
    os.chdir("/")
    try:
        holder.note_holder(folder, 0)
        room = holder.make_room(folder)
        terminal = Terminal(spec)
    except OSError as error:
        os.write(1, b"trouble %d" % (error.errno or 0))
        return
    if terminal.fault:
        os.waitpid(terminal.pid, 0)
        os.write(1, b"fault " + terminal.fault)
        return
    holder.note_holder(folder, terminal.pid)
    held = Holder(terminal, spec["listener"], folder, room)
    os.write(1, b"running %d" % terminal.pid)
    holder.let_go()
    held.run()
