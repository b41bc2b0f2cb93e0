"""Staying with a job while its streams break: every byte once, input again where it got lost, and true endings."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.client.fake_router import FakeRouter
from websockets.sync.server import ServerConnection

from cloudrouter.client import answers, commands, following
from cloudrouter.client.attaching import Attachment
from cloudrouter.client.progress import Progress
from cloudrouter.client.transport import Transport
from cloudrouter.client.websocket import NoAnswer
from cloudrouter.wire.errors import Internal, NotFound, NotRunning, TimedOut, Unreachable, UsageError
from cloudrouter.wire.streams import WINDOW

Make = Callable[..., FakeRouter]
TEXT = b"".join(b"line %d\n" % number for number in range(40))
TIMEOUT_S = 20.0


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSES_S", (0.0,))


class Job:
    """A guest with one job; each stream is cut after so many messages, the last one is not."""

    def __init__(self, cuts: list[int], *, piece: int = 7, dropped: int = 0, code: int | None = 3) -> None:
        self.cuts, self.piece, self.dropped, self.code = cuts, piece, dropped, code
        self.requests: list[dict[str, Any]] = []
        self.got = b""
        self.eof = False

    def talk(self, connection: ServerConnection, _path: str) -> None:
        request = json.loads(connection.recv(TIMEOUT_S))
        self.requests.append(request)
        budget = self.cuts.pop(0) if self.cuts else 10_000
        for count, message in enumerate(self.messages(connection, request)):
            if count >= budget:
                connection.socket.close()
                return
            connection.send(message)

    def messages(self, connection: ServerConnection, request: dict[str, Any]) -> Iterator[bytes | str]:
        at = request.get("from", 0)
        stdin = request.get("stdin") is True
        started = {"job": "job_4tq8w2", "position": at, "stdin": stdin, "input": len(self.got)}
        yield json.dumps({"started": started})
        if stdin:
            yield from self.take_input(connection)
        if at < self.dropped:
            yield json.dumps({"gone": {"bytes": self.dropped - at, "position": self.dropped}})
            at = self.dropped
        while at < len(TEXT):
            piece = TEXT[at : at + self.piece]
            at += len(piece)
            yield json.dumps({"position": at})
            yield b"\x01" + piece
        body = {"job": "job_4tq8w2", "state": "lost" if self.code is None else "exited", "code": self.code}
        yield json.dumps({"end" if self.code is None else "exit": body})

    def take_input(self, connection: ServerConnection) -> Iterator[str]:
        while not self.eof:
            message = connection.recv(TIMEOUT_S)
            if isinstance(message, str):
                self.eof = json.loads(message) == {"eof": True}
            else:
                self.got += message
                yield json.dumps({"window": len(message)})


def follow(router: FakeRouter, request: dict[str, Any], **given: Any) -> tuple[dict[str, Any], bytes, list[int]]:
    out, gone = bytearray(), []
    progress = Progress(gone.append)
    end = following.follow(
        Transport(router.path), "x", request, on_stdout=out.extend, on_stderr=out.extend, progress=progress, **given
    )
    return end, bytes(out), gone


@pytest.mark.parametrize("cuts", [[], [0], [1], [2], [3], [1, 1, 1], [2, 2, 2, 2], [3, 5, 9, 4, 0, 12]])
def test_a_job_when_its_streams_break_then_every_byte_comes_once(fake_router: Make, cuts: list[int]) -> None:
    job = Job(list(cuts))
    end, out, gone = follow(fake_router(talk=job.talk), {"op": "job.logs", "job": "job_4tq8w2", "follow": True})
    assert (out, gone, end["code"]) == (TEXT, [], 3)
    assert len(job.requests) == len(cuts) + 1
    assert all(one["op"] == "job.logs" and one["follow"] is True for one in job.requests)


def test_a_job_when_the_beginning_was_dropped_then_its_size_is_told_once(fake_router: Make) -> None:
    job = Job([1, 2, 4], dropped=30)
    _, out, gone = follow(fake_router(talk=job.talk), {"op": "job.attach", "job": "job_4tq8w2"})
    assert (out, gone) == (TEXT[30:], [30])


def test_a_request_when_nothing_was_shown_then_asks_for_the_same_part_again(fake_router: Make) -> None:
    job = Job([1, 3])
    follow(fake_router(talk=job.talk), {"op": "job.logs", "tail": 5, "timestamps": True, "follow": True})
    first, second, third = job.requests
    assert (first["tail"], second["tail"], second["job"]) == (5, 5, "job_4tq8w2")
    assert "tail" not in third
    assert third["from"] > 0
    assert third["timestamps"] is True


@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 1], [3, 2]])
def test_input_when_streams_break_then_arrives_whole_and_once(fake_router: Make, cuts: list[int]) -> None:
    job, data = Job(list(cuts)), os.urandom(900_000)
    reading, writing = os.pipe()
    thread = threading.Thread(target=lambda: (_write_all(writing, data), os.close(writing)))
    thread.start()
    end, out, _ = follow(fake_router(talk=job.talk), {"op": "job.attach", "line": "cat"}, stdin_fd=reading)
    thread.join(10)
    os.close(reading)
    assert (job.got == data, job.eof, out, end["code"]) == (True, True, TEXT, 3)
    assert [one.get("line") for one in job.requests] == ["cat", *[None] * len(cuts)]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def test_a_command_when_its_start_was_not_answered_then_is_not_started_twice(fake_router: Make) -> None:
    job = Job([0])
    with pytest.raises(Unreachable):
        follow(fake_router(talk=job.talk), {"op": "job.attach", "line": "rm once"})
    assert len(job.requests) == 1


def test_a_connection_when_it_does_not_come_back_then_is_given_up(
    fake_router: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.2)
    job = Job([1] * 100_000)
    with pytest.raises(Unreachable):
        follow(fake_router(talk=job.talk), {"op": "job.logs", "job": "job_4tq8w2"})
    assert len(job.requests) > 1


@pytest.mark.parametrize("error", [NotFound("gone"), NotRunning("stopped"), UsageError("no")])
def test_an_error_of_the_machine_when_told_then_is_not_tried_again(fake_router: Make, error: Any) -> None:
    asked = []

    def talk(connection: ServerConnection, _path: str) -> None:
        asked.append(connection.recv(TIMEOUT_S))
        connection.send(json.dumps({"error": error.to_json()}))

    with pytest.raises(type(error)):
        follow(fake_router(talk=talk), {"op": "job.logs"})
    assert len(asked) == 1


def test_a_question_when_its_stream_breaks_then_is_asked_again(fake_router: Make) -> None:
    asked = []

    def talk(connection: ServerConnection, _path: str) -> None:
        asked.append(json.loads(connection.recv(TIMEOUT_S)))
        if len(asked) < 3:
            connection.socket.close()
        else:
            connection.send(json.dumps({"job": {"id": "job_4tq8w2"}}))

    answer = following.ask(Transport(fake_router(talk=talk).path), "x", {"op": "job.wait"}, timeout=5)
    assert answer == {"job": {"id": "job_4tq8w2"}}
    assert asked == [{"op": "job.wait"}] * 3


def test_a_silent_machine_when_asked_then_is_an_error_after_the_time(fake_router: Make) -> None:
    done = threading.Event()

    def talk(connection: ServerConnection, _path: str) -> None:
        connection.recv(TIMEOUT_S)
        done.wait(TIMEOUT_S)

    stream = Transport(fake_router(talk=talk).path).stream("/v1/machines/x/stream")
    with pytest.raises(Unreachable, match="did not answer in time"):
        commands.ask(stream, {"op": "job.list"}, timeout=0.1)
    done.set()


def test_a_question_without_a_word_about_time_then_has_a_limit() -> None:
    class Silent:
        def __init__(self) -> None:
            self.asked: list[float | None] = []

        def send_text(self, _text: str, *, timeout: float | None) -> None:
            self.asked.append(timeout)

        def receive(self, *, timeout: float | None) -> None:
            self.asked.append(timeout)
            raise Unreachable("silent")

        def close(self) -> None:
            return

    silent = Silent()
    with pytest.raises(Unreachable):
        commands.ask(silent, {"op": "job.list"})  # type: ignore[arg-type]
    assert silent.asked == [30.0, 30.0]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_patience_when_a_try_has_lasted_then_its_break_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSES_S", (1.0, 2.0))
    clock, broken = Clock(), Unreachable("broken")
    patience = following.Patience(clock)
    for wanted in (1.0, 2.0, 2.0):
        clock.now += 10
        patience.begin()
        assert patience.pause(broken) == wanted
    clock.now += 3600  # the third try was connected for an hour
    assert patience.pause(broken) == 1.0
    clock.now += 20
    patience.begin()
    assert patience.pause(broken) == 2.0
    clock.now += 20
    patience.begin()
    with pytest.raises(Unreachable):
        patience.pause(broken)
    patience.forget()
    assert patience.pause(broken) == 1.0


def test_patience_when_the_machine_is_silent_then_has_none() -> None:
    with pytest.raises(NoAnswer):
        following.Patience(Clock()).pause(NoAnswer("silent"))


# -- what a hostile machine may say -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "messages",
    [
        [{"started": {"job": 5}}],
        [{"started": {}}],
        [{"started": {"job": "job_4tq8w2", "position": 0}}, {"position": -1}],
        [{"started": {"job": "job_4tq8w2", "position": 0}}, {"position": True}],
        [{"started": {"job": "job_4tq8w2", "position": 0}}, {"position": 1 << 70}],
        [{"started": {"job": "job_4tq8w2", "position": 0}}, {"gone": {"bytes": 5, "position": "x"}}],
        [{"started": {"job": "job_4tq8w2", "position": 0}}, {"gone": {"bytes": 5, "position": 9}}, {"position": 3}],
        [{"started": {"job": "job_4tq8w2", "position": 0}}, {"started": {"job": "job_222222", "position": 0}}],
    ],
)
def test_positions_when_they_cannot_be_then_are_an_error(messages: list[dict[str, Any]]) -> None:
    progress = Progress()
    progress.request({"op": "job.logs"})
    with pytest.raises(Internal):
        for message in messages:
            if "started" in message:
                progress.begin(message["started"])
            else:
                progress.obey(message)


def test_an_old_guest_when_a_stream_broke_then_nothing_comes_twice() -> None:
    progress = Progress()
    progress.request({"op": "job.logs"})
    progress.begin({"job": "job_4tq8w2", "position": 0})
    progress.obey({"position": 5})
    progress.shown()
    progress.request({"op": "job.logs"})
    with pytest.raises(Internal, match="too old"):
        progress.begin({"job": "job_4tq8w2"})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=50), st.integers(0, 100)), max_size=40), st.data())
def test_input_whatever_was_taken_then_the_rest_is_kept(steps: list[bytes | int], data: st.DataObject) -> None:
    progress, sent, acknowledged = Progress(), b"", 0
    for step in steps:
        if isinstance(step, bytes):
            sent += step
            progress.sent(step)
        else:
            count = min(step, len(sent) - acknowledged)
            acknowledged += count
            progress.taken(count)
    got = data.draw(st.integers(acknowledged, len(sent)))
    assert b"".join(progress.unsent(got)) == sent[got:]
    assert b"".join(progress.unsent(got)) == sent[got:]


JOB = {"id": "job_4tq8w2", "state": "exited", "code": 0}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"jobs": {}},
        {"jobs": [5]},
        {"jobs": [{"id": "../../x", "state": "running"}]},
        {"jobs": [{**JOB, "state": "flying"}]},
        {"jobs": [{**JOB, "code": None}]},
        {"jobs": [{**JOB, "code": 256}]},
        {"jobs": [{**JOB, "code": True}]},
        {"jobs": [{**JOB, "state": "lost"}]},
        {"jobs": [{**JOB, "state": "running"}]},
    ],
)
def test_jobs_when_they_cannot_be_read_then_are_an_error(answer: Any) -> None:
    with pytest.raises(Internal):
        answers.read_jobs(answer)


@pytest.mark.parametrize("body", [None, {}, {"ready": "yes", "last": ""}, {"ready": True}, {"ready": False, "last": 3}])
def test_a_ready_answer_when_it_cannot_be_read_then_is_an_error(body: Any) -> None:
    with pytest.raises(Internal):
        answers.read_ready({"ready": body}, "port 1", 1)


def test_a_ready_answer_when_it_says_no_then_says_why() -> None:
    body: dict[str, Any] = {"ready": False, "last": "HTTP 503", "job": None, "log": ""}
    with pytest.raises(TimedOut, match="HTTP 503"):
        answers.read_ready({"ready": body}, "port 1", 1)
    body.update(job={**JOB, "code": 4}, log="boom\n")
    with pytest.raises(NotRunning, match="job_4tq8w2 ended with exit code 4 before port 1 was ready") as caught:
        answers.read_ready({"ready": body}, "port 1", 1)
    assert caught.value.details["log"] == "boom"
    body.update(job={**JOB, "state": "lost", "code": None})
    with pytest.raises(NotRunning, match="is lost"):
        answers.read_ready({"ready": body}, "port 1", 1)
    body.update(ready=True)
    assert answers.read_ready({"ready": body}, "port 1", 1) == body


# -- the SDK's iterator -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[], [1], [2], [3, 4], [2, 2, 2]])
def test_an_attachment_when_its_streams_break_then_gives_every_byte_once(fake_router: Make, cuts: list[int]) -> None:
    job = Job(list(cuts), dropped=10)
    request = {"op": "job.attach", "job": "job_4tq8w2"}
    with Attachment(Transport(fake_router(talk=job.talk).path), "x", request, "logs") as attachment:
        assert b"".join(data for _, data in attachment) == TEXT[10:]
    assert (attachment.exit_code, attachment.state, attachment.gone) == (3, "exited", 10)


@pytest.mark.parametrize("cuts", [[], [2], [2, 3]])
def test_an_attachment_when_written_to_then_input_arrives_once(fake_router: Make, cuts: list[int]) -> None:
    job, data = Job(list(cuts)), os.urandom(2 * WINDOW)
    request = {"op": "job.attach", "line": "cat", "stdin": True}
    with Attachment(Transport(fake_router(talk=job.talk).path), "x", request, "cat") as attachment:
        attachment.write(data)
        attachment.close_input()
        assert attachment.wait().stdout == TEXT
    assert (job.got == data, job.eof) == (True, True)


def test_an_attachment_when_the_job_is_lost_then_has_no_code(fake_router: Make) -> None:
    job = Job([], code=None)
    request = {"op": "job.attach", "job": "job_4tq8w2"}
    with Attachment(Transport(fake_router(talk=job.talk).path), "x", request, "logs") as attachment:
        assert sum(len(data) for _, data in attachment) == len(TEXT)
    assert (attachment.exit_code, attachment.state) == (None, "lost")
