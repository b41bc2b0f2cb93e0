"""ssh and exec: what is asked of the machine, and what comes of its answers."""

from __future__ import annotations

from typing import Any

import pytest

from cloudrouter.cli import output
from cloudrouter.cli.execution import Capture
from cloudrouter.wire.errors import NotFound

from .conftest import Cli, FakeTransport
from .fake_commands import FakeCommands


@pytest.mark.parametrize("verb", ["ssh", "exec"])
def test_ssh_when_the_command_ends_then_its_status_and_output_are_ours(
    cli: Cli, machine: FakeCommands, transport: FakeTransport, verb: str
) -> None:
    machine.output = [(1, b"out\xff\n"), (2, b"err\n")]
    machine.end["code"] = 7
    found = cli(verb, "my-project", "exit 7")
    assert found.code == 7
    assert found.err == "err\n"
    assert transport.streams == ["/v1/machines/my-project/stream"]
    assert machine.requests == [{"op": "exec", "line": "exit 7"}]
    assert machine.more["tty"] is False
    assert machine.more["stdin_fd"] == 0


def test_ssh_when_output_is_binary_then_arrives_byte_exact(
    machine: FakeCommands, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from cloudrouter.cli.main import run

    data = bytes(range(256)) * 1000
    machine.output = [(1, data)]
    assert run(["ssh", "x", "cat"]) == 0
    assert capfdbinary.readouterr().out == data


@pytest.mark.flag("ssh --cwd")
@pytest.mark.flag("exec --cwd")
@pytest.mark.flag("ssh --timeout")
@pytest.mark.flag("exec --timeout")
@pytest.mark.flag("ssh --env")
@pytest.mark.flag("exec --env")
@pytest.mark.parametrize("verb", ["ssh", "exec"])
@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["x", "echo", "a  b", "$HOME"], {"op": "exec", "line": "echo a  b $HOME"}),
        (["x", "--", "echo", "a  b", "$HOME"], {"op": "exec", "argv": ["echo", "a  b", "$HOME"]}),
        (["x"], {"op": "exec"}),
        (
            ["--cwd", "src", "--timeout", "5m", "x", "make"],
            {"op": "exec", "line": "make", "cwd": "src", "timeout_s": 300.0},
        ),
        (
            ["--env", "A=b=c", "--env", "MINE", "x", "env"],
            {"op": "exec", "line": "env", "env": {"A": "b=c", "MINE": "own"}},
        ),
    ],
)
def test_ssh_when_called_then_asks_for_exactly_that(
    cli: Cli,
    machine: FakeCommands,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    words: list[str],
    request_: dict[str, Any],
) -> None:
    monkeypatch.setenv("MINE", "own")
    assert cli(verb, *words).code == 0
    assert machine.requests == [request_]


@pytest.mark.flag("ssh --no-stdin")
@pytest.mark.flag("exec --no-stdin")
@pytest.mark.parametrize("verb", ["ssh", "exec"])
def test_ssh_when_no_stdin_is_wanted_then_gives_none(cli: Cli, machine: FakeCommands, verb: str) -> None:
    cli(verb, "-n", "x", "cat")
    assert machine.more["stdin_fd"] is None


def test_ssh_when_the_time_is_over_then_124_and_a_sentence(cli: Cli, machine: FakeCommands) -> None:
    machine.end = {"code": 124, "timeout": True}
    found = cli("ssh", "--timeout", "2", "x", "sleep 9")
    assert (found.code, found.err) == (124, "cloudrouter: the command was ended after 2 s (--timeout).\n")


def test_ssh_when_we_fail_then_255_and_our_name_first(cli: Cli, machine: FakeCommands) -> None:
    machine.failure = NotFound("There is no machine 'x'.", fix="Did you mean y?", next="cloudrouter status y")
    found = cli("ssh", "x", "true")
    assert (found.code, found.out) == (255, "")
    assert found.err.splitlines() == [
        "cloudrouter: There is no machine 'x'.",
        "Fix:  Did you mean y?",
        "Next: cloudrouter status y",
    ]
    found = cli("ssh", "--json", "x", "true")
    assert (found.code, found.json["error"]["code"]) == (255, "not_found")


def test_ssh_when_interrupted_twice_then_130(cli: Cli, machine: FakeCommands) -> None:
    machine.failure = KeyboardInterrupt()
    assert cli("ssh", "x", "sleep 9").code == 130


