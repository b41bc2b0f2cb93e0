"""The process that holds one job: it starts the command, writes its bounded log and its true ending, and outlives us.

It runs in a bare Python and imports almost nothing, because a machine has one for each job.
"""

from __future__ import annotations

import marshal
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

POSITION = 0
"""Record whose data is a u64: how many bytes of output came before this place. A jump means that bytes are gone."""
STDOUT, STDERR = 1, 2
HEADER = 13
"""Bytes before a record's data: u8 stream, u64 time in ms since the epoch, u32 length, big-endian."""
LOG_LIMIT = 128 * 1024 * 1024
"""Bytes of a job's log that are kept at most, unless the guest was told otherwise."""
SEGMENTS = 8
"""In how many files; the oldest goes whole, so that seven eighths of the limit are kept at least."""
FOLDER = b"folder"
"""What a holder says when the command may not enter its folder."""
HOLDER_FILE, EXIT_FILE, SEGMENT = "holder", "exit", "log."

_PIECE = 65536
_GATHER_MS = 20
"""How long small pieces of output may wait for more, so that many lines become one record."""
_QUIET_MS = 250
_LOOK_MS = 200
_EXIT_ROOM = 64


class Log:
    """A job's output on disk: so many segments at most, the oldest is dropped for a new one.

    Where the disk is full the output is counted and dropped; the command never notices.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self._folder = folder
        self._segment_limit = limit // SEGMENTS
        self._number = 0
        self._fd = -1
        self._size = 0
        self._position = 0
        self._gap = False
        self._stream = 0
        self._parts: list[bytes] = []
        self._waiting = 0
        self._since_ns = 0

    def write(self, stream: int, data: bytes) -> None:
        """Take output; it is on disk after `flush`, or when enough of one stream has come together."""
        if stream != self._stream or self._waiting + len(data) > _PIECE:
            self.flush()
        if not self._parts:
            self._stream, self._since_ns = stream, time.monotonic_ns()
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting >= _PIECE:
            self.flush()

    def patience_ms(self) -> Optional[int]:
        """How long what waits may wait still, None when nothing does."""
        if not self._parts:
            return None
        return max(0, _GATHER_MS - (time.monotonic_ns() - self._since_ns) // 1_000_000)

    def flush(self) -> None:
        """Append what waits, or count it as gone."""
        if not self._parts:
            return
        data = b"".join(self._parts)
        self._parts.clear()
        self._waiting = 0
        record = record_bytes(self._stream, data)
        ready = self._fd >= 0 and self._size + len(record) <= self._segment_limit
        if not ready:
            ready = self._next_segment()
        if self._gap:
            record = record_bytes(POSITION, self._position.to_bytes(8, "big")) + record
        self._gap = not (ready and self._append(record))
        self._position += len(data)

    def _next_segment(self) -> bool:
        name = f"{self._folder}/{SEGMENT}{self._number + 1}"
        try:
            if self._number >= SEGMENTS:
                _remove(f"{self._folder}/{SEGMENT}{self._number + 1 - SEGMENTS}")
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._gap = fd, 0, True
        self._number += 1
        return True

    def _append(self, record: bytes) -> bool:
        try:
            written = os.write(self._fd, record)
        except OSError:
            return False
        if written < len(record):
            # Half a record: readers may have seen it, so nothing follows it in this segment.
            self._size = self._segment_limit
            return False
        self._size += written
        return True


def record_bytes(stream: int, data: bytes) -> bytes:
    """One record of the log, stamped with the time."""
    now_ms = time.time_ns() // 1_000_000
    return bytes((stream,)) + now_ms.to_bytes(8, "big") + len(data).to_bytes(4, "big") + data


class _Command:
    """The job's process and the read ends of its output."""

    def __init__(self, spec: dict[str, Any]) -> None:
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(spec, out_end, err_end, tell)
        for fd in (out_end, err_end, tell, spec["stdin"]):
            if fd >= 0:
                os.close(fd)  # of the input too: whoever writes there has to see when the command reads no more
        self.streams = {out: STDOUT, err: STDERR}
        self.fault = os.read(told, 64)
        """Why it could not be started: digits of an errno, or FOLDER. Empty when it runs."""
        os.close(told)

    def ending(self) -> Optional[int]:
        """Its exit code, minus the signal that killed it, or None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None


def _become(spec: dict[str, Any], stdout: int, stderr: int, tell: int) -> None:
    """Turn this child into the command; never returns."""
    try:
        os.setsid()
        stdin = spec["stdin"] if spec["stdin"] >= 0 else os.open("/dev/null", os.O_RDONLY)
        for fd, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
            os.dup2(fd, target)
        os.close(stdin)
        if spec["rights"] is not None:
            uid, gid, _groups = spec["rights"]
            for fd in (stdout, stderr):
                os.fchown(fd, uid, gid)  # the command may open its /dev/stdout as a file
        enter(spec, tell)
    except OSError as error:
        os.write(tell, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)


def enter(spec: dict[str, Any], tell: int) -> None:
    """Become the command with its rights in its folder; returns, having told, only when it may not enter that."""
    if spec["rights"] is not None:
        uid, gid, groups = spec["rights"]
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
    try:
        os.chdir(spec["cwd"])  # with the command's own rights
    except OSError:
        os.write(tell, FOLDER)
        return
    _restore_signals()
    os.execvpe(spec["program"], spec["argv"], spec["env"])  # noqa: S606


def _restore_signals() -> None:
    """Python ignores the first two, the holder the third, and a program must not inherit that."""
    import _signal  # type: ignore[import-not-found]  # `signal` costs every holder 1 MB for its enums

    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)


def _stay_for_the_end() -> None:
    """TERM goes to everybody when the machine stops: the command ends by it, and how it ended is still written."""
    import _signal

    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)


def main() -> None:
    """Read the spec from stdin, start the command, say on stdout how that went, and hold it to its end."""
    spec = marshal.loads(read_all(0))  # noqa: S302 - from the guest, which is the same program
    folder = spec["folder"]
    os.chdir("/")
    _stay_for_the_end()
    try:
        note_holder(folder, 0)
        room = make_room(folder)
        command = _Command(spec)
    except OSError as error:
        os.write(1, b"trouble %d" % (error.errno or 0))
        return
    if command.fault:
        os.waitpid(command.pid, 0)
        os.write(1, b"fault " + command.fault)
        return
    note_holder(folder, command.pid)
    os.write(1, b"running %d" % command.pid)
    let_go()
    hold(command, Log(folder, spec["limit"]), folder, room)


def make_room(folder: str) -> int:
    """A place for the ending, so that it can be told on a full disk, too."""
    room = os.open(f"{folder}/{EXIT_FILE}.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.write(room, b" " * _EXIT_ROOM)
    return room


def let_go() -> None:
    """Close what came from the guest, which waits for the end of our answer."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def hold(command: _Command, log: Log, folder: str, room: int) -> None:
    """Write the log until nobody can write output any more; tell the ending as soon as it is known."""
    poller = select.poll()
    for fd in command.streams:
        poller.register(fd, select.POLLIN)
    watch = watch_process(command.pid)
    if watch >= 0:
        poller.register(watch, select.POLLIN)
    status: Optional[int] = None
    told = False
    while command.streams or not told:
        busy = _carry(poller, command, log, _patience(status, told=told, watched=watch >= 0), watch)
        if status is None:
            status = command.ending()
            if status is not None and watch >= 0:
                poller.unregister(watch)
        elif not told and (not busy or not command.streams):
            told = True
            log.flush()
            tell_ending(folder, room, status)
    log.flush()


