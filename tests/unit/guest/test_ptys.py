"""Terminals that go on without their clients and that several share."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.unit.guest.machine import Machine, Outcome, alive, finish, memory_kib, processes_of, read_until, send, until

from cloudrouter.guest.screen import RESET
from cloudrouter.wire.ids import is_pty_id

TTY = {"cols": 101, "rows": 33, "term": "screen-256color"}
BASH = {"argv": ["bash", "--norc", "--noprofile", "-i"], "env": {"PS1": "> "}}


class Client:
    """Somebody at a terminal."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.outcome = Outcome()

    @property
    def started(self) -> dict[str, Any]:
        found: dict[str, Any] = next(text["started"] for text in self.outcome.texts if "started" in text)
        return found

    @property
    def session(self) -> str:
        return str(self.started["session"])

    async def sees(self, wanted: bytes) -> None:
        await read_until(self.stream, wanted, self.outcome)

    async def type(self, *messages: Any) -> None:
        await send(self.stream, *messages)

    async def end(self) -> dict[str, Any]:
        await finish(self.stream, self.outcome)
        found: dict[str, Any] = self.outcome.final
        return found


@asynccontextmanager
async def at(machine: Machine, **fields: Any) -> AsyncIterator[Client]:
    async with machine.connect() as stream:
        await send(stream, {"op": "pty.open", "tty": TTY, **fields})
        client = Client(stream)
        while not client.outcome.texts:
            client.outcome.take(await stream.recv())
        yield client


async def ptys(machine: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await machine.ask({"op": "pty.list"})).final["ptys"]
    return found


async def until_clients(machine: Machine, count: int) -> None:
    async with asyncio.timeout(10):
        while [one["clients"] for one in await ptys(machine)] != [count]:
            await asyncio.sleep(0.02)


async def test_a_session_when_opened_then_is_a_terminal_of_its_own_and_tells_its_true_code(own: Machine) -> None:
    async with at(own, line="test -t 0 -a -t 2 && stty size; echo $TERM; tty; exit 7", name="mine") as client:
        final = await client.end()
    assert is_pty_id(client.session)
    assert (client.started["name"], client.started["new"]) == ("mine", True)
    lines = client.outcome.stdout.decode().split("\r\n")
    assert lines[:2] == ["33 101", "screen-256color"]
    assert lines[2].startswith("/dev/pts/")
    assert (final["exit"]["code"], final["exit"]["signal"], final["exit"]["session"]) == (7, None, client.session)
    assert await ptys(own) == []


async def test_a_session_when_listed_then_says_what_runs_there_and_who_is_at_it(own: Machine) -> None:
    async with at(own, argv=["sleep", "60"], name="mine") as client:
        (one,) = await ptys(own)
        assert one["started_at"].endswith("Z")
        del one["started_at"]
        assert one == {
            "id": client.session,
            "name": "mine",
            "command": "sleep 60",
            "cwd": own.workspace,
            "clients": 1,
            "cols": 101,
            "rows": 33,
            "pid": client.started["pid"],
            "code": None,
        }


async def test_a_session_when_its_client_leaves_then_goes_on_and_shows_its_screen_to_who_comes_back(
    own: Machine,
) -> None:
    async with at(own, **BASH) as client:
        await client.type(b"echo one-$((40 + 2))\r")
        await client.sees(b"one-42\r\n")
        client.stream.transport.abort()
    await until_clients(own, 0)
    async with at(own, session=client.session) as again:
        await again.sees(b"one-42\r\n")
        assert again.outcome.stdout.startswith(RESET)
        await again.type(b"exit 5\r")
        assert (await again.end())["exit"]["code"] == 5


async def test_a_session_when_the_guest_is_killed_then_goes_on(own: Machine) -> None:
    async with at(own, **BASH, name="mine") as client:
        await client.type(b"echo one-$((40 + 2)); MINE=kept\r")
        await client.sees(b"one-42\r\n")
        own.stop(signal.SIGKILL)
    own.restart()
    async with at(own, session="mine") as again:
        await again.sees(b"one-42\r\n")
        await again.type(b"echo $MINE-here; exit 3\r")
        await again.sees(b"kept-here\r\n")
        assert (await again.end())["exit"]["code"] == 3


async def test_a_session_when_two_are_at_it_then_both_see_and_type_and_hear_the_end(own: Machine) -> None:
    async with at(own, **BASH) as one, at(own, session=one.session) as two:
        await two.type(b"echo two-$((1 + 1))\r")
        await one.sees(b"two-2\r\n")
        await one.type(b"echo one-$((1 + 2))\r")
        await two.sees(b"one-3\r\n")
        await one.type(b"exit 9\r")
        finals = await asyncio.gather(one.end(), two.end())
    assert [final["exit"]["code"] for final in finals] == [9, 9]


