"""ps, logs, wait, kill, attach and commands that outlive us: what is asked, and what comes of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloudrouter.client import following
from cloudrouter.wire.errors import Unreachable

from .conftest import Cli
from .fake_commands import FakeCommands


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
    assert found.err == "to stderr\n"
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
        {"end": {"job": None, "state": "running", "code": None}},
    ]
    assert machine.requests == [{"op": "job.logs", "job": None, "follow": False}]


def test_logs_when_the_machine_is_lost_then_status_1(
    cli: Cli, machine: FakeCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", -1.0)
    machine.failure = Unreachable("The stream broke.")
    assert cli("logs", "x").code == 1


@pytest.mark.flag("logs --follow")
@pytest.mark.flag("logs --tail")
@pytest.mark.flag("logs --since")
@pytest.mark.flag("logs --timestamps")
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--follow"], {"follow": True}),
        (["--tail", "7"], {"follow": False, "tail": 7}),
        (["--since", "10m"], {"follow": False, "since_s": 600.0}),
        (["--timestamps"], {"follow": False, "timestamps": True}),
    ],
)
def test_logs_when_a_part_is_wanted_then_asks_for_that_part(
    cli: Cli, machine: FakeCommands, words: list[str], wanted: dict[str, Any]
) -> None:
    machine.end = {"state": "running", "code": None, "job": "job_4tq8w2"}
    assert cli("logs", "x", *words).code == 0
    assert machine.requests == [{"op": "job.logs", "job": None, **wanted}]


def test_logs_when_output_was_dropped_then_the_number_is_told(cli: Cli, machine: FakeCommands) -> None:
    machine.gone = 4096
    machine.end = {"state": "running", "code": None, "job": "job_4tq8w2"}
    assert cli("logs", "x").err == "cloudrouter: 4096 bytes of older output are gone here\n"
    assert json.loads(cli("logs", "--json", "x").out.splitlines()[0]) == {"gone": 4096}


def test_logs_when_two_parts_are_wanted_then_is_refused(cli: Cli, machine: FakeCommands) -> None:
    assert cli("logs", "--tail", "1", "--since", "1m", "x").code == 2
    assert machine.requests == []


# -- wait -----------------------------------------------------------------------------------------------------------


def job(state: str = "exited", code: int | None = 0, job_id: str = "job_4tq8w2", **more: Any) -> dict[str, Any]:
    return {"id": job_id, "state": state, "code": code, **more}


@pytest.mark.parametrize(("code", "status"), [(0, 0), (3, 3), (143, 143), (255, 255)])
def test_wait_when_the_job_has_ended_then_its_status_is_ours(
    cli: Cli, machine: FakeCommands, code: int, status: int
) -> None:
    machine.answer = {"job": job(code=code)}
    found = cli("wait", "x", "job_4tq8w2")
    assert (found.code, found.out, found.err) == (status, f"job_4tq8w2  exited {code}\n", "")
    assert machine.requests == [{"op": "job.wait", "job": "job_4tq8w2"}]
    assert machine.ask_timeouts == [None]


@pytest.mark.flag("wait --json")
def test_wait_when_there_are_several_then_the_first_failing_one_counts(cli: Cli, machine: FakeCommands) -> None:
    answers = [job(), job(code=4, job_id="job_222222"), job(code=5, job_id="job_333333")]
    machine.answers = [{"job": one} for one in answers]
    found = cli("wait", "--json", "x", "job_4tq8w2", "job_222222", "job_333333")
    assert (found.code, found.json) == (4, {"jobs": answers, "timed_out": False})


@pytest.mark.flag("wait --timeout")
def test_wait_when_the_time_is_over_then_124_and_the_job_goes_on(cli: Cli, machine: FakeCommands) -> None:
    machine.answer = {"job": job("running", None)}
    found = cli("wait", "--timeout", "30s", "x", "job_4tq8w2")
    assert (found.code, found.out) == (124, "job_4tq8w2  running\n")
    assert found.err.startswith("cloudrouter: job_4tq8w2 still runs after 30 s; it goes on.\n")
    assert 29 < machine.requests[0]["timeout_s"] <= 30
    assert machine.ask_timeouts[0] is not None
    assert machine.ask_timeouts[0] > 30


def test_wait_when_the_job_is_lost_then_255_and_no_code(cli: Cli, machine: FakeCommands) -> None:
    machine.answer = {"job": job("lost", None)}
    found = cli("wait", "x", "job_4tq8w2")
    assert (found.code, found.out) == (255, "job_4tq8w2  lost\n")
    assert "nobody knows how it ended" in found.err


READY = {"ready": True, "last": "HTTP 200", "waited_ms": 12, "job": None, "log": ""}


@pytest.mark.flag("wait --port")
@pytest.mark.flag("wait --url")
@pytest.mark.parametrize(
    ("words", "wanted", "shown"),
    [
        (["--port", "3000"], {"port": 3000, "path": None, "job": None}, "port 3000"),
        (["--port", "80", "--url", "/x"], {"port": 80, "path": "/x", "job": None}, "http://localhost:80/x"),
        (["--url", "http://localhost:81/y", "J"], {"port": 81, "path": "/y", "job": "J"}, "http://localhost:81/y"),
    ],
)
def test_wait_when_a_server_is_up_then_says_so(
    cli: Cli, machine: FakeCommands, words: list[str], wanted: dict[str, Any], shown: str
) -> None:
    machine.answer = {"ready": READY}
    found = cli("wait", "x", *words)
    assert (found.code, found.out) == (0, f"{shown} is ready (HTTP 200)\n")
    assert machine.requests == [{"op": "ready", **wanted, "timeout_s": 60.0}]
    found = cli("wait", "--json", "x", *words)
    assert found.json == {
        "ready": True, "port": wanted["port"], "path": wanted["path"], "last": "HTTP 200", "waited_ms": 12,
    }  # fmt: skip


def test_wait_when_no_server_comes_up_then_124_with_what_was_seen(cli: Cli, machine: FakeCommands) -> None:
    machine.answer = {"ready": {**READY, "ready": False, "last": "HTTP 503"}}
    found = cli("wait", "--json", "--timeout", "5", "x", "--port", "3000")
    assert found.code == 124
    assert "port 3000 was not ready within 5 s; the last try: HTTP 503." in found.err
    assert found.json["error"]["code"] == "timed_out"
    assert machine.requests[0]["timeout_s"] == 5


def test_wait_when_the_job_ends_before_its_server_is_up_then_its_last_words_are_shown(
    cli: Cli, machine: FakeCommands
) -> None:
    machine.answer = {"ready": {**READY, "ready": False, "job": job(code=1), "log": "no port\x1b[2J\nfree\n"}}
    found = cli("wait", "x", "job_4tq8w2", "--port", "3000")
    assert found.code == 255
    assert found.err.splitlines() == [
        "  no port\\x1b[2J",
        "  free",
        "cloudrouter: job_4tq8w2 ended with exit code 1 before port 3000 was ready.",
        "Fix:  Look at what it wrote.",
        "Next: cloudrouter logs x job_4tq8w2",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["x"],
        ["x", "--url", "http://example.com/"],
        ["x", "--url", "/health"],
        ["x", "--port", "70000"],
        ["x", "a", "b", "--port", "1"],
    ],
)
def test_wait_when_it_cannot_be_then_nothing_is_asked(cli: Cli, machine: FakeCommands, words: list[str]) -> None:
    found = cli("wait", *words)
    assert found.code == 255
    assert machine.requests == []


# -- kill -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["x"], ["x", "--json"]])
def test_kill_when_no_job_is_named_then_both_ways_are(cli: Cli, machine: FakeCommands, words: list[str]) -> None:
    found = cli("kill", *words)
    assert found.code == 2
    assert "cloudrouter kill x JOB" in found.err
    assert "cloudrouter delete x" in found.err
    assert machine.requests == []


def test_kill_when_the_job_ends_then_says_what_was_done(cli: Cli, machine: FakeCommands) -> None:
    machine.answers = [{"job": job("running", None, signalled=3)}, {"job": job(code=143)}]
    found = cli("kill", "x", "job_4tq8w2")
    assert (found.code, found.out) == (0, "job_4tq8w2  TERM to 3 processes, exited 143\n")
    assert machine.requests[0] == {"op": "job.kill", "job": "job_4tq8w2", "signal": "TERM"}
    assert machine.requests[1]["op"] == "job.wait"
    assert 4 < machine.requests[1]["timeout_s"] <= 5


@pytest.mark.flag("kill --json")
def test_kill_when_it_had_ended_then_says_so_and_is_no_failure(cli: Cli, machine: FakeCommands) -> None:
    machine.answer = {"job": job(code=0, signalled=0)}
    found = cli("kill", "x", "job_4tq8w2")
    assert (found.code, found.out) == (0, "job_4tq8w2  had ended already: exited 0\n")
    assert cli("kill", "--json", "x", "job_4tq8w2").json == {"jobs": [machine.answer["job"]]}


@pytest.mark.flag("kill --signal")
@pytest.mark.parametrize("word", ["USR1", "SIGUSR1", "usr1"])
def test_kill_when_the_signal_ends_nothing_then_nothing_is_waited_for(
    cli: Cli, machine: FakeCommands, word: str
) -> None:
    machine.answer = {"job": job("running", None, signalled=1)}
    found = cli("kill", "-s", word, "x", "job_4tq8w2")
    assert (found.code, found.out) == (0, "job_4tq8w2  USR1 to 1 process, running\n")
    assert machine.requests == [{"op": "job.kill", "job": "job_4tq8w2", "signal": "USR1"}]


@pytest.mark.flag("kill --timeout")
def test_kill_when_the_job_goes_on_then_124_and_the_stronger_word(cli: Cli, machine: FakeCommands) -> None:
    machine.answer = {"job": job("running", None, signalled=1)}
    found = cli("kill", "--timeout", "2s", "x", "job_4tq8w2")
    assert found.code == 124
    assert "job_4tq8w2 still runs after 2 s." in found.err
    assert "Next: cloudrouter kill -s KILL x job_4tq8w2" in found.err
    assert 1 < machine.requests[1]["timeout_s"] <= 2


@pytest.mark.flag("kill --wait")
def test_kill_when_waiting_is_wanted_then_it_is_as_long_as_it_takes(cli: Cli, machine: FakeCommands) -> None:
    machine.answers = [{"job": job("running", None, signalled=1)}, {"job": job(code=129)}]
    found = cli("kill", "-s", "HUP", "--wait", "x", "job_4tq8w2")
    assert (found.code, found.out) == (0, "job_4tq8w2  HUP to 1 process, exited 129\n")
    assert machine.requests[1] == {"op": "job.wait", "job": "job_4tq8w2"}
    assert cli("kill", "--wait", "--timeout", "1", "x", "job_4tq8w2").code == 2


# -- attach, and commands that outlive us ---------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "status"), [(0, 0), (9, 9), (None, 255)])
def test_attach_when_the_job_ends_then_its_status_is_ours(
    cli: Cli, machine: FakeCommands, code: int | None, status: int
) -> None:
    machine.output = [(1, b"out\n"), (2, b"err\n")]
    machine.end = {"job": "job_4tq8w2", "state": "exited" if code is not None else "lost", "code": code}
    found = cli("attach", "x", "job_4tq8w2")
    assert (found.code, found.out) == (status, "out\n")
    assert found.err.startswith("err\n")
    assert ("nobody knows how it ended" in found.err) is (code is None)
    assert machine.requests == [{"op": "job.attach", "job": "job_4tq8w2"}]
    assert (machine.more["stdin_fd"], machine.more["signals"]) == (0, True)


@pytest.mark.flag("attach --no-stdin")
@pytest.mark.flag("attach --json")
def test_attach_when_only_looked_at_then_gives_no_input_and_prints_lines(cli: Cli, machine: FakeCommands) -> None:
    machine.output = [(1, b"out\n")]
    machine.end = {"job": "job_4tq8w2", "state": "exited", "code": 2}
    found = cli("attach", "--no-stdin", "--json", "x")
    assert (found.code, machine.more["stdin_fd"]) == (2, None)
    assert [json.loads(line) for line in found.out.splitlines()] == [
        {"stream": "stdout", "text": "out\n"},
        {"end": {"job": "job_4tq8w2", "state": "exited", "code": 2}},
    ]


@pytest.mark.flag("ssh --detach-on-disconnect")
@pytest.mark.flag("exec --detach-on-disconnect")
@pytest.mark.parametrize("verb", ["ssh", "exec"])
def test_ssh_when_it_is_to_outlive_us_then_is_a_job_from_its_start(cli: Cli, machine: FakeCommands, verb: str) -> None:
    machine.output = [(1, b"out\n")]
    machine.end = {"job": "job_4tq8w2", "state": "exited", "code": 5, "signal": None}
    found = cli(verb, "--detach-on-disconnect", "--cwd", "web", "x", "make")
    assert (found.code, found.out, found.err) == (5, "out\n", "")
    assert machine.requests == [{"op": "job.attach", "line": "make", "cwd": "web"}]
    found = cli(verb, "--detach-on-disconnect", "--json", "x", "make")
    assert (found.json["exit_code"], found.json["stdout"]) == (5, "out\n")
    assert found.json["job"]["code"] == 5


def test_ssh_when_it_is_to_outlive_us_and_is_interrupted_twice_then_the_job_is_ended(
    cli: Cli, machine: FakeCommands
) -> None:
    machine.failure, machine.started = KeyboardInterrupt(), "job_4tq8w2"
    assert cli("ssh", "--detach-on-disconnect", "x", "make").code == 130
    assert machine.requests[1] == {"op": "job.kill", "job": "job_4tq8w2", "signal": "TERM"}


def test_attach_when_interrupted_twice_then_the_job_is_left_alone(cli: Cli, machine: FakeCommands) -> None:
    machine.failure, machine.started = KeyboardInterrupt(), "job_4tq8w2"
    found = cli("attach", "x", "job_4tq8w2")
    assert found.code == 130
    assert "cloudrouter kill x job_4tq8w2" in found.err
    assert len(machine.requests) == 1


# -- ps --all and terminals -----------------------------------------------------------------------------------------

EXECS: list[dict[str, Any]] = [
    {"id": "exec_7", "command": "npm test", "cwd": "/tmp", "pid": 7, "started_at": None, "tty": False},
    {"id": "exec_9", "command": "-bash\x1b", "cwd": "/home", "pid": 9, "started_at": None, "tty": True},
]


@pytest.mark.flag("ps --all")
@pytest.mark.flag("ps --json")
def test_ps_when_all_are_wanted_then_foreground_commands_are_listed(cli: Cli, machine: FakeCommands) -> None:
    machine.answers = [{"jobs": []}, {"execs": EXECS}]
    assert cli("ps", "--all", "x").out.splitlines() == [
        "JOB     STATE       AGE  COMMAND",
        "exec_7  foreground  -    npm test",
        "exec_9  foreground  -    -bash\\x1b",
    ]
    machine.answers = [{"jobs": []}, {"execs": EXECS}]
    assert cli("ps", "--all", "--json", "x").json == {"jobs": [], "execs": EXECS}


def test_ps_when_the_machine_lies_then_is_a_clear_error(cli: Cli, machine: FakeCommands) -> None:
    machine.answer = {"jobs": [{"id": "x", "state": "running"}]}
    found = cli("ps", "x")
    assert (found.code, found.out) == (1, "")
    assert "described a job in a way that cannot be read" in found.err
