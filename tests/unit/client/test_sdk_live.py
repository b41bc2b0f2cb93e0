"""Both SDKs against a real router whose machines are local processes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.live import memory_router

from cloudrouter import (
    AsyncAttachment,
    AsyncClient,
    AsyncMachine,
    Client,
    CommandFailed,
    Conflict,
    Machine,
    NotFound,
    NotRunning,
    TimedOut,
    Unreachable,
    Unsupported,
    UsageError,
)
from cloudrouter.client.aio import transport as aio_transport
from cloudrouter.client.aio.link import Link

SERVE = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    peer, _ = server.accept()
    with peer:
        while data := peer.recv(65536):
            peer.sendall(data.upper())
        peer.sendall(b"BYE")
"""


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with memory_router(str(tmp_path_factory.mktemp("router"))) as transport:
        yield transport.socket_path


@pytest.fixture(scope="module")
def machine(router: str) -> Iterator[Machine]:
    with Client(router) as client, client.start(cpu=1, memory="256m", name="shared") as made:
        yield made


@pytest.fixture
async def client(router: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(router) as made:
        yield made


@pytest.fixture
async def async_machine(client: AsyncClient, machine: Machine) -> AsyncMachine:
    return await client.get(machine.id)


@pytest.fixture(scope="module")
def echo_port(machine: Machine) -> Iterator[int]:
    """A port inside, where a server answers in capitals and says BYE when it has heard all."""
    with machine.exec(["python3", "-uc", SERVE]) as execution:
        yield int(next(iter(execution)).data)


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- life -------------------------------------------------------------------------------------------------------


async def test_async_start_when_entered_then_has_the_files_and_is_deleted_at_the_end(
    client: AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "hello.txt").write_text("hi")
    phases: list[str] = []
    async with client.machines.start(
        tmp_path, cpu=1, memory="256m", labels={"a": "1"}, progress=lambda event: phases.append(event["phase"])
    ) as made:
        assert (await made.run("cat hello.txt")).out == "hi"
        assert [one.id for one in await client.list(labels={"a": "1"})] == [made.id]
        assert await client.list(labels={"a": "2"}) == []
    assert made.state == "gone"
    assert phases[0] == "selecting"
    assert phases[-1] == "ready"
    with pytest.raises(NotFound):
        await client.delete(made.id)


async def test_async_start_when_awaited_then_lives_until_its_block_ends(client: AsyncClient) -> None:
    made = await asyncio.create_task(client.start(cpu=1, memory="256m"))
    async with made:
        assert (await client.get(made.id)).state == "running"
    assert made.state == "gone"


async def test_with_block_of_a_machine_that_was_found_leaves_it(
    client: AsyncClient, machine: Machine, router: str
) -> None:
    async with await client.get("shared") as found:
        assert found.id == machine.id
    with Client(router) as other, other.get("shared") as again:
        pass
    assert again.refresh().state == "running"


async def test_async_start_when_cancelled_then_leaves_no_machine(client: AsyncClient) -> None:
    before = {one.id for one in await client.list()}
    for phase in ("creating", "created", "booting", "booted"):
        task: asyncio.Task[AsyncMachine]

        def note(event: dict[str, Any], phase: str = phase) -> None:
            if event["phase"] == phase:
                task.cancel()  # noqa: B023 - the task of this turn, which ends within it

        task = asyncio.create_task(client.start(cpu=1, memory="256m", progress=note))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert {one.id for one in await client.list()} == before, phase


async def test_async_start_when_cancelled_at_its_very_end_then_leaves_no_machine(client: AsyncClient) -> None:
    before = {one.id for one in await client.list()}
    made: list[asyncio.Task[AsyncMachine]] = []

    def cancel(event: dict[str, Any]) -> None:
        if event["phase"] == "ready":
            made[0].cancel()

    made.append(asyncio.create_task(client.start(cpu=1, memory="256m", progress=cancel)))
    with pytest.raises(asyncio.CancelledError):
        await made[0]
    assert {one.id for one in await client.list()} == before


async def test_async_exit_when_cancelled_then_has_deleted_the_machine(client: AsyncClient) -> None:
    inside = asyncio.Event()
    found: list[AsyncMachine] = []

    async def work() -> None:
        async with client.start(cpu=1, memory="256m") as made:
            found.append(made)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.wait_for(inside.wait(), 20)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await client.get(found[0].id)).state == "gone"