def _patience(status: Optional[int], *, told: bool, watched: bool) -> Optional[int]:
    """How long to wait for output, in ms: for ever, unless the ending must be told or cannot be watched."""
    if status is not None and not told:
        return _QUIET_MS
    return None if watched or told else _LOOK_MS


def _carry(poller: select.poll, command: _Command, log: Log, patience: Optional[int], watch: int) -> bool:
    """Log what is there; False when nothing came in time."""
    gathering = log.patience_ms()
    found = poller.poll(patience if gathering is None else gathering)
    busy = gathering is not None
    for fd, _event in found:
        if fd == watch:
            busy = True
            continue
        data = os.read(fd, _PIECE)
        if data:
            log.write(command.streams[fd], data)
            busy = True
        else:
            poller.unregister(fd)
            os.close(fd)
            del command.streams[fd]
    if log.patience_ms() == 0:
        log.flush()
    return busy


def watch_process(pid: int) -> int:
    """A descriptor that becomes readable when the process ends; -1 where the kernel has none."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return -1


def note_holder(folder: str, command_pid: int) -> None:
    """Who we are, with our start time, so that a reused number is not mistaken for us."""
    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    text = b"%d %d %d %d\n" % (os.getpid(), ticks, command_pid, time.time_ns() // 1_000_000)
    path = f"{folder}/{HOLDER_FILE}"
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.write(fd, text)
    os.close(fd)
    os.replace(f"{path}.new", path)


def tell_ending(folder: str, room: int, status: int) -> None:
    """Write how the command ended: its exit code, or minus its signal."""
    text = b"%d %d\n" % (status, time.time_ns() // 1_000_000)
    os.pwrite(room, text.ljust(_EXIT_ROOM), 0)
    os.close(room)
    os.replace(f"{folder}/{EXIT_FILE}.new", f"{folder}/{EXIT_FILE}")


def read_all(fd: int) -> bytes:
    """All up to the end."""
    parts = []
    while part := os.read(fd, _PIECE):
        parts.append(part)
    return b"".join(parts)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
