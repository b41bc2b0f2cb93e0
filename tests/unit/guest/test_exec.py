"""Foreground commands: what a person knows from a local shell must hold here."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time

import pytest
from tests.unit.guest.machine import (
    MACHINE_ID,
    NAMED_SIGNALS,
    Machine,
    Outcome,
    alive,
    finish,
    memory_kib,
    processes_of,
    read_until,
    send,
    until,
)

from cloudrouter.wire.streams import CHUNK, WINDOW


async def test_a_line_when_run_then_its_outputs_stay_apart_and_its_code_is_exact(shared: Machine) -> None:
    outcome = await shared.run("printf out; printf err >&2; exit 7")
    assert (outcome.stdout, outcome.stderr) == (b"out", b"err")
    assert outcome.final["exit"]["code"] == 7
    assert outcome.final["exit"]["signal"] is None
    assert outcome.final["exit"]["timeout"] is False
    assert 0 <= outcome.final["exit"]["duration_ms"] < 20_000


async def test_argv_when_run_then_reaches_the_program_as_it_is(shared: Machine) -> None:
    words = ["a b", "$HOME", "", "'\"", "*", "ü", os.fsdecode(b"\xff")]
    outcome = await shared.ask({"op": "exec", "argv": ["printf", "[%s]", *words]})
    assert outcome.stdout == b"".join(b"[%b]" % os.fsencode(word) for word in words)


async def test_neither_line_nor_argv_when_asked_then_a_login_shell_reads_stdin(shared: Machine) -> None:
    outcome = await shared.ask({"op": "exec", "stdin": True}, b"echo $0; exit 3\n")
    assert outcome.stdout.startswith(b"-")
    assert outcome.code == 3


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"line": "x", "argv": ["x"]}, "usage"),
        ({"argv": []}, "usage"),
        ({"argv": "ls"}, "usage"),
        ({"argv": ["a\0b"]}, "usage"),
        ({"line": "a\0b"}, "usage"),
        ({"line": 3}, "usage"),
        ({"line": "x", "env": {"A=B": "c"}}, "usage"),
        ({"line": "x", "env": {"A": 1}}, "usage"),
        ({"line": "x", "env": []}, "usage"),
        ({"line": "x", "timeout_s": -1}, "usage"),
        ({"line": "x", "timeout_s": True}, "usage"),
        ({"line": "x", "tty": True}, "usage"),
        ({"line": "x", "tty": {"cols": 0}}, "usage"),
        ({"line": "x", "cwd": "a\0b"}, "usage"),
        ({"line": "x", "cwd": "\ud800"}, "usage"),
        ({"line": "x", "cwd": "not/there"}, "not_found"),
        ({"line": "x", "cwd": "/etc/passwd"}, "not_found"),
    ],
)
async def test_a_request_when_it_cannot_be_right_then_gets_an_error(
    shared: Machine, fields: dict[str, object], code: str
) -> None:
    assert (await shared.ask({"op": "exec", **fields})).error["code"] == code


async def test_cwd_when_given_then_is_absolute_relative_or_home(own: Machine) -> None:
    os.makedirs(f"{own.workspace}/deep/er")
    for cwd, place in (
        (None, own.workspace),
        ("deep/er", f"{own.workspace}/deep/er"),
        ("~", own.home),
        ("~/workspace/deep", f"{own.workspace}/deep"),
        ("/tmp", "/tmp"),
    ):
        outcome = await own.run("pwd", cwd=cwd)
        assert outcome.stdout.decode() == place + "\n"


async def test_a_command_when_it_cannot_be_started_then_has_a_shells_code_and_sentence(own: Machine) -> None:
    with open(f"{own.workspace}/plain", "w") as file:
        file.write("no program")
    with open(f"{own.workspace}/script", "w") as file:
        file.write("#!/not/there\n")
    os.chmod(f"{own.workspace}/script", 0o755)
    for word, code, sentence in (
        ("no-such-command", 127, b"no-such-command: command not found\n"),
        ("./missing", 127, b"./missing: no such file or directory\n"),
        ("./plain", 126, b"./plain: permission denied\n"),
        ("/tmp", 126, b"/tmp: permission denied\n"),
    ):
        outcome = await own.ask({"op": "exec", "argv": [word]})
        assert (outcome.code, outcome.stderr) == (code, sentence)
    outcome = await own.ask({"op": "exec", "argv": [f"{own.workspace}/script"]})
    assert outcome.code == 127
    assert b"interpreter" in outcome.stderr


async def test_environment_when_a_command_runs_then_has_what_it_needs_and_no_boot_variables(shared: Machine) -> None:
    outcome = await shared.run("env -0", env={"MINE": "a\nb", "LANG": "de_DE.UTF-8"})
    env = dict(item.split("=", 1) for item in outcome.stdout.decode().split("\0") if item)
    assert env["HOME"] == shared.home
    assert env["USER"] == env["LOGNAME"]
    assert env["SHELL"].startswith("/")
    assert env["PATH"].split(":")[0] == f"{shared.home}/.local/bin"
    assert "/usr/local/bin" in env["PATH"].split(":")
    assert env["MINE"] == "a\nb"
    assert env["LANG"] == "de_DE.UTF-8"
    assert "TERM" not in env
    assert "CI" not in env
    assert {name for name in env if name.startswith("CLOUDROUTER")} == {"CLOUDROUTER_MACHINE_ID", "CLOUDROUTER_PATH"}
    assert env["CLOUDROUTER_PATH"] == env["PATH"]
    assert env["CLOUDROUTER_MACHINE_ID"] == MACHINE_ID


async def test_stdin_when_not_asked_for_then_is_empty(shared: Machine) -> None:
    outcome = await shared.run("cat; readlink /proc/self/fd/0")
    assert outcome.stdout == b"/dev/null\n"


async def test_stdin_when_streamed_then_arrives_whole_and_ends_at_eof(shared: Machine) -> None:
    data = os.urandom(3 * WINDOW + 17)
    async with shared.connect() as stream:
        await send(stream, {"op": "exec", "argv": ["sha256sum"], "stdin": True})
        outcome, window, sent = Outcome(), WINDOW, 0
        while sent < len(data):
            if not window:
                outcome.take(await stream.recv())
                window += outcome.texts[-1].get("window", 0)
                continue
            piece = data[sent : sent + min(CHUNK, window)]
            await stream.send(piece)
            sent += len(piece)
            window -= len(piece)
        await send(stream, {"eof": True})
        await finish(stream, outcome)
    assert outcome.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


async def test_the_window_when_passed_then_the_stream_fails_and_nothing_is_kept(shared: Machine) -> None:
    async with shared.connect() as stream:
        await send(stream, {"op": "exec", "argv": ["sleep", "60"], "stdin": True})
        for _ in range(WINDOW // CHUNK):
            await stream.send(b"x" * CHUNK)
        await stream.send(b"x" * 70_000)  # a pipe's worth was taken from the window, and not granted again
        outcome = await finish(stream)
    assert outcome.error["code"] == "usage"
    assert not any("window" in text for text in outcome.texts)


async def test_a_signal_when_stdin_is_stuck_then_arrives(shared: Machine) -> None:
    async with shared.connect() as stream:
        await send(stream, {"op": "exec", "argv": ["sleep", "60"], "stdin": True})
        for _ in range(WINDOW // CHUNK):
            await stream.send(b"x" * CHUNK)
        await send(stream, {"signal": "INT"})
        outcome = await finish(stream)
    assert outcome.final["exit"]["code"] == 130
    assert outcome.final["exit"]["signal"] == "INT"


async def test_a_reader_when_it_closes_its_stdin_then_the_command_goes_on(shared: Machine) -> None:
    async with shared.connect() as stream:
        await send(
            stream, {"op": "exec", "line": "head -c 1 >/dev/null; exec <&-; echo closed; sleep 0.2", "stdin": True}
        )
        for _ in range(WINDOW // CHUNK):
            await stream.send(b"x" * CHUNK)
        outcome = await finish(stream)
    assert (outcome.stdout, outcome.code) == (b"closed\n", 0)


async def test_output_when_it_comes_then_is_sent_at_once(shared: Machine) -> None:
    async with shared.connect() as stream:
        await send(stream, {"op": "exec", "line": "printf first; read x; printf second", "stdin": True})
        outcome = Outcome()
        await read_until(stream, b"first", outcome)  # the command waits for us now
        await stream.send(b"go\n")
        await finish(stream, outcome)
    assert outcome.stdout == b"firstsecond"


async def test_output_when_it_is_200_mb_then_arrives_byte_for_byte(shared: Machine) -> None:
    script = (
        "import hashlib,os,sys; h=hashlib.sha256(); block=os.urandom(1<<20)\n"
        "for n in range(200):\n"
        "    part = n.to_bytes(8,'big') + block\n"
        "    h.update(part); sys.stdout.buffer.write(part)\n"
        "sys.stderr.write(h.hexdigest())"
    )
    seen, size, outcome = hashlib.sha256(), 0, Outcome()
    async with shared.connect() as stream:
        await send(stream, {"op": "exec", "argv": ["python3", "-c", script]})
        async for message in stream:
            if isinstance(message, bytes) and message[0] == 1:
                seen.update(message[1:])
                size += len(message) - 1
                assert len(message) <= CHUNK + 1
            else:
                outcome.take(message)
    assert outcome.code == 0
    assert size == 200 * ((1 << 20) + 8)
    assert outcome.stderr.decode() == seen.hexdigest()


async def test_a_slow_reader_when_output_is_huge_then_costs_the_guest_no_memory(own: Machine) -> None:
    await own.run("true")
    async with own.connect(max_queue=1) as stream:
        await send(stream, {"op": "exec", "line": "head -c 300000000 /dev/zero; echo done >&2"})
        await asyncio.sleep(0.5)  # the time in which an unbounded buffer would grow
        assert memory_kib(own.pid, "VmRSS") < 60_000
        outcome, size = Outcome(), 0
        async for message in stream:
            if isinstance(message, bytes) and message[0] == 1:
                size += len(message) - 1
            else:
                outcome.take(message)
    assert size == 300_000_000
    assert outcome.stderr == b"done\n"
    assert memory_kib(own.pid, "VmHWM") < 60_000


async def test_a_last_piece_when_the_reader_is_slow_then_is_not_cut_off(shared: Machine) -> None:
    async with shared.connect(max_queue=1) as stream:
        await send(stream, {"op": "exec", "line": "head -c 8000000 /dev/zero"})
        await asyncio.sleep(1.0)  # the command has ended, its output fills every buffer
        outcome = await finish(stream)
    assert len(outcome.stdout) == 8_000_000
    assert outcome.code == 0


@pytest.mark.parametrize(("name", "number"), [("TERM", 15), ("KILL", 9), ("HUP", 1), ("USR1", 10), ("QUIT", 3)])
async def test_a_signal_when_it_kills_then_the_code_says_which(shared: Machine, name: str, number: int) -> None:
    async with shared.connect() as stream:
        # No shell: bash ignores QUIT until it has become the program.
        pause = "import signal; print('up', flush=True); signal.pause()"
        await send(stream, {"op": "exec", "argv": ["python3", "-c", pause]})
        outcome = Outcome()
        await read_until(stream, b"up", outcome)
        await send(stream, {"signal": name})
        await finish(stream, outcome)
    assert outcome.final["exit"]["code"] == 128 + number
    assert outcome.final["exit"]["signal"] == name


async def test_signals_when_the_guest_was_started_with_them_ignored_then_work_all_the_same() -> None:
    machine = Machine(prefix=["sh", "-c", "trap '' INT QUIT HUP; exec \"$@\"", "sh"])
    try:
        outcome = await machine.ask({"op": "exec", "argv": ["sleep", "60"]}, {"signal": "INT"})
        assert outcome.code == 130
        outcome = await machine.run("grep -E 'Sig(Ign|Blk)' /proc/self/status")
        assert {int(line.split()[1], 16) & NAMED_SIGNALS for line in outcome.stdout.splitlines()} == {0}
    finally:
        machine.remove()


async def test_a_grandchild_when_it_holds_the_output_then_the_end_comes_all_the_same(shared: Machine) -> None:
    started = time.monotonic()
    outcome = await shared.run("sleep 30 & echo $!; printf last")
    assert time.monotonic() - started < 5
    pid = int(outcome.stdout.split()[0])
    assert outcome.stdout.endswith(b"last")
    assert alive(pid)
    os.kill(pid, 9)


async def test_a_grandchild_when_it_goes_on_writing_then_is_not_killed_by_it(shared: Machine) -> None:
    line = "(exec 3>&1; sleep 0.6; head -c 500000 /dev/zero; echo $? > survived) & echo started"
    outcome = await shared.run(line)
    assert outcome.stdout == b"started\n"
    await until(
        lambda: os.path.exists(f"{shared.workspace}/survived") and os.path.getsize(f"{shared.workspace}/survived")
    )
    with open(f"{shared.workspace}/survived") as file:
        assert file.read() == "0\n"
    os.unlink(f"{shared.workspace}/survived")


async def test_a_timeout_when_it_passes_then_the_group_ends_with_124(shared: Machine) -> None:
    outcome = await shared.run("sleep 60 & echo $!; wait", timeout_s=0.3)
    assert outcome.final["exit"]["code"] == 124
    assert outcome.final["exit"]["timeout"] is True
    assert outcome.final["exit"]["duration_ms"] >= 300
    assert not alive(int(outcome.stdout))


async def test_a_timeout_when_term_is_ignored_then_kill_follows(shared: Machine) -> None:
    started = time.monotonic()
    outcome = await shared.run("trap '' TERM; echo $$; while :; do sleep 0.1; done", timeout_s=0.2)
    assert 5.0 <= time.monotonic() - started < 12
    assert outcome.final["exit"] | {"duration_ms": 0} == {
        "code": 124,
        "signal": "KILL",
        "timeout": True,
        "duration_ms": 0,
    }
    assert not alive(int(outcome.stdout))


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_disconnect_when_a_command_runs_then_nothing_of_it_is_left(own: Machine, stubborn: bool) -> None:
    trap = "trap '' HUP TERM; " if stubborn else "trap 'echo told > told; exit' TERM; trap '' HUP; "
    async with own.connect() as stream:
        await send(
            stream, {"op": "exec", "line": f"{trap} sleep 77 & (sleep 78 & sleep 79) & echo $$; wait; wait; sleep 80"}
        )
        outcome = Outcome()
        await read_until(stream, b"\n", outcome)
        await until(lambda: len(processes_of(own.root)) >= 5)
        stream.transport.abort()
    await until(lambda: processes_of(own.root) == [own.pid])
    await until(lambda: not os.path.exists(f"/proc/{int(outcome.stdout)}"))  # no zombie either
    if not stubborn:
        with open(f"{own.workspace}/told") as file:
            assert file.read() == "told\n"
    assert (await own.ask({"op": "health"})).final["health"]["execs_running"] == 0


async def test_a_close_when_a_command_runs_then_ends_it_too(own: Machine) -> None:
    async with own.connect() as stream:
        await send(stream, {"op": "exec", "line": "echo up; sleep 60"})
        await read_until(stream, b"up", Outcome())
    await until(lambda: processes_of(own.root) == [own.pid])


async def test_the_first_message_when_it_names_the_process_then_it_is_its_pid(shared: Machine) -> None:
    outcome = await shared.run("echo $$")
    assert outcome.texts[0] == {"started": {"pid": int(outcome.stdout)}}
    assert json.dumps(outcome.texts[-1]).startswith('{"exit"')