async def test_async_life_verbs_when_called_then_update_the_machine(client: AsyncClient) -> None:
    async with client.start(cpu=1, memory="256m", name="life") as made:
        assert (await made.rename("other")).name == "other"
        assert (await client.get("other")).id == made.id
        with pytest.raises(Conflict):
            await made.rename("shared")
        assert (await made.stop()).state == "stopped"
        assert (await made.resume()).state == "running"
        assert (await made.extend(90)).expires_at
        assert (await made.refresh()).image == "core"
        assert made.facts["name"] == "other"
        with pytest.raises(AttributeError):
            _ = made.colour


async def test_errors_of_the_router_keep_their_class(client: AsyncClient) -> None:
    with pytest.raises(NotFound):
        await client.get("nowhere")
    with pytest.raises(UsageError):
        await client.get("none/../x")
    with pytest.raises(Unsupported):
        await client.volumes.create("data", provider="memory")
    with pytest.raises(NotFound):
        await client.start("/nonexistent")
    with pytest.raises(TypeError):
        await client.start(colour="red")  # type: ignore[call-arg]


# -- commands ---------------------------------------------------------------------------------------------------


async def test_async_run_when_ended_then_tells_code_and_output(async_machine: AsyncMachine, tmp_path: Path) -> None:
    result = await async_machine.run("printf out; printf err >&2; exit 7", env={"X": "1"})
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"out", b"err")
    assert (await async_machine.run(["printf", "%s|", "a b", "$HOME"])).out == "a b|$HOME|"
    assert (await async_machine.run("cat", input="text ü")).out == "text ü"
    assert (await async_machine.run("wc -c", input=b"x" * 3_000_000)).out.strip() == "3000000"
    (tmp_path / "file").write_bytes(b"y" * 2_000_000)
    with open(tmp_path / "file", "rb") as file:
        assert (await async_machine.run("wc -c", input=file)).out.strip() == "2000000"
    timed = await async_machine.run("sleep 30", timeout=0.2)
    assert (timed.timed_out, timed.exit_code) == (True, 124)
    with pytest.raises(CommandFailed, match="exit code 3"):
        await async_machine.run("exit 3", check=True)


async def test_async_run_when_its_input_is_a_pipe_then_waits_for_it_without_a_thread(
    async_machine: AsyncMachine,
) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as file, open(writing, "wb", buffering=0) as pipe:
        before = threading.active_count()
        task = asyncio.create_task(async_machine.run("cat", input=file))
        pipe.write(b"one ")
        await asyncio.sleep(0.05)
        assert threading.active_count() == before
        pipe.write(b"two")
        pipe.close()
        assert (await task).out == "one two"


async def test_async_run_when_the_command_ends_first_then_does_not_wait_for_its_input(
    async_machine: AsyncMachine,
) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as file, open(writing, "wb", buffering=0):
        assert (await asyncio.wait_for(async_machine.run("exit 5", input=file), 20)).exit_code == 5


async def test_async_run_when_cancelled_then_ends_its_command(
    async_machine: AsyncMachine, machine: Machine, tmp_path: Path
) -> None:
    mark = tmp_path / "pid"
    task = asyncio.create_task(async_machine.run(f"echo $$ > {mark}; exec sleep 1000"))
    await asyncio.to_thread(until, lambda: mark.exists() and mark.read_text().strip())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pid = mark.read_text().strip()
    await asyncio.to_thread(until, lambda: not Path(f"/proc/{pid}").exists())


