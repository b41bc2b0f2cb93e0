"""The stream against the `websockets` library, and against peers that misbehave."""

from __future__ import annotations

import hashlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.client.fake_router import FakeRouter
from websockets.sync.server import ServerConnection

from cloudrouter.client.transport import Transport
from cloudrouter.client.websocket import ConnectionLost, Stream, accepted_key
from cloudrouter.wire.errors import Unreachable

Make = Callable[..., FakeRouter]
TIMEOUT_S = 20.0


def echo(connection: ServerConnection, _path: str) -> None:
    for message in connection:
        connection.send(message)


def open_stream(make: Make, talk: Any) -> Stream:
    return Transport(make(talk=talk).path).stream("/v1/machines/x/stream")


def pair() -> tuple[Stream, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT_S)
    return Stream(ours), theirs


def test_accepted_key_is_the_one_of_the_rfc() -> None:
    assert accepted_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
def test_binary_of_any_length_is_echoed(fake_router: Make, size: int) -> None:
    data = bytes(size)
    with open_stream(fake_router, echo) as stream:
        stream.send_binary(data)
        assert stream.receive(timeout=TIMEOUT_S) == ("binary", data)


def test_text_is_echoed_with_every_kind_of_letter(fake_router: Make) -> None:
    with open_stream(fake_router, echo) as stream:
        stream.send_text("a\n\0ß€𝄞")
        assert stream.receive(timeout=TIMEOUT_S) == ("text", "a\n\0ß€𝄞".encode())


def test_memoryview_of_words_is_sent_as_its_bytes(fake_router: Make) -> None:
    data = memoryview(bytearray(range(8))).cast("I")
    with open_stream(fake_router, echo) as stream:
        stream.send_binary(data)
        assert stream.receive(timeout=TIMEOUT_S) == ("binary", bytes(range(8)))


def test_fragmented_message_arrives_whole(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        connection.send([b"one ", b"two ", b"three"])
        connection.send(["a", "b"])

    with open_stream(fake_router, talk) as stream:
        assert stream.receive(timeout=TIMEOUT_S) == ("binary", b"one two three")
        assert stream.receive(timeout=TIMEOUT_S) == ("text", b"ab")


def test_ping_is_answered_while_waiting(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        assert connection.ping(b"hello").wait(TIMEOUT_S)
        connection.send("ponged")

    with open_stream(fake_router, talk) as stream:
        assert stream.receive(timeout=TIMEOUT_S) == ("text", b"ponged")


def test_goodbye_of_the_server_gives_none_code_and_reason(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        connection.send("last")
        connection.close(1001, "going away")

    with open_stream(fake_router, talk) as stream:
        assert stream.receive(timeout=TIMEOUT_S) == ("text", b"last")
        assert stream.receive(timeout=TIMEOUT_S) is None
        assert (stream.close_code, stream.close_reason) == (1001, "going away")
        assert stream.receive(timeout=TIMEOUT_S) is None


def test_our_goodbye_reaches_the_server(fake_router: Make) -> None:
    heard: list[tuple[int | None, str | None]] = []
    done = threading.Event()

    def talk(connection: ServerConnection, _path: str) -> None:
        for _ in connection:
            pass
        heard.append((connection.close_code, connection.close_reason))
        done.set()

    stream = open_stream(fake_router, talk)
    stream.close(1000, "finished")
    stream.close()
    assert done.wait(TIMEOUT_S)
    assert heard == [(1000, "finished")]
    with pytest.raises(ConnectionLost):
        stream.send_text("too late")


def test_both_sides_sending_much_do_not_lock_up(fake_router: Make) -> None:
    """The server sends without reading first, so a client that did not read while sending would wait for ever."""
    total, chunk = 6 * 2**20, bytes(range(256)) * 1024

    def talk(connection: ServerConnection, _path: str) -> None:
        for _ in range(total // len(chunk)):
            connection.send(chunk)
        received = sum(len(connection.recv()) for _ in range(total // len(chunk)))
        connection.send(str(received))

    with open_stream(fake_router, talk) as stream:
        for _ in range(total // len(chunk)):
            stream.send_binary(chunk, timeout=TIMEOUT_S)
        seen = hashlib.sha256()
        for _ in range(total // len(chunk)):
            message = stream.receive(timeout=TIMEOUT_S)
            assert message is not None
            seen.update(message[1])
        assert seen.digest() == hashlib.sha256(chunk * (total // len(chunk))).digest()
        assert stream.receive(timeout=TIMEOUT_S) == ("text", str(total).encode())


def test_poll_loop_pieces_carry_much_both_ways(fake_router: Make) -> None:
    payload = bytes(range(256)) * 4096
    count, got = 20, 0
    with open_stream(fake_router, echo) as stream:
        for _ in range(count):
            stream.queue_binary(payload)
        assert stream.pending > count * len(payload)
        while got < count:
            stream.flush()
            poller = select.poll()
            poller.register(stream.fileno(), select.POLLIN | (select.POLLOUT if stream.wants_write else 0))
            assert poller.poll(TIMEOUT_S * 1000)
            assert stream.feed()
            while (message := stream.take()) is not None:
                assert message == ("binary", payload)
                got += 1
        assert stream.pending == 0
        assert not stream.wants_write


def test_connection_that_ends_without_goodbye_is_lost() -> None:
    stream, theirs = pair()
    theirs.sendall(b"\x82\x05ab")
    theirs.close()
    with pytest.raises(ConnectionLost):
        stream.receive(timeout=TIMEOUT_S)
    assert stream.closed


def test_last_words_are_heard_when_sending_breaks() -> None:
    """A guest that refuses an upload says why and closes; the sender must get the reason, not a broken pipe."""
    stream, theirs = pair()
    theirs.sendall(b"\x81\x04full\x88\x02\x03\xe8")
    theirs.close()
    for _ in range(3):
        if not stream.closed:
            stream.send_binary(bytes(1 << 20), timeout=TIMEOUT_S)
    assert stream.receive() == ("text", b"full")
    assert stream.receive() is None
    assert stream.close_code == 1000


def test_sending_to_a_peer_that_is_gone_is_lost() -> None:
    stream, theirs = pair()
    theirs.close()
    with pytest.raises(ConnectionLost):
        stream.send_binary(bytes(1 << 20), timeout=TIMEOUT_S)


def test_silence_past_the_timeout_is_unreachable() -> None:
    stream, theirs = pair()
    with theirs, pytest.raises(Unreachable):
        stream.receive(timeout=0.01)
    assert stream.closed


def test_broken_frame_is_answered_with_its_close_code() -> None:
    stream, theirs = pair()
    theirs.sendall(b"\x81\x02\xc3\x28")
    with pytest.raises(Unreachable):
        stream.receive(timeout=TIMEOUT_S)
    with theirs:
        assert theirs.recv(100)[6:8] == (1007).to_bytes(2, "big")


def test_messages_behind_the_upgrade_are_not_lost() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Stream(ours, b"\x81\x02hi\x82\x01") as stream:
        assert stream.receive(timeout=TIMEOUT_S) == ("text", b"hi")
        theirs.sendall(b"x")
        assert stream.receive(timeout=TIMEOUT_S) == ("binary", b"x")


def test_pings_from_a_peer_that_does_not_read_use_bounded_memory() -> None:
    stream, theirs = pair()
    pings = (b"\x89\x7d" + bytes(125)) * 1000

    def flood() -> None:
        with theirs:
            for _ in range(60):
                theirs.sendall(pings)
            theirs.sendall(b"\x88\x00")

    thread = threading.Thread(target=flood)
    thread.start()
    worst = 0
    while not stream.ended:
        poller = select.poll()
        poller.register(stream.fileno(), select.POLLIN)
        assert poller.poll(TIMEOUT_S * 1000)
        stream.feed()
        worst = max(worst, stream.pending)
    thread.join(TIMEOUT_S)
    assert worst < 2 * 2**20


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_hostile_server_gives_messages_or_the_declared_error(pieces: list[bytes]) -> None:
    stream, theirs = pair()
    with theirs:
        for piece in pieces:
            theirs.sendall(piece)
        theirs.shutdown(socket.SHUT_WR)
        try:
            while stream.receive(timeout=TIMEOUT_S) is not None:
                pass
        except Unreachable:
            assert stream.closed
        stream.close()
