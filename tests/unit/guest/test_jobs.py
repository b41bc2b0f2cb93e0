"""Background commands: they outlive streams and guests, and what is said of them is true."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

import pytest
from tests.unit.guest.machine import NAMED_SIGNALS, Machine, Outcome, alive, finish, memory_kib, read_until, send, until

from cloudrouter.guest import holder
from cloudrouter.wire.ids import is_job_id


async def start(machine: Machine, line: str, **fields: object) -> dict[str, object]:
    outcome = await machine.ask({"op": "job.start", "line": line, **fields})
    assert "job" in outcome.final, outcome.final
    job: dict[str, object] = outcome.final["job"]
    return job


async def jobs(machine: Machine) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await machine.ask({"op": "job.list"})).final["jobs"]
    return found


async def logs(machine: Machine, job: object = None, **fields: object) -> Outcome:
    return await machine.ask({"op": "job.logs", "job": job, **fields})


def holder_pid(machine: Machine, job: dict[str, object]) -> int:
    with open(f"{machine.state}/jobs/{job['id']}/holder") as file:
        return int(file.read().split()[0])


async def test_a_job_when_started_then_really_runs_in_its_folder_with_its_variables(own: Machine) -> None:
    os.mkdir(f"{own.workspace}/sub")
    line = "pwd; echo $MINE >&2; echo $CLOUDROUTER_TOKEN_SHA256; cat; exit 3"
    job = await start(own, line, cwd="sub", env={"MINE": "mine"})
    assert is_job_id(str(job["id"]))
    assert job["command"] == line
    assert str(job["started_at"]).endswith("Z")
    outcome = await logs(own, job["id"], follow=True)
    assert outcome.stdout.decode() == f"{own.workspace}/sub\n\n"
    assert outcome.stderr == b"mine\n"
    assert outcome.final["end"] == {"job": job["id"], "state": "exited", "code": 3, "signal": None}


async def test_a_job_when_answered_then_its_process_is_there(own: Machine) -> None:
    job = await start(own, "exec sleep 60")
    assert job["state"] == "running"

    def command_line() -> bytes:
        with open(f"/proc/{job['pid']}/cmdline", "rb") as file:
            return file.read()

    # The kernel lets go of the pipe that says so a moment before it shows the new words.
    await until(lambda: b"sleep" in command_line())
    assert (await own.ask({"op": "health"})).final["health"]["jobs_running"] == 1
    os.kill(int(str(job["pid"])), signal.SIGTERM)
    end = (await logs(own, follow=True)).final["end"]
    assert (end["code"], end["signal"]) == (143, "TERM")


async def test_a_job_when_it_cannot_start_then_is_an_error_and_leaves_nothing(own: Machine) -> None:
    outcome = await own.ask({"op": "job.start", "argv": ["no-such-command"]})
    assert outcome.error["code"] == "not_found"
    assert "command not found" in outcome.error["message"]
    outcome = await own.ask({"op": "job.start", "argv": ["/tmp"]})
    assert outcome.error["code"] == "usage"
    outcome = await own.ask({"op": "job.start", "line": "true", "cwd": "missing"})
    assert outcome.error["code"] == "not_found"
    assert await jobs(own) == []
    assert os.listdir(f"{own.state}/jobs") == []


async def test_a_job_when_the_guest_is_killed_then_goes_on_and_its_true_code_is_known(own: Machine) -> None:
    job = await start(own, "echo before; while [ ! -e go ]; do sleep 0.02; done; echo after; exit 42")
    own.stop(signal.SIGKILL)
    assert alive(int(str(job["pid"])))
    own.restart()
    (listed,) = await jobs(own)
    assert (listed["id"], listed["state"], listed["pid"]) == (job["id"], "running", job["pid"])
    with open(f"{own.workspace}/go", "w"):
        outcome = await logs(own, follow=True)
    assert outcome.stdout == b"before\nafter\n"
    assert outcome.final["end"]["code"] == 42
    (listed,) = await jobs(own)
    assert (listed["state"], listed["code"], listed["pid"]) == ("exited", 42, None)
    assert listed["ended_at"]


async def test_a_job_when_the_guest_is_terminated_then_goes_on(own: Machine) -> None:
    job = await start(own, "sleep 60")
    own.stop()
    assert alive(int(str(job["pid"])))
    own.restart()
    assert (await jobs(own))[0]["state"] == "running"


async def test_a_job_when_its_holder_vanishes_then_is_lost_and_no_code_is_invented(own: Machine) -> None:
    job = await start(own, "sleep 60")
    os.kill(holder_pid(own, job), signal.SIGKILL)
    await until(lambda: not alive(holder_pid(own, job)))
    (listed,) = await jobs(own)
    assert (listed["state"], listed["code"]) == ("lost", None)
    assert (await logs(own, follow=True)).final["end"]["state"] == "lost"
    os.kill(int(str(job["pid"])), signal.SIGKILL)


async def test_a_job_when_its_holders_number_belongs_to_another_then_is_lost(own: Machine) -> None:
    job = await start(own, "sleep 60")
    path = f"{own.state}/jobs/{job['id']}/holder"
    with open(path) as file:
        _, ticks, pid, started = file.read().split()
    os.kill(holder_pid(own, job), signal.SIGKILL)
    with open(path, "w") as file:
        file.write(f"{os.getpid()} {ticks} {pid} {started}")  # alive, and younger or older than it should be
    assert (await jobs(own))[0]["state"] == "lost"
    os.kill(int(str(job["pid"])), signal.SIGKILL)


async def test_a_job_when_its_grandchild_holds_the_output_then_ends_and_goes_on_logging(own: Machine) -> None:
    job = await start(own, "(while [ ! -e go ]; do sleep 0.02; done; echo late) & echo early; exit 5")
    end = (await logs(own, follow=True)).final["end"]
    assert (end["state"], end["code"]) == ("exited", 5)
    with open(f"{own.workspace}/go", "w"):
        await until(lambda: not alive(holder_pid(own, job)))
    assert (await logs(own)).stdout == b"early\nlate\n"


async def test_a_jobs_program_when_started_then_has_default_signals(own: Machine) -> None:
    await start(own, "grep -E 'Sig(Ign|Blk)' /proc/self/status; yes | head -1; echo ${PIPESTATUS[0]}")
    lines = (await logs(own, follow=True)).stdout.split(b"\n")
    assert {int(line.split()[1], 16) & NAMED_SIGNALS for line in lines[:2]} == {0}
    assert lines[2] == b"y"


async def test_logs_when_followed_then_come_as_they_are_written(own: Machine) -> None:
    await start(own, "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two")
    async with own.connect() as stream:
        await send(stream, {"op": "job.logs", "follow": True})
        outcome = Outcome()
        await read_until(stream, b"one\n", outcome)
        with open(f"{own.workspace}/go", "w"):
            await finish(stream, outcome)
    assert outcome.stdout == b"one\ntwo\n"


async def test_logs_when_not_followed_then_end_where_the_job_is(own: Machine) -> None:
    job = await start(own, "sleep 60")
    assert (await logs(own, job["id"])).final["end"] == {
        "job": job["id"],
        "state": "running",
        "code": None,
        "signal": None,
    }


async def test_following_when_a_signal_comes_then_ends_and_the_job_does_not(own: Machine) -> None:
    job = await start(own, "sleep 60")
    async with own.connect() as stream:
        await send(stream, {"op": "job.logs", "follow": True}, {"signal": "INT"})
        outcome = await finish(stream)
    assert outcome.final["end"]["state"] == "running"
    assert alive(int(str(job["pid"])))


@pytest.mark.parametrize(
    ("tail", "wanted"),
    [(0, b""), (1, b"5"), (2, b"4\n5"), (4, b"2\n3\n4\n5"), (5, b"1\n2\n3\n4\n5"), (99, b"1\n2\n3\n4\n5")],
)
async def test_the_tail_when_wanted_then_is_that_many_lines(shared: Machine, tail: int, wanted: bytes) -> None:
    job = await start(shared, "printf '1\\n2\\n3'; printf '\\n4\\n5'")
    await logs(shared, job["id"], follow=True)
    outcome = await logs(shared, job["id"], tail=tail)
    assert outcome.stdout == wanted


async def test_the_newest_when_no_job_is_named_then_is_meant(own: Machine) -> None:
    assert (await logs(own)).error["code"] == "not_found"
    for word in ("one", "two", "three"):
        await start(own, f"echo {word}")
        await logs(own, follow=True)
    assert (await logs(own)).stdout == b"three\n"
    assert [job["command"] for job in await jobs(own)] == ["echo one", "echo two", "echo three"]


async def test_an_unknown_job_when_asked_for_then_the_error_names_the_known_ones(own: Machine) -> None:
    job = await start(own, "true")
    for wanted in ("job_222222", "../../etc", "", "x" * 500):
        error = (await logs(own, wanted)).error
        assert error["code"] == "not_found"
        assert str(job["id"]) in error["fix"]


@pytest.mark.parametrize("fields", [{"follow": "yes"}, {"tail": -1}, {"tail": "3"}, {"tail": True}, {"job": 3}])
async def test_a_request_for_logs_when_it_cannot_be_right_then_gets_an_error(
    shared: Machine, fields: dict[str, object]
) -> None:
    assert (await shared.ask({"op": "job.logs", **fields})).error["code"] == "usage"


async def test_a_log_when_it_grows_without_end_then_is_bounded_and_says_what_is_gone(own: Machine) -> None:
    size = 450_000_000
    job = await start(own, f"echo first; head -c {size} /dev/zero; printf last")
    outcome = await logs(own, job["id"], follow=True)
    folder = f"{own.state}/jobs/{job['id']}"
    kept = sum(os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder))
    assert kept < holder.LOG_LIMIT + 65536
    outcome = await logs(own, job["id"])
    assert outcome.stdout.endswith(b"\0last")
    assert len(outcome.stdout) > holder.LOG_LIMIT * 6 // 7
    (gone,) = [text["gone"] for text in outcome.texts if "gone" in text]
    assert gone["bytes"] == gone["position"] == size + 6 + 4 - len(outcome.stdout)
    assert memory_kib(own.pid, "VmHWM") < 60_000
    assert memory_kib(own.pid, "VmRSS") < 45_000


async def test_a_holder_when_it_waits_then_is_small_and_knows_no_secret(own: Machine) -> None:
    job = await start(own, "sleep 60", env={"SECRET": "hush-hush"})
    pid = holder_pid(own, job)
    with open(f"/proc/{pid}/environ", "rb") as env, open(f"/proc/{pid}/cmdline", "rb") as words:
        seen = env.read() + words.read()
    assert b"hush" not in seen
    assert str(job["id"]).encode() in seen
    assert memory_kib(pid, "Pss") < 9_000
    ticks = os.stat(f"/proc/{pid}/stat")
    assert ticks
    with open(f"{own.state}/jobs/{job['id']}/meta.json") as file:
        assert "hush" not in json.dumps(json.load(file))


async def test_jobs_when_many_start_at_once_then_each_is_itself(own: Machine) -> None:
    started = await asyncio.gather(*(start(own, f"echo {number}; exit {number}") for number in range(30)))
    assert len({job["id"] for job in started}) == 30
    for number, job in enumerate(started):
        outcome = await logs(own, job["id"], follow=True)
        assert (outcome.stdout.decode(), outcome.final["end"]["code"]) == (f"{number}\n", number)


async def test_a_job_when_its_stream_is_gone_then_goes_on(own: Machine) -> None:
    stream = await own.connect()
    await send(stream, {"op": "job.start", "line": "sleep 0.3; echo done > done"})
    await stream.recv()
    stream.transport.abort()
    await until(lambda: os.path.exists(f"{own.workspace}/done"), timeout_s=time.monotonic() and 10.0)
