"""Who gets in, and what a broken message costs."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest
from tests.unit.guest.machine import MACHINE_ID, TOKEN, Machine, finish, send
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cloudrouter.wire.streams import MESSAGE_LIMIT

AUTH = ("Authorization", f"Bearer {TOKEN}")


async def refused(machine: Machine, headers: object, path: str = "/stream") -> int:
    from websockets.asyncio.client import unix_connect

    with pytest.raises(InvalidStatus) as caught:
        async with unix_connect(machine.socket, f"ws://guest{path}", additional_headers=headers):  # type: ignore[arg-type]
            raise AssertionError("it was let in")
    assert "Server" not in caught.value.response.headers
    return caught.value.response.status_code


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer wrong")],
        [("Authorization", f"Basic {TOKEN}")],
        [("Authorization", TOKEN)],
        [AUTH, ("Authorization", "Bearer wrong")],
        [AUTH, AUTH],
    ],
)
async def test_a_stream_when_the_token_is_not_right_then_is_refused(shared: Machine, headers: object) -> None:
    assert await refused(shared, headers) == 401


@pytest.mark.parametrize("origin", ["http://localhost", "null", ""])
async def test_a_stream_when_it_has_an_origin_then_is_refused_despite_its_token(shared: Machine, origin: str) -> None:
    assert await refused(shared, [AUTH, ("Origin", origin)]) == 403


async def test_a_stream_when_its_path_is_another_then_is_refused(shared: Machine) -> None:
    assert await refused(shared, [AUTH], "/other") == 404


@pytest.mark.parametrize(("header", "status"), [("", b"401"), (f"Authorization: Bearer {TOKEN}\r\n", b"404")])
async def test_plain_http_when_asked_then_says_nothing_of_itself(shared: Machine, header: str, status: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(shared.socket)
    writer.write(f"GET /stream HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] == status
    assert b"python" not in answer.lower()
    assert b"websocket" not in answer.lower()


@pytest.mark.parametrize(
    "first", [b"data", "no json", "[]", "3", '{"op": "nothing"}', '{"op": ["exec"]}', "{}", "[" * 100_000]
)
async def test_a_first_message_when_it_is_broken_then_gets_an_error_and_the_stream_ends(
    shared: Machine, first: str | bytes
) -> None:
    async with shared.connect() as stream:
        await stream.send(first)
        outcome = await finish(stream)
    assert outcome.error["code"] == "usage"


@pytest.mark.parametrize(
    "message", ["no json", "[]", '{"signal": "SEGV"}', '{"signal": 9}', '{"resize": [0, 1]}', '{"what": 1}', b"data"]
)
async def test_a_later_message_when_it_is_broken_then_ends_the_command_with_an_error(
    shared: Machine, message: str | bytes
) -> None:
    outcome = await shared.ask({"op": "exec", "argv": ["sleep", "60"]}, message)
    assert outcome.error["code"] == "usage"


async def test_a_message_when_it_is_too_big_then_ends_its_stream_alone(shared: Machine) -> None:
    stream = await shared.connect()
    async with shared.connect() as other:
        await send(other, {"op": "exec", "argv": ["cat"], "stdin": True}, b"alive")
        await send(stream, {"op": "exec", "argv": ["cat"], "stdin": True})
        with pytest.raises(ConnectionClosed) as caught:
            await stream.send(b"x" * (MESSAGE_LIMIT + 1))
            while True:
                await stream.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
        await send(other, {"eof": True})
        assert (await finish(other)).stdout == b"alive"


async def test_streams_when_two_hundred_work_at_once_then_each_gets_its_own_answer(shared: Machine) -> None:
    gate = asyncio.Semaphore(50)  # the socket's backlog is 100

    async def one(number: int) -> bool:
        async with gate:
            connecting = await shared.connect()
        async with connecting as stream:
            await opened.wait()
            await send(stream, {"op": "exec", "line": f"read x; echo $x-{number}", "stdin": True})
            await stream.send(f"{number}\n".encode())
            return (await finish(stream)).stdout == f"{number}-{number}\n".encode()

    opened = asyncio.Event()
    tasks = [asyncio.create_task(one(number)) for number in range(200)]
    opened.set()
    assert all(await asyncio.gather(*tasks))
    assert (await shared.ask({"op": "health"})).final["health"]["execs_running"] == 0


async def test_health_when_asked_then_names_the_machine(own: Machine) -> None:
    before = (await own.ask({"op": "health"})).final["health"]
    assert before["machine_id"] == MACHINE_ID
    assert before["jobs_running"] == before["execs_running"] == 0
    assert before["uptime_s"] >= 0
    async with own.connect() as stream:
        await send(stream, {"op": "exec", "argv": ["cat"], "stdin": True})
        await stream.recv()
        during = (await own.ask({"op": "health"})).final["health"]
        assert during["execs_running"] == 1
    own.stop(signal.SIGKILL)
    own.restart()
    after = (await own.ask({"op": "health"})).final["health"]
    assert after["boot_id"] == before["boot_id"]
    assert after["uptime_s"] <= during["uptime_s"] + 60


async def test_a_guest_when_it_is_terminated_then_ends_commands_and_says_so(own: Machine) -> None:
    async with own.connect() as spare, own.connect() as stream:
        await send(stream, {"op": "exec", "line": "trap 'echo told > told; exit' HUP TERM; echo up; sleep 60 & wait"})
        while b"up" not in bytes(str(await stream.recv()), "utf-8"):
            continue
        log = await asyncio.to_thread(own.stop)
        outcome = await finish(stream)
        with pytest.raises(ConnectionClosed):
            await spare.recv()
    assert outcome.error["code"] == "unreachable"
    with open(f"{own.workspace}/told") as file:
        assert file.read() == "told\n"
    assert own.process.returncode == 0
    assert TOKEN not in log
    assert json.dumps(TOKEN) not in log
