"""Child processes: started with the right rights, seen when they end, ended with all they started."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import subprocess
import sys
import termios
from dataclasses import dataclass

from cloudrouter.guest import rights
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Callable, Optional

    from cloudrouter.guest.environment import Account

_POLL_S = 0.02
_ENOUGH_FILES = 16384


@dataclass(frozen=True)
class Ending:
    """How a process ended."""

    code: int
    """Its exit code, or 128 + n when signal n killed it."""
    signal: Optional[str]
    """The signal's name without SIG, or None."""


class Process:
    """One child in a session of its own. Its zombie is kept until `reap`, so that the number stays its own."""

    def __init__(self, popen: subprocess.Popen[bytes], children: Children) -> None:
        self.pid = popen.pid
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._popen = popen
        self._children = children

    def look(self) -> None:
        """See whether it has ended."""
        if self.ended.done():
            return
        info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is not None:
            killed = info.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
            self.ended.set_result(ending(-info.si_status if killed else info.si_status))

    def send_signal(self, name: str, group: int = 0) -> None:
        """Send a signal to the process's own group, or to another of its session; a group that is gone is none."""
        try:
            os.killpg(group or self.pid, getattr(signal, "SIG" + name))
        except ProcessLookupError:
            return

    async def end(self, signals: Sequence[str], grace_s: float) -> None:
        """End everything in the session: the signals to the group first, KILL to what is left after the grace."""
        for name in signals:
            self.send_signal(name)
        deadline = asyncio.get_running_loop().time() + grace_s
        while (left := session_members(self.pid)) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_S)  # grandchildren send us no signal when they end
        while left and sum(_kill(pid) for pid in left):
            await asyncio.sleep(_POLL_S)
            left = session_members(self.pid)
        await asyncio.wait({self.ended})  # not the future itself: a cancelled waiter would cancel it

    def reap(self) -> None:
        """Let go of the zombie of an ended process."""
        self._children.forget(self)
        self._popen.wait()


class Children:
    """All children of the guest that are to be waited for; exists once, since SIGCHLD is one for all."""

    def __init__(self) -> None:
        self._live: set[Process] = set()
        self._soft_files = _raise_file_limit()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._look)

    def start(
        self,
        argv: Sequence[bytes],
        *,
        program: bytes,
        cwd: bytes,
        env: dict[bytes, bytes],
        account: Account,
        stdin: int,
        stdout: int,
        stderr: int,
        terminal: bool = False,
        keep: Sequence[int] = (),
    ) -> Process:
        """Start a program in a session of its own; OSError as exec reports it, UsageError for a closed folder.

        keep: descriptors that it gets besides, under the same numbers.
        """
        try:
            with rights.of(account):
                popen = subprocess.Popen(
                    list(argv),
                    executable=program,
                    cwd=cwd,
                    env=env,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                    pass_fds=keep,
                    preexec_fn=self._preparation(terminal=terminal),  # safe, since the guest has one thread
                )
        except PermissionError as error:
            if error.filename == cwd:
                raise closed_folder(cwd, account) from None
            raise
        process = Process(popen, self)
        self._live.add(process)
        return process

    def forget(self, process: Process) -> None:
        """Watch it no longer."""
        self._live.discard(process)

    def _look(self) -> None:
        for process in list(self._live):
            process.look()

    def _preparation(self, *, terminal: bool) -> Optional[Callable[[], None]]:
        """What the child does before exec, where something must be done."""
        soft = self._soft_files
        if not terminal and soft is None:
            return None

        def prepare() -> None:
            if terminal:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if soft is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

        return prepare


def closed_folder(cwd: bytes, account: Account) -> UsageError:
    """The error of a folder that is there, but not for this account."""
    return UsageError(f"The folder {cwd.decode('utf-8', 'replace')} cannot be entered by {account.name}.")


def ending(status: int) -> Ending:
    """How a process ended, from its exit code or minus its signal's number."""
    if status >= 0:
        return Ending(status, None)
    try:
        name = signal.Signals(-status).name[3:]
    except ValueError:
        name = f"RTMIN+{-status - signal.SIGRTMIN}"
    return Ending(128 - status, name)


def session_members(session: int) -> list[int]:
    """The living processes of a session; zombies do not count."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(int(name))
            if fields is not None and fields[3] == b"%d" % session and fields[0] not in (b"Z", b"X"):
                found.append(int(name))
    return found


def stat_fields(pid: int) -> Optional[list[bytes]]:
    """/proc/PID/stat from the state letter on (so field n of proc(5) is at n - 3); None when there is no process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def start_ticks(pid: int) -> Optional[int]:
    """When the process started, in ticks since boot: with the pid it names one process for ever."""
    fields = stat_fields(pid)
    return None if fields is None else int(fields[19])


def python_words(module: str, *words: bytes) -> list[bytes]:
    """The argument list that runs `main` of a module of this room in a bare Python, which finds nothing but us."""
    folder = os.fsencode(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    program = f"import sys; sys.path[:0] = [sys.argv[1]]; from cloudrouter.guest import {module}; {module}.main()"
    return [os.fsencode(sys.executable), b"-I", b"-S", b"-c", program.encode(), folder, *words]


def use_default_signals() -> None:
    """Undo what a shell that started the guest in its background did: ignored signals would stay so in commands."""
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a handler: exec makes it the default
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _kill(pid: int) -> bool:
    """Kill one process; False when we may not (it changed its rights, and the guest is not root)."""
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        return False
    except ProcessLookupError:
        return True
    return True


def _raise_file_limit() -> Optional[int]:
    """Room for many streams; returns the old soft limit, which commands get back, where it was raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft
