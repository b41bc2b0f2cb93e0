"""Being at a job: positions that lose and repeat nothing, input, signals, waiting, and ending all of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.guest.machine import Machine, Outcome, alive, finish, read_until, send, until

from cloudrouter.guest import holder
from cloudrouter.guest.joblogs import Output, Wanted

from .test_jobs import holder_pid, jobs, logs, start


class Recorder:
    """A stream that keeps what is sent, and can be read up to any message."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []

    async def send(self, word: str, body: object) -> None:
        self.sent.append((word, body))

    async def send_data(self, channel: int, data: bytes) -> None:
        self.sent.append(("data", (channel, data)))

    def read(self, count: int) -> tuple[bytes, int | None, int]:
        """What a client has after so many messages: stdout, its position, and the bytes that were told as gone."""
        out, position, following, gone = b"", None, None, 0
        for word, body in self.sent[:count]:
            if word == "data":
                assert isinstance(body, tuple)
                out, position = out + body[1], following
            elif word == "position":
                assert isinstance(body, int)
                following = body
            else:
                assert isinstance(body, dict)
                position, gone = body["position"], gone + body["bytes"]
        return out, position, gone


async def read_log(folder: str, **fields: object) -> Recorder:
    recorder = Recorder()
    output = Output(recorder, folder, Wanted(fields))  # type: ignore[arg-type]
    await output.send_all()
    output.close()
    return recorder


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=40), st.data())
def test_a_log_when_its_stream_breaks_anywhere_then_the_rest_comes_once(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], data: st.DataObject
) -> None:
    folder = str(tmp_path_factory.mktemp("log"))
    log = holder.Log(folder, 40_000)
    for number, piece in enumerate(pieces):
        log.write(1 + number % 2, piece)
    log.flush()
    whole = asyncio.run(read_log(folder))
    out, _, gone = whole.read(len(whole.sent))
    assert (out, gone) == (b"".join(pieces)[gone:], sum(map(len, pieces)) - len(out))
    cut = data.draw(st.integers(0, len(whole.sent)))
    first, position, gone_before = whole.read(cut)
    again = asyncio.run(read_log(folder, **({} if position is None else {"from": position})))
    rest, _, gone_after = again.read(len(again.sent))
    assert (first + rest, gone_before + gone_after) == (out, gone)


@pytest.mark.parametrize("position", range(14))
async def test_timestamps_when_a_reader_goes_on_in_a_line_then_it_gets_no_second_one(
    tmp_path: object, position: int
) -> None:
    log = holder.Log(str(tmp_path), 1 << 20)
    log.write(1, b"one\ntwo\n\nthre")
    log.flush()
    log.write(1, b"e")
    log.flush()
    recorder = await read_log(str(tmp_path), timestamps=True, **{"from": position})
    out, _, _ = recorder.read(len(recorder.sent))
    stamp = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    text = b"one\ntwo\n\nthree"
    assert re.sub(stamp, b"", out) == text[position:]
    starts = sum(1 for at in range(position, len(text)) if at == 0 or text[at - 1 : at] == b"\n")
    assert len(re.findall(stamp, out)) == starts


async def test_stamped_output_when_it_is_only_empty_lines_then_no_message_is_too_long(tmp_path: object) -> None:
    log = holder.Log(str(tmp_path), 1 << 22)
    for _ in range(10):
        log.write(1, b"\n" * 65536)
    log.flush()
    recorder = await read_log(str(tmp_path), timestamps=True)
    sizes = [len(body[1]) for word, body in recorder.sent if word == "data" and isinstance(body, tuple)]
    assert max(sizes) < 1024 * 1024
    assert sum(sizes) == 655360 * len("2026-07-31T12:00:00.000Z \n")