async def test_async_exec_when_iterated_then_gives_output_as_it_comes(async_machine: AsyncMachine) -> None:
    async with async_machine.exec("read a; echo got $a; read b; echo got $b; exit 2", stdin=True) as execution:
        pieces = aiter(execution)
        await execution.write("one\n")
        assert await anext(pieces) == ("stdout", b"got one\n")
        assert execution.exit_code is None
        await execution.write(b"two\n")
        assert (await execution.wait()).out == "got two\n"
        assert execution.exit_code == 2


async def test_async_exec_when_one_task_writes_and_another_reads_then_nothing_is_lost(
    async_machine: AsyncMachine,
) -> None:
    data = os.urandom(5_000_000)

    async def write() -> None:
        await execution.write(data)
        await execution.close_input()

    async with async_machine.exec("cat", stdin=True) as execution:
        result, _ = await asyncio.gather(execution.wait(), write())
    assert result.stdout == data


async def test_async_exec_when_signalled_then_the_command_gets_it(async_machine: AsyncMachine) -> None:
    execution = await async_machine.exec("trap 'echo int; exit 9' INT; echo ready; while :; do sleep 0.01; done")
    async with execution:
        assert (await anext(aiter(execution))).data == b"ready\n"
        with pytest.raises(UsageError):
            await execution.send_signal("NOPE")
        await execution.send_signal("int")
        result = await execution.wait()
        assert (result.out, result.exit_code) == ("int\n", 9)


async def test_hundred_commands_at_once_on_one_client_all_come_back(
    async_machine: AsyncMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_now = most = 0
    original = aio_transport.open_stream

    async def counting(*given: Any) -> Any:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            return await original(*given)
        finally:
            open_now -= 1

    monkeypatch.setattr(aio_transport, "open_stream", counting)
    threads = threading.active_count()
    results = await asyncio.gather(*(async_machine.run(f"echo {number}") for number in range(100)))
    assert [result.out for result in results] == [f"{number}\n" for number in range(100)]
    assert most <= aio_transport.OPENINGS_AT_ONCE
    assert threading.active_count() == threads


async def test_streams_beyond_the_bound_wait_and_short_questions_do_not(
    async_machine: AsyncMachine, monkeypatch: pytest.MonkeyPatch, router: str, machine: Machine
) -> None:
    monkeypatch.setattr(aio_transport, "STREAMS_AT_ONCE", 2)
    async with AsyncClient(router) as bounded:
        found = await bounded.get(machine.id)
        held = [await found.exec("sleep 1000") for _ in range(2)]
        third = asyncio.create_task(found.run("echo three"))
        assert isinstance(await asyncio.wait_for(found.jobs(), 20), list)
        assert not third.done()
        await held[0].close()
        assert (await asyncio.wait_for(third, 20)).out == "three\n"
        await held[1].close()


async def test_async_execution_that_nobody_holds_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch, router: str, machine: Machine
) -> None:
    monkeypatch.setattr(aio_transport, "STREAMS_AT_ONCE", 1)
    async with AsyncClient(router) as bounded:
        found = await bounded.get(machine.id)
        execution = await found.exec("sleep 1000")
        del execution
        assert (await asyncio.wait_for(found.run("echo free"), 20)).out == "free\n"


# -- jobs and files ---------------------------------------------------------------------------------------------


async def test_async_job_when_started_then_tells_its_logs_and_ends(async_machine: AsyncMachine) -> None:
    job = await async_machine.start_job("echo out; echo err >&2; exit 4")
    assert await job.wait() == 4
    assert job.state == "exited"
    assert {piece async for piece in job.logs()} == {("stdout", b"out\n"), ("stderr", b"err\n")}
    assert b"".join([piece.data async for piece in job.logs(tail=1)]).count(b"\n") == 1
    assert job.id in [one.id for one in await async_machine.jobs()]
    with pytest.raises(NotFound):
        await async_machine.start_job(["no-such-program"])


