"""The SDK for programs that await, against routers and guests that behave badly."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.fake_guest import FakeGuest
from tests.unit.client.fake_router import Answer, FakeRouter, Seen, raw_server
from websockets.sync.server import ServerConnection

from cloudrouter import (
    AsyncAttachment,
    AsyncClient,
    AsyncJob,
    AsyncMachine,
    AuthFailed,
    Conflict,
    Internal,
    NotFound,
    Unreachable,
)
from cloudrouter.client import following, observing, transport
from cloudrouter.client.aio import link, workers
from cloudrouter.client.aio import transport as aio_transport
from cloudrouter.client.aio.tasks import beside, surely, together
from cloudrouter.client.aio.transport import AsyncTransport
from cloudrouter.client.transport import NotListening, Transport
from cloudrouter.client.websocket import ConnectionLost

Make = Callable[..., FakeRouter]
FACTS = {"id": "cr_7k2m9xqd", "name": "proj", "state": "running"}
DEADLINE_S = 20.0


def facts(_seen: Seen) -> Answer:
    return Answer(200, FACTS)


@pytest.fixture
def guest(tmp_path: Path) -> FakeGuest:
    (tmp_path / "guest").mkdir()
    return FakeGuest(str(tmp_path / "guest"))


@pytest.fixture
async def client(fake_router: Make, guest: FakeGuest) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(fake_router(handle=facts, talk=guest.talk).path) as made:
        yield made


@pytest.fixture
async def machine(client: AsyncClient) -> AsyncMachine:
    return await client.get("proj")


# -- what the machine says --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"exit": {"duration_ms": 5}}, Internal),
        ({"exit": "0"}, Internal),
        ({"error": Conflict("Busy.").to_json()}, Conflict),
        ({"error": "x"}, Internal),
        ({"window": -1}, Internal),
        ({"window": "1"}, Internal),
    ],
)
async def test_run_when_the_last_word_is_wrong_then_is_an_error_and_never_success(
    machine: AsyncMachine, guest: FakeGuest, said: dict[str, Any], kind: type[Exception]
) -> None:
    guest.alter = lambda _message: said
    with pytest.raises(kind):
        await machine.run("true")


@pytest.mark.parametrize("message", [b"", b"\x03x", "no json", "[1]", "{" * 5000])
async def test_run_when_a_message_makes_no_sense_then_says_so(
    machine: AsyncMachine, guest: FakeGuest, message: bytes | str
) -> None:
    guest.before = lambda connection, _request: connection.send(message)
    with pytest.raises(Internal):
        await machine.run("true")


async def test_run_when_a_message_is_too_large_then_says_that_it_is_broken(
    machine: AsyncMachine, guest: FakeGuest
) -> None:
    guest.before = lambda connection, _request: connection.send(b"\x01" + b"x" * 2**20)
    with pytest.raises(Unreachable, match="not a WebSocket message"):
        await machine.run("true")


async def test_run_when_the_stream_ends_before_the_end_then_says_so(machine: AsyncMachine, guest: FakeGuest) -> None:
    guest.before = lambda connection, _request: connection.close(1001, "going")
    with pytest.raises(Unreachable, match=r"ended before the operation did \(going\)"):
        await machine.run("true")


async def test_run_when_the_connection_is_cut_then_is_lost(machine: AsyncMachine, guest: FakeGuest) -> None:
    guest.before = lambda connection, _request: connection.socket.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionLost):
        await machine.run("true")


async def test_jobs_when_the_machine_is_silent_then_ends_after_the_bound(
    machine: AsyncMachine, guest: FakeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()
    guest.before = lambda _connection, _request: bool(silent.wait(DEADLINE_S))  # type: ignore[assignment, return-value]
    monkeypatch.setattr("cloudrouter.client.aio.execution.ask.__kwdefaults__", {"timeout": 0.05})
    with pytest.raises(Unreachable, match="did not answer"):
        await machine.jobs()
    silent.set()


async def test_jobs_when_the_answer_is_no_list_of_jobs_then_is_an_error(
    machine: AsyncMachine, guest: FakeGuest
) -> None:
    for said in ({"jobs": 5}, {"jobs": [5]}, {"jobs": [{"id": 5}]}, {"job": {}}):
        guest.alter = lambda _message, said=said: said  # type: ignore[misc]
        with pytest.raises(Internal):
            await machine.jobs()


async def test_error_while_input_is_written_is_told_by_the_read(machine: AsyncMachine, guest: FakeGuest) -> None:
    def refuse(connection: ServerConnection, _request: dict[str, Any]) -> None:
        connection.send(json.dumps({"error": NotFound("No such folder.").to_json()}))
        connection.close()

    guest.before = refuse
    with pytest.raises(NotFound, match="No such folder"):
        await machine.run("cat", input=b"x" * 3_000_000)


async def test_input_that_cannot_be_read_ends_the_command(machine: AsyncMachine, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        await machine.run("cat", input=file)  # opened for writing


async def test_upload_when_cancelled_then_lets_go_at_once(fake_router: Make, tmp_path: Path) -> None:
    asked, gone = threading.Event(), threading.Event()

    def talk(connection: ServerConnection, _path: str) -> None:
        connection.recv(DEADLINE_S)
        asked.set()  # and grants nothing
        try:
            while True:
                connection.recv(DEADLINE_S)
        finally:
            gone.set()

    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    async with AsyncClient(fake_router(handle=facts, talk=talk).path) as client:
        task = asyncio.create_task((await client.get("proj")).files.upload(tmp_path / "big", "big"))
        assert await asyncio.to_thread(asked.wait, DEADLINE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE_S)
        assert await asyncio.to_thread(gone.wait, DEADLINE_S)


async def test_work_that_has_not_begun_when_cancelled_never_begins(
    fake_router: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "AT_ONCE", 1)
    shared = link.Link(fake_router().path)
    release, began = threading.Event(), threading.Event()

    def hold(_transport: Transport) -> None:
        began.set()
        release.wait(DEADLINE_S)

    ran: list[int] = []
    first = asyncio.create_task(shared.in_thread(hold))
    assert await asyncio.to_thread(began.wait, DEADLINE_S)
    second = asyncio.create_task(shared.in_thread(lambda _transport: ran.append(2)))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(second, DEADLINE_S)
    release.set()
    await first
    await shared.close()
    assert ran == []


# -- what the router says ---------------------------------------------------------------------------------------


async def test_call_when_a_kept_connection_was_closed_then_is_asked_again(fake_router: Make) -> None:
    router = fake_router(handle=facts)
    way = AsyncTransport(router.path)
    assert await way.call("GET", "/v1/x") == FACTS
    await way.call("GET", "/v1/x")
    assert router.connections == 1
    router.cut_connections()
    assert await way.call("POST", "/v1/x", {"a": 1}) == FACTS
    assert router.seen[-1].body == {"a": 1}
    assert way.server_version == "9.9.9"
    await way.close()


async def test_call_when_the_answer_is_cut_then_is_lost(fake_router: Make) -> None:
    way = AsyncTransport(fake_router(handle=lambda _seen: Answer(cut=True)).path)
    with pytest.raises(ConnectionLost):
        await way.call("GET", "/v1/x")


async def test_call_when_the_router_hangs_then_ends_in_time(fake_router: Make) -> None:
    release = threading.Event()
    way = AsyncTransport(fake_router(handle=lambda _seen: Answer(200, release.wait(DEADLINE_S))).path)
    with pytest.raises(Unreachable, match="in time"):
        await way.call("GET", "/v1/x", timeout=0.05)
    release.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{{{",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
    ],
)
async def test_call_when_the_answer_is_not_http_then_is_unreachable(short_dir: str, answer: bytes) -> None:
    path = f"{short_dir}/raw.sock"

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(answer)

    way = AsyncTransport(path)
    with raw_server(path, script), pytest.raises(Unreachable):
        await way.call("GET", "/v1/x", timeout=DEADLINE_S)
    await way.close()


async def test_stream_when_refused_then_raises_what_the_router_says(short_dir: str) -> None:
    body = json.dumps({"error": NotFound("No such path.").to_json()}).encode()
    path = f"{short_dir}/raw.sock"

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 404 X\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    with raw_server(path, script), pytest.raises(NotFound, match="No such path"):
        await AsyncTransport(path).stream("/v1/x")


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"]
)
async def test_stream_when_the_other_side_is_no_router_then_is_unreachable(short_dir: str, answer: bytes) -> None:
    path = f"{short_dir}/raw.sock"

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(answer)

    with raw_server(path, script):
        way = AsyncTransport(path)
        with pytest.raises(Unreachable):
            await way.stream("/v1/x")
        assert way._streams._value == aio_transport.STREAMS_AT_ONCE


async def test_connection_when_the_queue_is_full_then_waits_for_a_place(short_dir: str) -> None:
    path = f"{short_dir}/full.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        waiting = []
        while True:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            waiting.append(sock)
            try:
                sock.connect(path)
            except BlockingIOError:
                break
        task = asyncio.create_task(AsyncTransport(path).call("GET", "/v1/x"))
        await asyncio.sleep(0.05)
        assert not task.done()

        def serve() -> None:
            for _ in waiting[:-1]:
                listener.accept()[0].close()
            with listener.accept()[0] as peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ntrue")

        serving = asyncio.create_task(asyncio.to_thread(serve))
        assert await asyncio.wait_for(task, DEADLINE_S) is True
        await serving
        for sock in waiting:
            sock.close()


async def test_connection_to_another_users_socket_is_refused(
    fake_router: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fake_router(handle=facts).path
    monkeypatch.setattr(transport.os, "getuid", lambda: 4242)
    if os.geteuid() == 0:
        monkeypatch.setattr(transport.struct, "unpack", lambda _form, _data: (1, 77, 77))
    with pytest.raises(AuthFailed):
        await AsyncTransport(path).call("GET", "/v1/x")


async def test_lines_when_left_early_then_close_their_connection(fake_router: Make) -> None:
    router = fake_router(handle=lambda _seen: Answer(lines=[{"n": number} for number in range(100)]))
    way = AsyncTransport(router.path)
    lines = way.lines("GET", "/v1/x")
    assert await anext(lines) == {"n": 0}
    await lines.aclose()
    assert not way._idle
    assert [line["n"] async for line in way.lines("GET", "/v1/x")] == list(range(100))
    assert len(way._idle) == 1
    await way.close()


async def test_lines_when_refused_or_broken_then_raise(fake_router: Make) -> None:
    refusing = AsyncTransport(fake_router(handle=lambda _seen: Answer(404, {"error": NotFound("No.").to_json()})).path)
    with pytest.raises(NotFound):
        await anext(refusing.lines("GET", "/v1/x"))
    await refusing.close()
    broken: list[Any] = ["not an object"]
    wrong = AsyncTransport(fake_router(handle=lambda _seen: Answer(lines=broken)).path)
    with pytest.raises(Unreachable):
        await anext(wrong.lines("GET", "/v1/x"))


async def test_client_when_the_users_router_is_gone_then_it_is_started_again(
    fake_router: Make, monkeypatch: pytest.MonkeyPatch, guest: FakeGuest
) -> None:
    router = fake_router(handle=facts, talk=guest.talk)
    revived: list[str] = []

    def revive(gone: Transport) -> None:
        revived.append(gone.socket_path)
        os.unlink(router.path)
        router.start()

    monkeypatch.setattr("cloudrouter.client.router.revive", revive)
    async with AsyncClient(router.path) as client:
        machine = await client.get("proj")
        router.stop()
        assert (await machine.refresh()).name == "proj"
        router.stop()
        assert (await machine.run("echo hi")).out == "hi\n"
    assert revived == [router.path] * 2


async def test_client_without_a_router_of_ones_own_says_that_none_listens(short_dir: str) -> None:
    async with AsyncClient(f"{short_dir}/none.sock") as client:
        with pytest.raises(NotListening):
            await client.list()


# -- following --------------------------------------------------------------------------------------------------


def event(number: int) -> dict[str, Any]:
    return {"seq": number, "at": "now", "kind": "k", "machine_id": None, "message": "", "data": {}, "newer": 1}


async def test_events_when_the_router_is_restarted_then_go_on_behind_the_last(
    fake_router: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def handle(seen: Seen) -> Answer:
        asked.append(seen.path)
        if "after=7" in seen.path:
            return Answer(lines=[event(8), event(9)])
        return Answer(lines=[event(6), event(7)])

    monkeypatch.setattr("cloudrouter.client.router.revive", lambda _gone: None)
    async with AsyncClient(fake_router(handle=handle).path) as client:
        found = []
        async for one in client.events(machine="a b", kind="x*", after=5, follow=True):
            found.append(one.seq)
            if one.seq == 9:
                break
    assert found == [6, 7, 8, 9]
    assert asked == [f"/v1/events/follow?machine=a+b&kind=x%2A&after={number}" for number in (5, 7)]


async def test_events_when_the_router_ends_again_and_again_then_give_up(
    fake_router: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = fake_router(handle=lambda _seen: Answer(lines=[]))
    monkeypatch.setattr("cloudrouter.client.router.revive", lambda _gone: None)
    async with AsyncClient(router.path) as client:
        with pytest.raises(ConnectionLost, match="again and again"):
            await anext(client.events(after=5, follow=True))
        with pytest.raises(ConnectionLost, match="again and again"):
            await anext(client.follow_stats())
    assert len(router.seen) == 2 * observing.ROUNDS


async def test_events_when_there_are_pages_then_all_come(fake_router: Make) -> None:
    pages = {"/v1/events": [1, 2], "/v1/events?after=2": [3], "/v1/events?after=3": []}
    router = fake_router(
        handle=lambda seen: Answer(200, {"events": [event(number) for number in pages[seen.path]], "last": 3})
    )
    async with AsyncClient(router.path) as client:
        assert [one.seq async for one in client.events()] == [1, 2, 3]


async def test_answers_that_cannot_be_read_are_errors(fake_router: Make) -> None:
    async with AsyncClient(fake_router(handle=lambda _seen: Answer(200, {"events": [{}], "stats": 5})).path) as client:
        for call in (client.list(), client.get("x"), client.stats(), client.volumes.list(), client.volumes.get("x")):
            with pytest.raises(Internal):
                await call
        with pytest.raises(Internal):
            await anext(client.events())


# -- tasks ------------------------------------------------------------------------------------------------------


async def test_surely_when_cancelled_twice_then_ends_its_work_first() -> None:
    go, done = asyncio.Event(), []

    async def work() -> None:
        await go.wait()
        done.append(1)

    task = asyncio.create_task(surely(work()))
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [1]


async def test_beside_and_together_when_one_fails_then_the_other_is_ended() -> None:
    ended: list[str] = []

    async def forever(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await beside(forever("main"), fail())
    with pytest.raises(ZeroDivisionError):
        await together(forever("one"), fail())

    async def answer() -> int:
        await asyncio.sleep(0)
        return 5

    assert await beside(answer(), forever("helper")) == 5
    assert ended == ["main", "one", "helper"]


async def test_nothing_is_left_on_the_loop_when_a_client_is_closed(client: AsyncClient, machine: AsyncMachine) -> None:
    await asyncio.gather(*(machine.run("true") for _ in range(5)))
    await client.close()
    gc.collect()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_attachment_when_the_stream_breaks_before_the_command_is_known_to_run_then_starts_it_only_once(
    fake_router: Make,
) -> None:
    asked = []

    def talk(connection: ServerConnection, _path: str) -> None:
        asked.append(json.loads(connection.recv(DEADLINE_S)))
        connection.socket.shutdown(socket.SHUT_RDWR)

    shared = link.Link(fake_router(talk=talk).path)
    request = {"op": "job.attach", "line": "true"}
    async with await AsyncAttachment.begin_at(shared, "cr_7k2m9xqd", request, "true") as attachment:
        with pytest.raises(Unreachable, match="while a command was being started"):
            await attachment.wait()
    assert asked == [request]
    await shared.close()


async def test_question_about_a_job_when_its_stream_breaks_then_is_asked_again(
    fake_router: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def talk(connection: ServerConnection, _path: str) -> None:
        asked.append(json.loads(connection.recv(DEADLINE_S)))
        if len(asked) < 3:
            connection.socket.shutdown(socket.SHUT_RDWR)
        else:
            connection.send(json.dumps({"job": {"id": "job_4tq8w2", "state": "exited", "code": 7}}))

    monkeypatch.setattr(following, "PAUSES_S", (0.0,))
    async with AsyncClient(fake_router(handle=facts, talk=talk).path) as client:
        job = AsyncJob(await client.get("proj"), client._link, {"id": "job_4tq8w2", "state": "running", "code": None})
        assert await job.wait() == 7
    assert asked == [{"op": "job.wait", "job": "job_4tq8w2"}] * 3
