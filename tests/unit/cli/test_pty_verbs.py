"""pty and pty-list: which terminal is asked for, how one stays at it, how it is left, who is listed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.cli import output, values
from cloudrouter.cli.ttymodes import Modes
from cloudrouter.client import commands, following, router
from cloudrouter.wire.errors import NotFound, Unreachable, UsageError

from .conftest import Cli, FakeTransport
from .fake_commands import FakeCommands

SESSION = "pty_7k2m9xqd"
PTY: dict[str, Any] = {
    "id": SESSION, "name": "build", "command": "make\x1b", "cwd": "/w", "started_at": None, "clients": 2,
    "cols": 80, "rows": 24,
}  # fmt: skip
EXEC = {"id": "exec_9", "command": "-bash", "cwd": "/home", "pid": 9, "started_at": None, "tty": True}


class FakeTerminal:
    """Stands where commands.run is: each stream plays the next of `plays`."""

    def __init__(self) -> None:
        self.plays: list[Any] = [{"code": 4}]
        self.shown = b""
        self.requests: list[dict[str, Any]] = []
        self.more: dict[str, Any] = {}

    def run(self, _stream: str, request: dict[str, Any], **more: Any) -> Any:
        self.requests.append(request)
        self.more = more
        play = self.plays.pop(0)
        if not (isinstance(play, Exception) and getattr(play, "early", False)):
            more["on_started"]({"session": SESSION, "pid": 7})
            if self.shown:
                more["on_stdout"](memoryview(self.shown))
        if isinstance(play, Exception):
            raise play
        return play


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> FakeTerminal:
    assert transport
    fake = FakeTerminal()
    monkeypatch.setattr(commands, "run", fake.run)
    monkeypatch.setattr(output, "is_terminal", lambda _stream: True)
    monkeypatch.setattr(following, "PAUSES_S", (0.0,))
    monkeypatch.setattr(router, "revive", lambda _transport: None)
    monkeypatch.setenv("NO_COLOR", "1")
    return fake


@pytest.mark.flag("pty --cwd")
@pytest.mark.flag("pty --name")
def test_pty_when_new_then_is_a_terminal_that_goes_on(cli: Cli, terminal: FakeTerminal) -> None:
    found = cli("pty", "--cwd", "src", "--name", "build", "x", "make", "-j2")
    assert found.code == 4
    assert terminal.requests == [{"op": "pty.open", "line": "make -j2", "cwd": "src", "name": "build"}]
    assert (terminal.more["tty"], terminal.more["stdin_fd"]) == (True, 0)
    assert "ctrl-p ctrl-q leaves it running" in found.err


def test_pty_when_words_stand_behind_two_dashes_then_they_are_a_program(cli: Cli, terminal: FakeTerminal) -> None:
    cli("pty", "x", "--", "htop", "-d", "5")
    assert terminal.requests == [{"op": "pty.open", "argv": ["htop", "-d", "5"]}]


@pytest.mark.flag("pty --session")
def test_pty_when_a_session_is_named_then_is_that_one(cli: Cli, terminal: FakeTerminal) -> None:
    assert cli("pty", "--session", "build", "x").code == 4
    assert terminal.requests == [{"op": "pty.open", "session": "build"}]
    for words in (["x", "top"], ["--name", "a", "x"], ["--cwd", "/", "x"], ["--kill", "b", "x"]):
        assert cli("pty", "--session", "build", *words).code == 255
    assert len(terminal.requests) == 1


@pytest.mark.flag("pty --detach-keys")
@pytest.mark.flag("pty --read-only")
def test_pty_when_keys_are_given_then_they_leave_it(cli: Cli, terminal: FakeTerminal) -> None:
    terminal.plays = [{"code": 0}] * 4
    cli("pty", "x")
    assert terminal.more["detach"].take(b"a\x10\x11") == b"a"
    assert terminal.more["detach"].left
    assert "ctrl-] leaves it running" in cli("pty", "--detach-keys", "ctrl-]", "x").err
    assert terminal.more["detach"].take(b"a\x10\x11\x1d") == b"a\x10\x11"
    assert terminal.more["detach"].left
    assert "leaves it" not in cli("pty", "--detach-keys", "none", "x").err
    cli("pty", "--read-only", "x")
    assert terminal.more["detach"].take(b"abc") == b""
    assert cli("pty", "--detach-keys", "shift-q", "x").code == 255


@pytest.mark.parametrize(
    ("text", "keys"),
    [("ctrl-p,ctrl-q", b"\x10\x11"), ("CTRL-A,d", b"\x01d"), ("~,.", b"~."), ("ctrl-@", b"\0"), ("none", b"")],
)
def test_keys_when_written_then_are_these_bytes(text: str, keys: bytes) -> None:
    assert values.detach_keys(text) == keys


def test_pty_when_left_then_says_how_to_come_back_and_resets_the_terminal(cli: Cli, terminal: FakeTerminal) -> None:
    terminal.plays = [{"detached": True}]
    terminal.shown = b"\x1b[?1049h\x1b[?25lvim"
    found = cli("pty", "x")
    assert found.code == 0
    assert found.out.endswith("vim\x1b[?1049l\x1b[?25h\x1b[0m\r")
    assert f"cloudrouter: left {SESSION}; it goes on:  cloudrouter pty x --session {SESSION}\n" in found.err


def test_pty_when_the_window_is_closed_then_the_status_is_the_signals(cli: Cli, terminal: FakeTerminal) -> None:
    terminal.plays = [{"code": 129, "signal": "HUP", "ended_here": True}]
    found = cli("pty", "x")
    assert found.code == 129
    assert "it goes on" in found.err


def test_pty_when_the_connection_breaks_then_is_joined_again_and_told_once(cli: Cli, terminal: FakeTerminal) -> None:
    early = Unreachable("No router.")
    early.early = True  # type: ignore[attr-defined]
    terminal.plays = [Unreachable("The stream broke."), early, early, {"code": 3}]
    found = cli("pty", "--name", "a", "x", "top")
    assert found.code == 3
    assert terminal.requests == [
        {"op": "pty.open", "line": "top", "name": "a"},
        *[{"op": "pty.open", "session": SESSION}] * 3,
    ]
    assert found.err.count("the connection broke") == 1


def test_pty_when_the_first_stream_breaks_before_it_is_there_then_no_second_one_is_made(
    cli: Cli, terminal: FakeTerminal
) -> None:
    early = Unreachable("No router.")
    early.early = True  # type: ignore[attr-defined]
    terminal.plays = [early]
    assert cli("pty", "x", "make").code == 255
    assert len(terminal.requests) == 1


def test_pty_when_it_has_ended_meanwhile_then_says_so(cli: Cli, terminal: FakeTerminal) -> None:
    terminal.plays = [Unreachable("broke"), NotFound("There is no terminal of that name.")]
    found = cli("pty", "x")
    assert found.code == 255
    assert "There is no terminal of that name." in found.err


def test_pty_when_the_guest_is_older_then_says_what_works(cli: Cli, terminal: FakeTerminal) -> None:
    terminal.plays = [UsageError("There is no operation 'pty.open'.")]
    found = cli("pty", "x")
    assert found.code == 255
    assert "`ssh -t` work in this one" in found.err


@pytest.mark.flag("pty --json")
def test_pty_when_there_is_no_terminal_then_is_refused(cli: Cli, machine: FakeCommands) -> None:
    for words in (["x"], ["--json", "x", "top"]):
        found = cli("pty", *words)
        assert found.code == 255
        assert "cloudrouter ssh x CMD" in found.err
    assert cli("pty", "--json", "x").json["error"]["code"] == "usage"
    assert machine.requests == []


@pytest.mark.flag("pty --kill")
@pytest.mark.flag("pty --json")
def test_pty_when_killed_then_is_told(cli: Cli, machine: FakeCommands) -> None:
    machine.answer = {"pty": PTY}
    assert cli("pty", "--kill", "build", "x").out == f"{SESSION}  ended\n"
    assert machine.requests == [{"op": "pty.kill", "session": "build"}]
    assert cli("pty", "--kill", "build", "--json", "x").json == {"pty": PTY}
    assert cli("pty", "--kill", "build", "x", "top").code == 255


@pytest.mark.flag("pty-list --json")
def test_pty_list_when_there_are_terminals_then_both_kinds_are_listed(cli: Cli, machine: FakeCommands) -> None:
    execs = {"execs": [EXEC, {**EXEC, "id": "exec_7", "tty": False}]}
    machine.answers = [{"ptys": [PTY]}, execs]
    assert cli("pty-list", "x").out.splitlines() == [
        "ID            NAME   CLIENTS  AGE  COMMAND   FOLDER",
        r"pty_7k2m9xqd  build  2        -    make\x1b  /w",
        "exec_9        -      ssh      -    -bash     /home",
    ]
    machine.answers = [{"ptys": [PTY]}, execs]
    assert cli("pty-list", "--json", "x").json == {"ptys": [PTY], "execs": [EXEC]}
    machine.answers = [{"ptys": []}, {"execs": []}]
    assert "cloudrouter pty x" in cli("pty-list", "x").err
    machine.answers = [{"ptys": [{"id": 5}]}]
    assert cli("pty-list", "x").code == 1


# -- what a program leaves switched on ------------------------------------------------------------------------------


def reset_after(data: bytes, cut: int) -> bytes:
    modes = Modes(len)
    modes(memoryview(data[:cut]))
    modes(memoryview(data[cut:]))
    return modes.reset()


@pytest.mark.parametrize(
    ("data", "reset"),
    [
        (b"plain \x1b[31mred", b""),
        (b"\x1b[?1049h", b"\x1b[?1049l\x1b[0m\r"),
        (b"\x1b[?1049h...\x1b[?1049l", b""),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l\x1b[0m\r"),
        (b"\x1b[?25l", b"\x1b[?25h\x1b[0m\r"),
        (b"\x1b[?25l\x1b[?25h", b""),
        (b"\x1b[?2026h\x1b[?7l", b""),
        (b"\x1b\x1b[?2004hx", b"\x1b[?2004l\x1b[0m\r"),
    ],
)
def test_modes_when_cut_anywhere_then_are_the_same(data: bytes, reset: bytes) -> None:
    assert {reset_after(data, cut) for cut in range(len(data) + 1)} == {reset}


@given(st.lists(st.binary(max_size=40)))
def test_modes_when_given_anything_then_pass_it_on_and_keep_little(pieces: list[bytes]) -> None:
    seen = bytearray()
    modes = Modes(seen.extend)
    for piece in pieces:
        modes(memoryview(piece))
    assert bytes(seen) == b"".join(pieces)
    assert len(modes._rest) <= 36
