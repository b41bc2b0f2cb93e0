"""Foreground commands: started, fed, heard, signalled and ended as the stream says."""

from __future__ import annotations

import asyncio
import os
import time

from cloudrouter.guest import commands, tty
from cloudrouter.guest.environment import rfc3339
from cloudrouter.guest.pipes import close_all, feed, give, make_pipes, pump
from cloudrouter.guest.tasks import cancel_all, surely
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.streams import STDERR, STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any, Optional, Union

    from cloudrouter.guest.commands import Command
    from cloudrouter.guest.process import Ending, Process
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream
    from cloudrouter.guest.tty import Terminal, Wanted

    _Plumbing = Union["_Pipes", "_Terminal"]

QUIET_S = 0.25
"""After a command's end its output counts as whole when nothing came for so long."""
TIMEOUT_GRACE_S = 5.0
DISCONNECT_GRACE_S = 2.0
TIMEOUT_CODE = 124


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `exec`."""
    started = time.monotonic()
    timeout_s = read_timeout(request.get("timeout_s"))
    wanted = tty.read_wanted(request["tty"]) if request.get("tty") is not None else None
    command = commands.read_command(request, guest.settings, guest.config, term=wanted.term if wanted else "")
    stream.input.wanted = wanted is not None or request.get("stdin") is True
    try:
        plumbing: _Plumbing = _Terminal(stream, guest, command, wanted) if wanted else _Pipes(stream, guest, command)
    except OSError as error:
        code, sentence = commands.start_fault(error, command.program)
        await stream.send_data(STDERR, f"{sentence}\n".encode("utf-8", "replace"))
        await stream.finish("exit", _exit_body(code, None, started, timeout=False))
        return
    described = _describe(plumbing.process.pid, command, terminal=wanted is not None)
    guest.execs[described["id"]] = described
    try:
        await _follow(stream, plumbing, started, timeout_s)
    finally:
        del guest.execs[described["id"]]


async def list_all(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `exec.list`: the foreground commands whose streams are open, oldest first."""
    await stream.finish("execs", list(guest.execs.values()))