async def test_since_when_given_then_only_what_was_written_after_it_comes(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, now = holder.Log(str(tmp_path), 8 * 30), time.time_ns()
    for age_s in (100, 50, 20, 1):
        monkeypatch.setattr(holder.time, "time_ns", lambda age_s=age_s: now - age_s * 1_000_000_000)
        log.write(1, b"%d seconds ago\n" % age_s)
        log.flush()
    monkeypatch.undo()
    recorder = await read_log(str(tmp_path), since_s=30)
    assert recorder.read(len(recorder.sent))[0] == b"20 seconds ago\n1 seconds ago\n"


@pytest.mark.parametrize("fields", [{"since_s": "1m"}, {"since_s": -1}, {"timestamps": 1}, {"from": -1}, {"from": "0"}])
async def test_a_part_of_a_log_when_it_cannot_be_then_is_refused(shared: Machine, fields: dict[str, object]) -> None:
    assert (await shared.ask({"op": "job.logs", **fields})).error["code"] == "usage"
    assert (await shared.ask({"op": "job.attach", **fields})).error["code"] == "usage"


# -- attach -----------------------------------------------------------------------------------------------------


async def attach(machine: Machine, *messages: object, **fields: object) -> Outcome:
    return await machine.ask({"op": "job.attach", **fields}, *messages)  # type: ignore[arg-type]


async def test_attach_when_the_job_runs_then_gives_all_of_it_and_its_code(own: Machine) -> None:
    job = await start(own, "echo early; while [ ! -e go ]; do sleep 0.02; done; echo late >&2; exit 6")
    async with own.connect() as stream:
        await send(stream, {"op": "job.attach", "job": job["id"]})
        outcome = Outcome()
        await read_until(stream, b"early\n", outcome)
        with open(f"{own.workspace}/go", "w"):
            await finish(stream, outcome)
    assert (outcome.stdout, outcome.stderr, outcome.code) == (b"early\n", b"late\n", 6)
    again = await attach(own, job=job["id"], **{"from": 6})
    assert (again.stdout, again.stderr, again.code) == (b"", b"late\n", 6)


async def test_attach_when_it_starts_a_command_then_its_input_reaches_it(own: Machine) -> None:
    outcome = await attach(own, b"one\n", b"two\n", {"eof": True}, line="cat; echo over; exit 2", stdin=True)
    assert (outcome.stdout, outcome.code) == (b"one\ntwo\nover\n", 2)
    started = outcome.texts[0]["started"]
    assert (started["stdin"], started["input"], started["position"]) == (True, 0, 0)
    assert [job["id"] for job in await jobs(own)] == [started["job"]]


async def test_attach_when_the_command_ends_before_its_input_then_nothing_stays_open(own: Machine) -> None:
    await attach(own, line="true", stdin=True)
    before = len(os.listdir(f"/proc/{own.pid}/fd"))
    for line in ("true", "exit 3", "true", ":"):
        await attach(own, line=line, stdin=True)
    await until(lambda: len(os.listdir(f"/proc/{own.pid}/fd")) <= before)


async def test_attach_when_its_stream_breaks_then_the_job_goes_on_and_takes_input_again(own: Machine) -> None:
    stream = await own.connect()
    await send(stream, {"op": "job.attach", "line": "read a; echo got $a; read b; echo and $b", "stdin": True}, b"x\n")
    outcome = Outcome()
    await read_until(stream, b"got x\n", outcome)
    stream.transport.abort()
    job = outcome.texts[0]["started"]["job"]
    found = await attach(own, b"y\n", {"eof": True}, job=job, stdin=True, **{"from": 6})
    assert found.texts[0]["started"]["input"] == 2
    assert (found.stdout, found.code) == (b"and y\n", 0)


async def test_input_when_nobody_comes_back_then_ends(own: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloudrouter.guest import jobinput
    from cloudrouter.guest.environment import find_account
    from cloudrouter.guest.stream import Input

    monkeypatch.setattr(jobinput, "GRACE_S", 0.01)
    inputs = jobinput.JobInputs()
    reading = inputs.make("job_222222", find_account(""))
    taken = inputs.take("job_222222")
    assert taken is not None
    inputs.begin("job_222222", taken, Input(lambda _: None)).cancel()
    await until(lambda: not inputs._open)
    assert inputs.take("job_222222") is None
    assert os.read(reading, 10) == b""
    os.close(reading)


async def test_attach_when_the_job_has_no_input_then_says_so_and_drops_what_comes(own: Machine) -> None:
    job = await start(own, "cat; sleep 0.1; exit 1")
    outcome = await attach(own, b"for nobody", {"eof": True}, job=job["id"], stdin=True)
    assert outcome.texts[0]["started"]["stdin"] is False
    assert (outcome.stdout, outcome.code) == (b"", 1)


async def test_attach_when_ctrl_c_is_pressed_then_the_commands_group_gets_it(own: Machine) -> None:
    async with own.connect() as stream:
        await send(
            stream,
            {"op": "job.attach", "line": "trap 'echo caught; exit 9' INT; echo up; while :; do sleep 0.05; done"},
        )
        outcome = Outcome()
        await read_until(stream, b"up\n", outcome)
        await send(stream, {"signal": "INT"})
        await finish(stream, outcome)
    assert (outcome.stdout, outcome.code) == (b"up\ncaught\n", 9)


async def test_attach_when_the_holder_is_killed_then_no_code_is_invented(own: Machine) -> None:
    job = await start(own, "sleep 60")
    os.kill(holder_pid(own, job), signal.SIGKILL)
    outcome = await attach(own, job=job["id"])
    assert (outcome.final["end"]["state"], outcome.final["end"]["code"]) == ("lost", None)
    os.kill(int(str(job["pid"])), signal.SIGKILL)


# -- wait and kill ----------------------------------------------------------------------------------------------


async def ask_job(machine: Machine, operation: str, job: object, **fields: object) -> dict[str, object]:
    outcome = await machine.ask({"op": f"job.{operation}", "job": job, **fields})
    assert "job" in outcome.final, outcome.final
    found: dict[str, object] = outcome.final["job"]
    return found


async def test_wait_when_the_job_ends_then_answers_with_its_true_code(own: Machine) -> None:
    job = await start(own, "while [ ! -e go ]; do sleep 0.02; done; kill -USR1 $$")
    waiting = asyncio.ensure_future(ask_job(own, "wait", job["id"]))
    early = await ask_job(own, "wait", job["id"], timeout_s=0.05)
    assert early["state"] == "running"
    with open(f"{own.workspace}/go", "w"):
        found = await asyncio.wait_for(waiting, 20)
    assert (found["state"], found["code"], found["signal"]) == ("exited", 138, "USR1")


async def test_kill_when_children_left_session_and_parents_then_all_of_them_end(own: Machine) -> None:
    line = "(setsid sh -c 'echo $$ > far; exec sleep 61' &); sleep 62 & echo $! > near; echo up; wait"
    job = await start(own, line)
    await until(lambda: all(os.path.exists(f"{own.workspace}/{name}") for name in ("far", "near")))
    pids = []
    for name in ("far", "near"):
        await until(lambda name=name: os.path.getsize(f"{own.workspace}/{name}") > 1)
        with open(f"{own.workspace}/{name}") as file:
            pids.append(int(file.read()))
    other = await start(own, "sleep 63")
    found = await ask_job(own, "kill", job["id"])
    assert int(str(found["signalled"])) >= 3
    await until(lambda: not any(alive(pid) for pid in pids))
    assert (await ask_job(own, "wait", job["id"]))["code"] == 143
    assert alive(int(str(other["pid"])))
    assert (await ask_job(own, "kill", job["id"]))["signalled"] == 0


async def test_kill_when_another_signal_is_named_then_that_one_arrives(own: Machine) -> None:
    await start(own, "trap 'echo usr' USR1; touch up; while [ ! -e go ]; do sleep 0.02; done; exit 3")
    await until(lambda: os.path.exists(f"{own.workspace}/up"))
    (job,) = await jobs(own)
    assert (await ask_job(own, "kill", job["id"], signal="USR1"))["state"] == "running"
    async with own.connect() as stream:
        await send(stream, {"op": "job.logs", "follow": True})
        outcome = Outcome()
        await read_until(stream, b"usr\n", outcome)
        with open(f"{own.workspace}/go", "w"):
            await finish(stream, outcome)
    assert outcome.final["end"]["code"] == 3


async def test_kill_when_the_process_is_stopped_then_term_reaches_it(own: Machine) -> None:
    job = await start(own, "exec sleep 60")
    await ask_job(own, "kill", job["id"], signal="STOP")
    await ask_job(own, "kill", job["id"])
    assert (await ask_job(own, "wait", job["id"], timeout_s=10))["code"] == 143


async def test_kill_when_job_or_signal_is_unknown_then_says_so(own: Machine) -> None:
    job = await start(own, "true")
    assert (await own.ask({"op": "job.kill", "job": "job_222222"})).error["code"] == "not_found"
    assert (await own.ask({"op": "job.kill", "job": job["id"], "signal": "SEGV"})).error["code"] == "usage"


async def test_commands_in_the_foreground_when_listed_then_are_those_that_run(own: Machine) -> None:
    async with own.connect() as stream:
        await send(stream, {"op": "exec", "line": "echo up; exec sleep 60", "cwd": "/tmp"})
        await read_until(stream, b"up\n", Outcome())
        (found,) = (await own.ask({"op": "exec.list"})).final["execs"]
        assert (found["command"], found["cwd"], found["tty"]) == ("echo up; exec sleep 60", "/tmp", False)
        assert found["id"] == f"exec_{found['pid']}"
        assert alive(found["pid"])
        await send(stream, {"signal": "TERM"})
        await finish(stream)
    assert (await own.ask({"op": "exec.list"})).final["execs"] == []


async def test_a_guest_when_killed_then_knows_its_configuration_and_jobs_again(own: Machine) -> None:
    await own.ask({"op": "configure", "env": {"KEPT": "yes"}, "ca_pem": None})
    job = await start(own, "while [ ! -e go ]; do sleep 0.02; done; echo $KEPT; exit 5")
    own.stop(signal.SIGKILL)
    own.restart()
    assert (await own.run("echo $KEPT")).stdout == b"yes\n"
    with open(f"{own.workspace}/go", "w"):
        assert (await ask_job(own, "wait", job["id"]))["code"] == 5
    assert (await logs(own, job["id"])).stdout == b"yes\n"


async def test_old_jobs_when_their_logs_are_too_large_together_then_the_oldest_go(
    own: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloudrouter.guest import jobs as guest_jobs

    made = []
    for _ in range(3):
        made.append(await start(own, "head -c 100000 /dev/zero"))
        await ask_job(own, "wait", made[-1]["id"])
    monkeypatch.setattr(guest_jobs, "KEPT_BYTES", 250_000)
    guest_jobs._forget_old(f"{own.state}/jobs")
    assert [job["id"] for job in await jobs(own)] == [job["id"] for job in made[1:]]
