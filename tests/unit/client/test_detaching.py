"""Leaving a terminal that goes on: the keys, the end of input, our own ending; the program is never told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.client.fake_router import FakeRouter
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from cloudrouter.client import commands
from cloudrouter.client.terminals import DetachKeys
from cloudrouter.client.transport import Transport
from cloudrouter.client.websocket import Stream

Make = Callable[..., FakeRouter]
KEYS = b"\x10\x11"


@given(st.lists(st.binary(max_size=4)), st.sampled_from([KEYS, b"\x1d", b"aab", b"abab"]))
def test_keys_when_typed_in_any_pieces_then_all_before_them_is_sent_and_nothing_behind(
    pieces: list[bytes], keys: bytes
) -> None:
    detach, sent = DetachKeys(keys), b""
    for piece in pieces:
        sent += detach.take(piece)
        if detach.left:
            break
    typed = b"".join(pieces)
    before, found, _ = typed.partition(keys)
    assert detach.left == bool(found)
    if found:
        assert sent == before
    else:
        # What is held back is a beginning of the keys, and comes with the next key.
        held = typed.removeprefix(sent)
        assert sent + held == typed
        assert keys.startswith(held)
        assert held != keys


def test_keys_when_there_are_none_then_everything_is_sent() -> None:
    detach = DetachKeys(b"")
    assert detach.take(KEYS + b"x") == KEYS + b"x"
    assert not detach.left


def test_keys_when_muted_then_nothing_is_sent_and_they_still_leave() -> None:
    detach = DetachKeys(KEYS, muted=True)
    assert detach.take(b"rm -rf\r" + KEYS[:1]) == b""
    assert detach.take(KEYS[1:]) == b""
    assert detach.left


class Seen:
    """A guest with a terminal: what it gets, until the stream ends."""

    def __init__(self) -> None:
        self.typed = b""
        self.texts: list[Any] = []
        self.over = threading.Event()
        self.got = threading.Event()

    def talk(self, connection: ServerConnection, _path: str) -> None:
        self.texts.append(json.loads(connection.recv(20)))
        with contextlib.suppress(ConnectionClosed):  # What was typed before the goodbye can be read still.
            connection.send(json.dumps({"started": {"session": "pty_7k2m9xqd", "pid": 7}}))
            connection.send(b"\x01ready")
        try:
            while True:
                message = connection.recv(20)
                if isinstance(message, bytes):
                    self.typed += message
                else:
                    self.texts.append(json.loads(message))
                self.got.set()
        except ConnectionClosed:
            self.over.set()


def run(router: FakeRouter, fd: int, detach: DetachKeys) -> dict[str, Any]:
    stream = Transport(router.path).stream("/v1/machines/x/stream")
    return commands.run(
        stream, {"op": "pty.open"}, stdin_fd=fd, on_stdout=len, on_stderr=len, signals=False, detach=detach
    )


@pytest.mark.parametrize("last", [KEYS, b""])
def test_terminal_when_left_by_keys_or_the_end_of_input_then_only_the_stream_ends(
    fake_router: Make, last: bytes
) -> None:
    seen = Seen()
    router = fake_router(talk=seen.talk)
    ours, theirs = os.pipe()
    os.write(theirs, b"ls\r" + last)
    os.close(theirs)
    try:
        assert run(router, ours, DetachKeys(KEYS)) == {"detached": True}
    finally:
        os.close(ours)
    assert seen.over.wait(20)
    assert seen.typed == b"ls\r"
    assert {"eof": True} not in seen.texts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminal_when_its_window_is_closed_then_the_program_is_not_told(fake_router: Make, number: int) -> None:
    seen = Seen()
    router = fake_router(talk=seen.talk)
    script = (
        "import sys, os; from cloudrouter.client import commands, terminals; "
        "from cloudrouter.client.transport import Transport; "
        f"stream = Transport({router.path!r}).stream('/v1/machines/x/stream'); "
        "end = commands.run(stream, {'op': 'pty.open'}, stdin_fd=0, on_stdout=commands.writer(1), on_stderr=len, "
        "detach=terminals.DetachKeys(b'q')); sys.exit(end['code'])"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"ready"
        process.send_signal(number)
        assert process.wait(20) == 128 + number
    assert seen.over.wait(20)
    assert not any("signal" in text for text in seen.texts)


@pytest.mark.parametrize("answers", [True, False])
def test_stream_when_left_then_all_before_the_goodbye_arrives_and_it_ends_in_time(answers: bool) -> None:
    ours, theirs = socket.socketpair()
    stream = Stream(ours)
    big = os.urandom(1_000_000)
    stream.queue_binary(big)
    got = bytearray()

    def read() -> None:
        theirs.sendall(b"\x82\x05words" * 1000)  # what is not read any more does not cut off what was said
        while len(got) < len(big) + 14 + 8:
            got.extend(theirs.recv(65536))
        if answers:
            theirs.sendall(b"\x88\x02\x03\xe8")

    thread = threading.Thread(target=read)
    thread.start()
    began = time.monotonic()
    stream.leave(timeout=20 if answers else 1)
    assert time.monotonic() - began < 15
    thread.join(20)
    assert stream.closed
    assert not thread.is_alive()
    theirs.close()
    stream.leave(timeout=1)