async def test_async_job_when_waited_for_too_long_then_goes_on_until_killed(async_machine: AsyncMachine) -> None:
    job = await async_machine.start_job("echo up; exec sleep 1000")
    with pytest.raises(TimedOut, match="still runs"):
        await job.wait(timeout=0.1)
    assert job.state == "running"
    with pytest.raises(UsageError):
        await job.kill("NOPE")
    assert await job.kill("sigterm") >= 1
    assert await asyncio.wait_for(job.wait(), 20) == 143
    assert job.exit_code == 143


async def test_async_attachment_when_left_then_the_job_goes_on(async_machine: AsyncMachine) -> None:
    job = await async_machine.start_job("trap 'echo int; exit 9' INT; echo one; while :; do sleep 0.01; done")
    async with job.attach() as attachment:
        assert await anext(aiter(attachment)) == ("stdout", b"one\n")
        assert (attachment.exit_code, attachment.state) == (None, "")
    assert (await job.refresh()).state == "running"
    async with job.attach() as attachment:
        await attachment.send_signal("INT")
        assert b"".join([piece.data async for piece in attachment]) == b"one\nint\n"
        assert (attachment.exit_code, attachment.state, attachment.gone) == (9, "exited", 0)


@pytest.mark.slow
async def test_async_attachment_when_the_router_is_restarted_then_gives_every_byte_once(tmp_path: Path) -> None:
    base = str(tmp_path)
    with memory_router(base, keep=True) as transport:
        client = AsyncClient(transport.socket_path)
        machine = await client.start(cpu=1, memory="256m")
        job = await machine.start_job("for i in $(seq 300); do echo $i; sleep 0.01; done; exit 7")
        attachment = await job.attach()
        heard = (await anext(aiter(attachment))).data
    reading = asyncio.create_task(attachment.wait())
    await asyncio.sleep(0)
    with memory_router(base):
        heard += (await asyncio.wait_for(reading, 30)).stdout
        assert heard.split() == [b"%d" % number for number in range(1, 301)]
        assert attachment.exit_code == 7
        await client.close()


@pytest.mark.slow
async def test_async_attachment_when_the_router_is_restarted_then_input_arrives_once_and_in_order(
    tmp_path: Path,
) -> None:
    base = str(tmp_path)
    data = b"".join(b"%07d\n" % number for number in range(400_000))
    half = len(data) // 2
    begin = {"op": "job.attach", "line": "sha256sum", "stdin": True}
    with memory_router(base, keep=True) as transport:
        shared = Link(transport.socket_path)
        client = AsyncClient(transport.socket_path)
        machine = await client.start(cpu=1, memory="256m")
        attachment = await AsyncAttachment.begin_at(shared, machine.id, begin, "sha256sum")
        await attachment.write(data[:half])
    writing = asyncio.create_task(attachment.write(data[half:]))
    reading = asyncio.create_task(attachment.wait())
    await asyncio.sleep(0)
    with memory_router(base):
        await asyncio.wait_for(writing, 30)
        await attachment.close_input()
        assert (await asyncio.wait_for(reading, 30)).out.split()[0] == hashlib.sha256(data).hexdigest()
        await client.close()
        await shared.close()


async def test_wait_ready_when_a_server_comes_up_then_returns(async_machine: AsyncMachine, machine: Machine) -> None:
    server = await async_machine.start_job(["python3", "-uc", SERVE])
    port = int((await anext(server.logs(follow=True))).data)
    await async_machine.wait_ready(port=port, job=server)
    machine.wait_ready(port=port, timeout=5)
    await server.kill("KILL")
    await server.wait()
    with pytest.raises(TimedOut):
        await async_machine.wait_ready(port=port, timeout=0.2)
    short = await async_machine.start_job("echo last words; exit 3")
    with pytest.raises(NotRunning, match="exit code 3"):
        await async_machine.wait_ready(url=f"http://localhost:{port}/health", job=short.id)
    for wrong in ({}, {"url": "http://example.com/"}, {"url": f"http://localhost:{port}/", "port": 1}):
        with pytest.raises(UsageError):
            await async_machine.wait_ready(**wrong)  # type: ignore[arg-type]