async def test_the_size_when_several_are_at_a_session_then_is_the_smallest_and_grows_when_it_leaves(
    own: Machine,
) -> None:
    async with at(own, **BASH) as one:
        async with at(own, session=one.session, tty={"cols": 90, "rows": 40}) as two:
            await two.type(b"echo size $(stty size).\r")
            await one.sees(b"size 33 90.")
            await two.type({"resize": [120, 20]})
            await one.type(b"echo size $(stty size).\r")
            await one.sees(b"size 20 101.")
            assert [(pty["cols"], pty["rows"]) for pty in await ptys(own)] == [(101, 20)]
        await until_clients(own, 1)
        await one.type(b"echo again $(stty size).\r")
        await one.sees(b"again 33 101.")


async def test_a_newcomer_when_a_program_draws_on_the_whole_screen_then_makes_it_draw_again(own: Machine) -> None:
    program = (
        "import os, signal\n"
        "def draw(*_): os.write(1, b'draw-%d.' % os.get_terminal_size(0).lines)\n"
        "signal.signal(signal.SIGWINCH, draw)\n"
        "os.write(1, b'up.')\n"
        "while True: signal.pause()\n"
    )
    async with at(own, argv=[sys.executable, "-c", program]) as one:
        await one.sees(b"up.")
        async with at(own, session=one.session) as two:
            await two.sees(b"draw-33.")


async def test_modes_when_set_long_ago_then_are_set_for_a_newcomer(own: Machine) -> None:
    line = "printf '\\033[?1049h\\033[?25l'; head -c 600000 /dev/zero | tr '\\0' x; printf end; sleep 60"
    async with at(own, line=line) as one:
        await one.sees(b"xend")
        async with at(own, session=one.session) as two:
            await two.sees(b"xend")
    begin = bytes(two.outcome.stdout)[len(RESET) :].split(b"x", 1)[0]
    assert begin == b"\x1b[?25l\x1b[?1049h"
    assert 200_000 < len(two.outcome.stdout) < 300_000


async def test_output_when_a_client_reads_slowly_then_is_whole_and_the_program_waits(own: Machine) -> None:
    line = "stty -opost; for n in 1 2 3 4 5 6 7 8 9; do head -c 900000 /dev/zero | tr '\\0' $n; done; printf end"
    async with at(own, line=line) as client:
        await asyncio.sleep(0.3)  # the slow client itself
        await client.end()
    assert bytes(client.outcome.stdout) == b"".join(b"%d" % n * 900_000 for n in range(1, 10)) + b"end"


async def test_a_client_when_it_takes_nothing_then_holds_nobody_up_and_gets_a_fresh_replay(own: Machine) -> None:
    line = "stty -opost; yes 'grüße, \033[1mWelt\033[0m' | head -c 12000000; printf end; read x; exit 4"
    async with at(own, line=f"read x; {line}") as one:
        async with at(own, session=one.session) as stuck:
            stuck.stream.transport.pause_reading()
            await one.type(b"\r")
            await one.sees(b"end")
            assert one.outcome.stdout.count("grüße, \033[1mWelt\033[0m\n".encode()) > 400_000
            stuck.stream.transport.resume_reading()
            await stuck.sees(b"end")
        shown = bytes(stuck.outcome.stdout)
        assert len(shown) < 6_000_000
        before, again = shown.split(RESET)[1:]
        before.decode()
        again.decode()
        await one.type(b"\r")
        assert (await one.end())["exit"]["code"] == 4


async def test_a_program_when_all_clients_are_stuck_then_goes_on_after_a_while(own: Machine) -> None:
    line = "stty -opost; head -c 30000000 /dev/zero; touch done; sleep 60"
    async with at(own, line=line) as stuck:
        stuck.stream.transport.pause_reading()
        await until(lambda: os.path.exists(f"{own.workspace}/done"), timeout_s=30)


async def test_a_signal_and_keys_when_sent_then_reach_the_foreground(own: Machine) -> None:
    async with at(own, **BASH) as client:
        await client.type(b"sh -c 'echo u''p; exec sleep 60'\r")
        await client.sees(b"up\r\n")
        await client.type({"signal": "INT"}, b"echo code $?.\r")
        await client.sees(b"code 130.")
        await client.type(b"cat\r", b"line\r", b"\x03", b"echo code $?.\r")
        await client.sees(b"code 130.")
    async with at(own, argv=["cat"]) as client:
        await client.type(b"line\r", {"eof": True})
        assert (await client.end())["exit"]["code"] == 0


async def test_a_session_when_killed_then_all_of_it_ends_and_its_clients_hear_how(own: Machine) -> None:
    async with at(own, **BASH, name="mine") as client:
        await client.type(b"(setsid sleep 77 &); sleep 78 &\recho u''p\r")
        await client.sees(b"up\r\n")
        await until(lambda: len(processes_of(f"CLOUDROUTER_PTY={client.session}")) == 3)
        killed = (await own.ask({"op": "pty.kill", "session": "mine"})).final["pty"]
        assert (killed["id"], killed["pid"], killed["code"]) == (client.session, None, 129)
        assert (await client.end())["exit"]["signal"] == "HUP"
    assert processes_of(f"CLOUDROUTER_PTY={client.session}") == []
    assert await ptys(own) == []