def _describe(pid: int, command: Command, *, terminal: bool) -> dict[str, Any]:
    """A foreground command for people; its process is its name, since it has that number to its end."""
    return {
        "id": f"exec_{pid}",
        "command": command.shown,
        "cwd": os.fsdecode(command.cwd),
        "pid": pid,
        "started_at": rfc3339(time.time_ns() // 1_000_000),
        "tty": terminal,
    }


async def _follow(stream: Stream, plumbing: _Plumbing, started: float, timeout_s: Optional[float]) -> None:
    """From the start of the process to its exit message; when the opener leaves, the process is ended."""
    process = plumbing.process
    feeding = asyncio.ensure_future(plumbing.feed())
    pumps = [asyncio.ensure_future(pump) for pump in plumbing.pumps()]
    try:
        await stream.send("started", {"pid": process.pid})
        timed_out = await _wait(process, pumps, timeout_s)
        if timed_out:
            await process.end(("TERM",), TIMEOUT_GRACE_S)
        ending = await process.ended
        await asyncio.gather(*pumps)
        code = TIMEOUT_CODE if timed_out else ending.code
        await stream.finish("exit", _exit_body(code, ending, started, timeout=timed_out))
    finally:
        await surely(_clean_up(plumbing, feeding, *pumps))


async def _wait(process: Process, pumps: Sequence[asyncio.Future[None]], timeout_s: Optional[float]) -> bool:
    """Wait until the process has ended or its time is over (True); a pump that breaks breaks this."""
    waiting: set[asyncio.Future[Any]] = {process.ended, *pumps}
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while not process.ended.done():
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return True
        for future in done:
            future.result()
    return False


async def _clean_up(plumbing: _Plumbing, *tasks: asyncio.Future[None]) -> None:
    """End what still runs, which is so only where the opener has left, and close everything."""
    process = plumbing.process
    if not process.ended.done():
        await process.end(("HUP", "TERM"), DISCONNECT_GRACE_S)
    await cancel_all(*tasks)
    plumbing.close()
    process.reap()


class _Pipes:
    """A command whose output channels are apart."""

    def __init__(self, stream: Stream, guest: Guest, command: Command) -> None:
        self._stream = stream
        self._guest = guest
        (self._output, stdout), (self._errors, stderr) = make_pipes(2)
        stdin = self._input = -1
        try:
            if stream.input.wanted:
                ((stdin, self._input),) = make_pipes(1)
                give(command.account, stdin)
            else:
                stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            give(command.account, stdout, stderr)
            self.process = _start(guest, command, stdin, stdout, stderr)
        except BaseException:
            self.close()
            raise
        finally:
            close_all(stdin, stdout, stderr)
        stream.on_signal = self.process.send_signal

    def pumps(self) -> list[Coroutine[Any, Any, None]]:
        """The work that carries output."""
        return [self._pump("_output", STDOUT), self._pump("_errors", STDERR)]

    async def feed(self) -> None:
        """The work that carries input, and closes it at its end."""
        if self._input >= 0:
            await feed(self._stream.input, self._input)
            fd, self._input = self._input, -1
            os.close(fd)

    def close(self) -> None:
        """Close what is still open."""
        close_all(self._input, self._output, self._errors)
        self._input = self._output = self._errors = -1

    async def _pump(self, name: str, channel: int) -> None:
        fd: int = getattr(self, name)

        async def send(data: bytes) -> None:
            await self._stream.send_data(channel, data)

        if not await pump(fd, send, self.process.ended, QUIET_S):
            # Something that the command left behind still writes there.
            setattr(self, name, -1)
            self._guest.held_pipes.hold(fd)


class _Terminal:
    """A command on a terminal of its own."""

    def __init__(self, stream: Stream, guest: Guest, command: Command, wanted: Wanted) -> None:
        self._stream = stream
        self._terminal: Terminal = tty.Terminal(wanted, command.account)
        slave = self._terminal.slave
        try:
            self.process = _start(guest, command, slave, slave, slave, terminal=True)
        except BaseException:
            self.close()
            raise
        finally:
            self._terminal.close_slave()
        stream.on_resize = self._terminal.resize
        stream.on_signal = self._send_signal

    def pumps(self) -> list[Coroutine[Any, Any, None]]:
        """The work that carries output."""
        return [self._pump()]

    async def feed(self) -> None:
        """The work that carries input; its end is typed, as a person would."""
        await feed(self._stream.input, self._terminal.master)
        if self._stream.input.ended:
            os.write(self._terminal.master, self._terminal.end_of_file())

    def close(self) -> None:
        """Hang up."""
        self._stream.on_resize = None
        os.close(self._terminal.master)

    async def _pump(self) -> None:
        async def send(data: bytes) -> None:
            await self._stream.send_data(STDOUT, data)

        await pump(self._terminal.master, send, self.process.ended, QUIET_S)

    def _send_signal(self, name: str) -> None:
        """A terminal's keys reach its foreground group, which under a shell is not the shell's own."""
        self.process.send_signal(name, self._terminal.foreground())


def _start(guest: Guest, command: Command, stdin: int, stdout: int, stderr: int, *, terminal: bool = False) -> Process:
    return guest.children.start(
        command.argv,
        program=command.program,
        cwd=command.cwd,
        env=command.env,
        account=command.account,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        terminal=terminal,
    )


def read_timeout(value: object) -> Optional[float]:
    """Seconds, or None for no limit."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e9:
        return float(value)
    raise UsageError("timeout_s must be a positive number of seconds.")


def _exit_body(code: int, ending: Optional[Ending], started: float, *, timeout: bool) -> dict[str, Any]:
    return {
        "code": code,
        "signal": ending.signal if ending else None,
        "timeout": timeout,
        "duration_ms": round((time.monotonic() - started) * 1000),
    }
