"""ssh, exec, ps, logs: what is asked of the machine, and what comes of its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloudrouter.cli.execution import Capture
from cloudrouter.client import commands
from cloudrouter.wire.errors import NotFound, Unreachable

from .conftest import Cli, FakeTransport


class FakeCommands:
    """Stands where client.commands is: plays the machine's output and final message."""

    def __init__(self) -> None:
        self.output: list[tuple[int, bytes]] = []
        self.end: dict[str, Any] = {"code": 0, "signal": None, "timeout": False, "duration_ms": 12}
        self.answer: dict[str, Any] = {}
        self.failure: BaseException | None = None
        self.requests: list[dict[str, Any]] = []
        self.more: dict[str, Any] = {}

    def run(self, _stream: str, request: dict[str, Any], *, on_stdout: Any, on_stderr: Any, **more: Any) -> Any:
        self.requests.append(request)
        self.more = more
        if self.failure:
            raise self.failure
        for channel, data in self.output:
            (on_stdout if channel == 1 else on_stderr)(memoryview(data))
        return self.end

    def ask(self, _stream: str, request: dict[str, Any], **_more: Any) -> Any:
        self.requests.append(request)
        if self.failure:
            raise self.failure
        return self.answer


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> FakeCommands:
    assert transport
    fake = FakeCommands()
    monkeypatch.setattr(commands, "run", fake.run)
    monkeypatch.setattr(commands, "ask", fake.ask)
    return fake


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
    cli: Cli, machine: FakeCommands, monkeypatch: pytest.MonkeyPatch, words: list[str], request_: dict[str, Any]
) -> None:
    monkeypatch.setenv("MINE", "own")
    assert cli("ssh", *words).code == 0
    assert machine.requests == [request_]


def test_ssh_when_no_stdin_is_wanted_then_gives_none(cli: Cli, machine: FakeCommands) -> None:
    cli("ssh", "-n", "x", "cat")
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


def test_ssh_as_json_when_the_command_ends_then_has_the_stable_schema(cli: Cli, machine: FakeCommands) -> None:
    machine.output = [(1, "gr\u00fc".encode()[:3]), (1, "gr\u00fc".encode()[3:]), (2, b"\xff")]
    machine.end["code"] = 3
    found = cli("ssh", "--json", "x", "cmd", "--json")
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


def test_ssh_in_the_background_when_started_then_prints_the_job(cli: Cli, machine: FakeCommands) -> None:
    machine.answer = {"job": {"id": "job_4tq8w2", "state": "running"}}
    found = cli("ssh", "x", "--bg", "--cwd", "web", "npm run dev")
    assert (found.code, found.out) == (0, "job_4tq8w2\n")
    assert machine.requests == [{"op": "job.start", "line": "npm run dev", "cwd": "web"}]
    found = cli("ssh", "--bg", "--json", "x", "npm run dev")
    assert found.json["job"] == machine.answer["job"]
    assert (found.json["exit_code"], found.json["stdout"]) == (None, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-t", "x", "top"], "--tty needs a terminal on stdin, and there is none."),
        (["-t", "-T", "x", "top"], "--tty and --no-tty exclude each other."),
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


def test_ps_when_there_are_jobs_then_prints_a_table(cli: Cli, machine: FakeCommands) -> None:
    jobs = [
        {"id": "job_4tq8w2", "state": "running", "command": "npm run dev", "started_at": None},
        {"id": "job_222222", "state": "exited", "code": 0, "command": ["make", "x\x1b"], "started_at": None},
    ]
    machine.answer = {"jobs": jobs}
    found = cli("ps", "x")
    assert found.out.splitlines() == [
        "JOB         STATE     AGE  COMMAND",
        "job_4tq8w2  running   -    npm run dev",
        "job_222222  exited 0  -    make x\\x1b",
    ]
    assert cli("ps", "x", "--json").json == {"jobs": jobs}


def test_ps_when_there_are_none_then_gives_a_hint(cli: Cli, machine: FakeCommands) -> None:
    machine.answer = {"jobs": []}
    found = cli("ps", "x")
    assert (found.code, found.out) == (0, "")
    assert "cloudrouter ssh x --bg" in found.err


def test_logs_when_read_then_streams_stay_apart_and_the_state_is_told(cli: Cli, machine: FakeCommands) -> None:
    machine.output = [(1, b"to stdout\x1b[1m\n"), (2, b"to stderr\n")]
    machine.end = {"state": "exited", "code": 3}
    found = cli("logs", "x", "job_4tq8w2", "-f", "--tail", "5")
    assert found.out == "to stdout\x1b[1m\n"
    assert found.err == "to stderr\ncloudrouter: job_4tq8w2: exited 3\n"
    assert machine.requests == [{"op": "job.logs", "job": "job_4tq8w2", "follow": True, "tail": 5}]
    assert machine.more["stdin_fd"] is None


def test_logs_as_json_when_a_character_is_cut_then_it_is_put_together(cli: Cli, machine: FakeCommands) -> None:
    machine.output = [(1, b"a\xc3"), (2, b"e"), (1, b"\xbc"), (1, b"\xc3")]
    machine.end = {"state": "running", "code": None}
    found = cli("logs", "x", "--json")
    assert [json.loads(line) for line in found.out.splitlines()] == [
        {"stream": "stdout", "text": "a"},
        {"stream": "stderr", "text": "e"},
        {"stream": "stdout", "text": "ü"},
        {"stream": "stdout", "text": "\ufffd"},
        {"end": {"state": "running", "code": None}},
    ]
    assert machine.requests == [{"op": "job.logs", "job": None, "follow": False, "tail": None}]


def test_logs_when_the_machine_is_lost_then_status_1(cli: Cli, machine: FakeCommands) -> None:
    machine.failure = Unreachable("The stream broke.")
    assert cli("logs", "x").code == 1