async def test_an_ending_when_nobody_is_there_then_is_kept_for_who_comes_and_told_once(own: Machine) -> None:
    async with at(own, line="while [ ! -e go ]; do sleep 0.02; done; echo last words; exit 6") as client:
        client.stream.transport.abort()
    await until_clients(own, 0)
    with open(f"{own.workspace}/go", "w"):
        pass
    async with asyncio.timeout(10):
        while [one["code"] for one in await ptys(own)] != [6]:
            await asyncio.sleep(0.02)
    async with at(own, session=client.session) as again:
        assert (await again.end())["exit"]["code"] == 6
    assert b"last words" in again.outcome.stdout
    assert await ptys(own) == []
    async with at(own, session=client.session) as third:
        assert (await third.end())["exit"]["code"] == 6


async def test_a_session_when_its_holder_dies_then_is_an_error_and_no_longer_there(own: Machine) -> None:
    async with at(own, argv=["sleep", "60"]) as client:
        with open(f"{own.state}/ptys/{client.session}/holder") as file:
            os.kill(int(file.read().split()[0]), signal.SIGKILL)
        error = (await client.end())["error"]
    assert error["code"] == "unreachable"
    await until(lambda: not alive(client.started["pid"]))  # the terminal has hung up
    assert await ptys(own) == []
    assert os.listdir(f"{own.state}/ptys") == []


async def test_a_holder_when_the_machine_ends_then_hangs_up_and_leaves_nothing(own: Machine) -> None:
    async with at(own, **BASH) as client:
        await client.sees(b"> ")
        with open(f"{own.state}/ptys/{client.session}/holder") as file:
            holder = int(file.read().split()[0])
        os.kill(holder, signal.SIGTERM)
        assert "exit" in await client.end()
    await until(lambda: not alive(holder))
    assert os.listdir(f"{own.state}/ptys") == []


async def test_a_holder_when_it_waits_then_is_small_and_knows_no_secret(own: Machine) -> None:
    async with at(own, argv=["sleep", "60"], env={"SECRET": "hush-hush"}) as client:
        with open(f"{own.state}/ptys/{client.session}/holder") as file:
            holder = int(file.read().split()[0])
        with open(f"/proc/{holder}/environ", "rb") as env, open(f"/proc/{holder}/cmdline", "rb") as words:
            assert b"hush" not in env.read() + words.read()
        assert memory_kib(holder, "Pss") < 9_000


async def test_a_program_when_it_closes_its_terminal_and_goes_on_then_is_not_killed(own: Machine) -> None:
    line = "exec </dev/null >/dev/null 2>&1; while [ ! -e go ]; do sleep 0.02; done; echo back >/dev/tty; exit 3"
    async with at(own, line=line) as client:
        await until(lambda: processes_of(f"CLOUDROUTER_PTY={client.session}") != [])
        await asyncio.sleep(0.3)
        with open(f"{own.workspace}/go", "w"):
            await client.sees(b"back")
        assert (await client.end())["exit"]["code"] == 3


async def test_a_name_when_it_is_taken_then_is_a_conflict_and_free_again_after_the_end(own: Machine) -> None:
    async with at(own, argv=["cat"], name="mine") as client:
        assert (await own.ask({"op": "pty.open", "argv": ["cat"], "name": "mine"})).error["code"] == "conflict"
        await client.type({"eof": True})
        await client.end()
    async with at(own, line="exit 2", name="mine") as client:
        assert (await client.end())["exit"]["code"] == 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"session": "pty_22222222"}, "not_found"),
        ({"session": "../jobs"}, "not_found"),
        ({"session": 3}, "usage"),
        ({"session": "pty_22222222", "line": "true"}, "usage"),
        ({"name": "a b"}, "usage"),
        ({"name": "pty_22222222"}, "usage"),
        ({"name": "-x"}, "usage"),
        ({"name": ""}, "usage"),
        ({"tty": {"cols": 0}}, "usage"),
        ({"cwd": "missing"}, "not_found"),
        ({"argv": ["no-such-command"]}, "not_found"),
        ({"argv": ["/tmp"]}, "usage"),
    ],
)
async def test_a_session_when_it_cannot_be_then_is_an_error_and_leaves_nothing(
    own: Machine, fields: dict[str, Any], code: str
) -> None:
    assert (await own.ask({"op": "pty.open", **fields})).error["code"] == code
    assert await ptys(own) == []
    assert not os.path.isdir(f"{own.state}/ptys") or os.listdir(f"{own.state}/ptys") == []


async def test_sessions_when_many_open_at_once_then_each_is_itself(own: Machine) -> None:
    async def one(number: int) -> tuple[str, int]:
        async with at(own, line=f"echo {number}; exit {number}") as client:
            final = await client.end()
        return client.outcome.stdout.decode(), final["exit"]["code"]

    assert await asyncio.gather(*(one(number) for number in range(12))) == [(f"{n}\r\n", n) for n in range(12)]