async def test_async_files_when_written_then_are_read_again(async_machine: AsyncMachine, tmp_path: Path) -> None:
    await async_machine.files.write("deep/tool", b"\x00\xff", mode=0o755)
    assert await async_machine.files.read("deep/tool") == b"\x00\xff"
    assert (await async_machine.run("stat -c %a deep/tool")).out == "755\n"
    await async_machine.files.write("t", "ü")
    assert await async_machine.files.read_text("t") == "ü"
    with pytest.raises(NotFound):
        await async_machine.files.read("nothere")
    await async_machine.files.download("deep", tmp_path / "here")
    assert (tmp_path / "here" / "tool").read_bytes() == b"\x00\xff"
    await async_machine.files.upload(tmp_path / "here", "again")
    assert (await async_machine.run("cat again/tool")).stdout == b"\x00\xff"


async def test_loop_goes_on_while_files_are_packed(async_machine: AsyncMachine, tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}").write_bytes(b"x" * 20_000)
    longest, last = 0.0, time.monotonic()
    task = asyncio.create_task(async_machine.files.upload(tmp_path, "many"))
    rounds = 0
    while not task.done():
        await asyncio.sleep(0)
        now = time.monotonic()
        longest, last, rounds = max(longest, now - last), now, rounds + 1
    assert (await task)["files"] == 300
    assert rounds > 20


# -- ports ------------------------------------------------------------------------------------------------------


def test_tunnel_when_open_then_carries_bytes_both_ways(machine: Machine, echo_port: int) -> None:
    with machine.connect(echo_port) as tunnel:
        tunnel.send(b"hello")
        assert tunnel.receive(3) == b"HEL"
        assert tunnel.receive() == b"LO"
        tunnel.close_input()
        assert tunnel.receive() == b"BYE"
        assert tunnel.receive() == b""


def test_tunnel_when_nothing_listens_then_says_so(machine: Machine) -> None:
    with pytest.raises(Unreachable, match="port 1"):
        machine.connect(1, host="127.0.0.1")
    for wrong in (0, 65536, "80", True):
        with pytest.raises(UsageError):
            machine.connect(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not inside"):
        machine.connect(80, host="10.0.0.1")


async def test_async_tunnel_when_one_task_sends_and_another_receives_then_nothing_is_lost(
    async_machine: AsyncMachine, echo_port: int
) -> None:
    data = b"abcdefgh" * 500_000

    async def send() -> None:
        await tunnel.send(data)
        await tunnel.close_input()

    async with async_machine.connect(echo_port, host="127.0.0.1") as tunnel:
        sending = asyncio.create_task(send())
        received = bytearray()
        while piece := await tunnel.receive():
            received += piece
        await sending
    assert received == data.upper() + b"BYE"
    with pytest.raises(Unreachable):
        await async_machine.connect(1)


def talk(port: int, data: bytes) -> bytes:
    """Send all, hear all."""
    with socket.create_connection(("127.0.0.1", port), 20) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        heard = bytearray()
        while piece := peer.recv(65536):
            heard += piece
    return bytes(heard)


def test_forward_when_open_then_leads_inside_until_closed(machine: Machine, echo_port: int) -> None:
    with machine.forward(echo_port) as forward:
        assert talk(forward.port, b"a" * 300_000) == b"A" * 300_000 + b"BYE"
        assert talk(forward.port, b"again") == b"AGAINBYE"
        assert forward.url == f"http://127.0.0.1:{forward.port}"
        assert forward.error == ""
        with pytest.raises(Conflict, match=str(forward.port)):
            machine.forward(echo_port, local_port=forward.port)
    with pytest.raises(ConnectionRefusedError):
        talk(forward.port, b"x")
    forward.close()
    assert not any(thread.name == "cloudrouter forward" for thread in threading.enumerate())


def test_forward_when_nothing_listens_inside_then_closes_and_tells_why(machine: Machine) -> None:
    with machine.forward(1) as forward:
        with closing(socket.create_connection(("127.0.0.1", forward.port), 20)) as peer:
            try:
                assert peer.recv(10) == b""
            except ConnectionResetError:
                pass
        until(lambda: "port 1" in forward.error)


async def test_async_forward_when_closed_then_ends_its_connections(async_machine: AsyncMachine, echo_port: int) -> None:
    async with async_machine.forward(echo_port) as forward:
        assert await asyncio.to_thread(talk, forward.port, b"hi") == b"HIBYE"
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"held")
        assert await reader.readexactly(4) == b"HELD"
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await reader.readexactly(1)
    writer.close()
    with pytest.raises(UsageError):
        await async_machine.forward(echo_port, local_port=70000)


