"""Commands on a terminal."""

from __future__ import annotations

import os
import signal

from tests.unit.guest.machine import Machine, Outcome, alive, finish, processes_of, read_until, send, until

TTY = {"cols": 101, "rows": 33, "term": "screen-256color"}


async def test_a_terminal_when_wanted_then_has_its_size_and_kind_and_is_the_controlling_one(shared: Machine) -> None:
    line = "test -t 0 -a -t 1 -a -t 2 && echo all; stty size; echo $TERM; tty; echo out >/dev/tty; echo err >&2"
    outcome = await shared.run(line, tty=TTY)
    lines = outcome.stdout.decode().split("\r\n")
    assert lines[:3] == ["all", "33 101", "screen-256color"]
    assert lines[3].startswith("/dev/pts/")
    assert lines[4:6] == ["out", "err"]
    assert outcome.stderr == b""
    assert outcome.code == 0


async def test_input_when_typed_then_is_echoed_and_read(shared: Machine) -> None:
    outcome = await shared.ask({"op": "exec", "line": "read x; echo got $x", "tty": TTY}, b"word\r")
    assert outcome.stdout == b"word\r\ngot word\r\n"


async def test_the_interrupt_key_when_typed_then_ends_the_command(shared: Machine) -> None:
    async with shared.connect() as stream:
        await send(stream, {"op": "exec", "argv": ["sh", "-c", "echo up; exec sleep 60"], "tty": TTY})
        outcome = Outcome()
        await read_until(stream, b"up", outcome)
        await stream.send(b"\x03")
        await finish(stream, outcome)
    assert outcome.final["exit"]["code"] == 130
    assert b"^C" in outcome.stdout


async def test_a_signal_when_sent_then_reaches_the_foreground_job_of_a_shell(shared: Machine) -> None:
    async with shared.connect() as stream:
        await send(stream, {"op": "exec", "argv": ["bash", "--norc", "-i"], "tty": TTY}, b"PS1='> '\r")
        outcome = Outcome()
        await stream.send(b"sh -c 'echo u''p; exec sleep 60'\r")
        await read_until(stream, b"up\r\n", outcome)
        await send(stream, {"signal": "INT"}, b"echo code $?.\r")
        await read_until(stream, b"code 130.", outcome)
        await stream.send(b"exit 4\r")
        await finish(stream, outcome)
    assert outcome.code == 4


async def test_a_resize_when_sent_then_the_command_is_told(shared: Machine) -> None:
    async with shared.connect() as stream:
        line = "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.05; done"
        await send(stream, {"op": "exec", "argv": ["bash", "-c", line], "tty": TTY})
        outcome = Outcome()
        await read_until(stream, b"up", outcome)
        await send(stream, {"resize": [55, 44]})
        await finish(stream, outcome)
    assert b"44 55" in outcome.stdout


async def test_the_end_of_input_when_sent_then_is_typed(shared: Machine) -> None:
    outcome = await shared.ask({"op": "exec", "argv": ["cat"], "tty": TTY}, b"line\r", {"eof": True})
    assert outcome.code == 0
    assert outcome.stdout.startswith(b"line\r\nline\r\n")


async def test_the_end_when_a_grandchild_holds_the_terminal_then_comes_all_the_same(shared: Machine) -> None:
    outcome = await shared.run("trap '' HUP; sleep 30 & echo $!; echo last", tty=TTY)
    pid = int(outcome.stdout.split()[0])
    assert outcome.stdout.endswith(b"last\r\n")
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


async def test_much_output_when_on_a_terminal_then_is_whole(shared: Machine) -> None:
    outcome = await shared.run("stty -opost; head -c 3000000 /dev/zero | tr '\\0' x; printf end", tty=TTY)
    assert outcome.stdout == b"x" * 3_000_000 + b"end"


async def test_a_disconnect_when_a_shell_has_jobs_then_all_of_them_end(own: Machine) -> None:
    async with own.connect() as stream:
        await send(stream, {"op": "exec", "argv": ["bash", "--norc", "-i"], "tty": TTY})
        await stream.send(b"sleep 77 &\rsleep 78 &\recho u''p\r")
        await read_until(stream, b"up\r\n", Outcome())
        await until(lambda: len(processes_of(own.root)) == 4)
        stream.transport.abort()
    await until(lambda: processes_of(own.root) == [own.pid])