@pytest.mark.flag("ssh --json")
@pytest.mark.flag("exec --json")
@pytest.mark.parametrize("verb", ["ssh", "exec"])
def test_ssh_as_json_when_the_command_ends_then_has_the_stable_schema(
    cli: Cli, machine: FakeCommands, verb: str
) -> None:
    machine.output = [(1, "gr\u00fc".encode()[:3]), (1, "gr\u00fc".encode()[3:]), (2, b"\xff")]
    machine.end["code"] = 3
    found = cli(verb, "--json", "x", "cmd", "--json")
    assert found.code == 3
    assert found.err == ""
    assert found.json == {
        "exit_code": 3, "stdout": "grü", "stderr": "\ufffd", "truncated": False, "duration_ms": 12, "job": None,
    }  # fmt: skip


def test_capture_when_the_limit_is_reached_then_keeps_the_beginning_and_says_so() -> None:
    capture = Capture(limit=4)
    capture(memoryview(b"abc"))
    assert (capture.text(), capture.truncated) == ("abc", False)
    capture(memoryview(b"def"))
    capture(memoryview(b"ghi"))
    assert (capture.text(), capture.truncated) == ("abcd", True)


@pytest.mark.flag("ssh --bg")
@pytest.mark.flag("exec --bg")
@pytest.mark.parametrize("verb", ["ssh", "exec"])
def test_ssh_in_the_background_when_started_then_prints_the_job(cli: Cli, machine: FakeCommands, verb: str) -> None:
    machine.answer = {"job": {"id": "job_4tq8w2", "state": "running"}}
    found = cli(verb, "x", "--bg", "--cwd", "web", "npm run dev")
    assert (found.code, found.out) == (0, "job_4tq8w2\n")
    assert machine.requests == [{"op": "job.start", "line": "npm run dev", "cwd": "web"}]
    found = cli(verb, "--bg", "--json", "x", "npm run dev")
    assert found.json["job"] == machine.answer["job"]
    assert (found.json["exit_code"], found.json["stdout"]) == (None, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-t", "x", "top"], "--tty needs a terminal on stdin, and there is none."),
        (["-t", "-T", "x", "top"], "--tty and --no-tty exclude each other."),
        (["--detach-on-disconnect", "--bg", "x", "y"], "--bg and --detach-on-disconnect exclude each other."),
        (["--detach-on-disconnect", "x"], "--detach-on-disconnect needs a command."),
        (["--detach-on-disconnect", "--timeout", "5", "x", "y"], "--timeout does not work with --detach-on-disc"),
        (["-t", "--json", "x", "top"], "A terminal goes neither with --json nor with --bg."),
        (["--bg", "x"], "--bg needs a command."),
        (["--bg", "--timeout", "5", "x", "top"], "--timeout does not work with --bg."),
        (["--env", "NOT_SET_ANYWHERE", "x", "env"], "--env NOT_SET_ANYWHERE asks for your own value"),
        (["--env", "=secret", "x", "env"], "--env needs a name before the `=`."),
    ],
)
def test_ssh_when_flags_contradict_then_nothing_is_asked(
    cli: Cli, machine: FakeCommands, transport: FakeTransport, words: list[str], message: str
) -> None:
    found = cli("ssh", *words)
    assert found.code == 255
    assert found.err.startswith(f"cloudrouter: {message}")
    assert "secret" not in found.err
    assert "Fix:" in found.err
    assert machine.requests == transport.streams == []


@pytest.mark.flag("ssh --tty")
@pytest.mark.flag("exec --tty")
@pytest.mark.flag("ssh --no-tty")
@pytest.mark.flag("exec --no-tty")
@pytest.mark.parametrize("verb", ["ssh", "exec"])
@pytest.mark.parametrize(
    ("words", "wanted"),
    [(["x", "top"], False), (["--tty", "x", "top"], True), (["x"], True), (["--no-tty", "x"], False)],
)
def test_ssh_when_at_a_terminal_then_commands_have_one_only_where_it_is_wanted(
    cli: Cli, machine: FakeCommands, monkeypatch: pytest.MonkeyPatch, verb: str, words: list[str], wanted: object
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda _stream: True)
    assert cli(verb, *words).code == 0
    assert machine.more["tty"] is wanted


def test_ssh_when_it_is_to_outlive_us_and_has_a_terminal_then_is_refused(
    cli: Cli, machine: FakeCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda _stream: True)
    for words in (["-t", "x", "top"], ["x"]):
        found = cli("ssh", "--detach-on-disconnect", *words)
        assert found.code == 255
        assert "works without --tty" in found.err
    assert machine.requests == []