async def test_async_forward_when_asked_many_times_at_once_then_answers_all(
    async_machine: AsyncMachine,
) -> None:
    async with async_machine.exec(["python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]) as server:
        said = (await anext(aiter(server))).data.decode()
        async with async_machine.forward(int(said.split(" port ")[1].split()[0])) as forward:

            def fetch() -> int:
                with urllib.request.urlopen(forward.url, timeout=20) as answer:
                    return int(answer.status)

            assert set(await asyncio.gather(*(asyncio.to_thread(fetch) for _ in range(20)))) == {200}


# -- watching ---------------------------------------------------------------------------------------------------


async def test_events_when_followed_then_come_once_and_in_order(client: AsyncClient, router: str) -> None:
    seen: list[tuple[int, str]] = []
    began = asyncio.Event()

    async def follow() -> None:
        async for event in client.events(kind="machine.*", follow=True, after=last):
            began.set()
            seen.append((event.seq, event.kind))
            if event.kind == "machine.gone":
                return

    last = max(event.seq for event in [one async for one in client.events()])
    following = asyncio.create_task(follow())
    async with client.start(cpu=1, memory="256m") as made:
        await asyncio.wait_for(began.wait(), 20)
        own = [event.kind async for event in made.events()]
    await asyncio.wait_for(following, 20)
    numbers = [number for number, _ in seen]
    assert numbers == sorted(set(numbers))
    assert [kind for _, kind in seen][: len(own)] == own
    with Client(router) as blocking:
        assert [event.seq for event in blocking.events(after=last, kind="machine.*")] == numbers
        assert [event.kind for event in blocking.get(made.id).events()] == [kind for _, kind in seen]


async def test_events_when_followed_without_a_place_then_begin_now(client: AsyncClient) -> None:
    following = client.events(follow=True)
    first = asyncio.ensure_future(anext(following))
    made = await client.start(cpu=1, memory="256m", name="fresh")
    async with made:
        event = await asyncio.wait_for(first, 20)
    assert event.machine_id == made.id
    await following.aclose()  # type: ignore[attr-defined]


async def test_stats_when_asked_then_measure_the_machine(client: AsyncClient, machine: Machine) -> None:
    usage = machine.stats()
    assert (usage.id, usage.state) == (machine.id, "running")
    assert (usage.processes or 0) >= 1
    found = await client.get(machine.id)
    assert (await found.stats()).id == machine.id
    assert [one.id for one in await client.stats([machine.id])] == [machine.id]
    rounds = 0
    async for usages in client.follow_stats([machine.id], interval=0.5):
        assert [one.id for one in usages] == [machine.id]
        rounds += 1
        if rounds == 2:
            break
    assert rounds == 2
