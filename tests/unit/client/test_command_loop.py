"""The command loop: bytes both ways under the window rule, odd stdins, signals, terminals, and early ends."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.fake_router import FakeRouter
from websockets.sync.server import ServerConnection

from cloudrouter.client import commands
from cloudrouter.client.transport import Transport
from cloudrouter.client.websocket import ConnectionLost, Stream
from cloudrouter.wire.errors import Internal, NotRunning, Unreachable
from cloudrouter.wire.streams import CHUNK, WINDOW

Make = Callable[..., FakeRouter]
EXIT = {"code": 0, "signal": None, "timeout": False, "duration_ms": 1}
TIMEOUT_S = 20.0


def say(connection: ServerConnection, **message: Any) -> None:
    connection.send(json.dumps(message))


def request_of(connection: ServerConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(connection.recv(TIMEOUT_S))
    return found


def open_stream(make: Make, talk: Any) -> Stream:
    return Transport(make(talk=talk).path).stream("/v1/machines/x/stream")


def run(stream: Stream, *, stdin_fd: int | None = None, **given: Any) -> tuple[dict[str, Any], bytes, bytes]:
    out, err = bytearray(), bytearray()
    given = {"on_stdout": out.extend, "on_stderr": err.extend, "signals": False, **given}
    end = commands.run(stream, {"op": "exec", "line": "x"}, stdin_fd=stdin_fd, **given)
    return end, bytes(out), bytes(err)


def guest_cat(connection: ServerConnection, _path: str) -> None:
    """As the guest with `cat`: echoes, grants what it has read, and insists on the window rule."""
    assert request_of(connection)["stdin"] is True
    window = WINDOW
    while True:
        message = connection.recv(TIMEOUT_S)
        if isinstance(message, str):
            assert json.loads(message) == {"eof": True}
            break
        window -= len(message)
        assert window >= 0, "more was sent than the window granted"
        assert len(message) <= CHUNK
        connection.send(b"\x01" + message)
        say(connection, window=len(message))
        window += len(message)
    say(connection, exit=EXIT)


# -- output -----------------------------------------------------------------------------------------------------


def test_output_comes_apart_and_exit_is_returned(fake_router: Make) -> None:
    started: list[dict[str, Any]] = []

    def talk(connection: ServerConnection, _path: str) -> None:
        assert request_of(connection) == {"op": "exec", "line": "x"}
        say(connection, started={"pid": 7})
        connection.send(b"\x01out")
        connection.send(b"\x02err")
        connection.send(b"\x01\xff\x00")
        say(connection, exit={**EXIT, "code": 7})

    end, out, err = run(open_stream(fake_router, talk), on_started=started.append)
    assert (end["code"], out, err) == (7, b"out\xff\x00", b"err")
    assert started == [{"pid": 7}]


def test_output_is_handed_out_before_the_command_ends(fake_router: Make) -> None:
    seen = threading.Event()

    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01first")
        assert seen.wait(TIMEOUT_S)
        say(connection, exit=EXIT)

    end, _, _ = run(open_stream(fake_router, talk), on_stdout=lambda _piece: seen.set())
    assert end["code"] == 0


def test_much_output_is_byte_exact(fake_router: Make) -> None:
    block = os.urandom(CHUNK)
    count = 200

    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        for _ in range(count):
            connection.send(b"\x01" + block)
        say(connection, exit=EXIT)

    found = hashlib.sha256()
    run(open_stream(fake_router, talk), on_stdout=found.update)
    assert found.digest() == hashlib.sha256(block * count).digest()


def test_other_operations_return_their_final_message(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01log")
        say(connection, end={"state": "exited", "code": 3})

    end, out, _ = run(open_stream(fake_router, talk))
    assert (end, out) == ({"state": "exited", "code": 3}, b"log")


def test_error_of_the_other_side_is_raised(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        say(connection, error=NotRunning("cr_x is stopped.", next="cloudrouter resume cr_x").to_json())

    with pytest.raises(NotRunning) as caught:
        run(open_stream(fake_router, talk))
    assert caught.value.next == "cloudrouter resume cr_x"


def test_stream_that_ends_before_the_command_is_an_error_and_no_exit_code(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01some")

    with pytest.raises(Unreachable, match="before the operation did"):
        run(open_stream(fake_router, talk))


def test_router_that_dies_is_connection_lost(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        router.cut_connections()

    router = fake_router(talk=talk)
    with pytest.raises(ConnectionLost):
        run(Transport(router.path).stream("/"))


@pytest.mark.parametrize("message", ["[]", "{", '{"window": "x"}', '{"window": -1}', b"", b"\x03x"])
def test_message_that_no_guest_sends_is_an_error(fake_router: Make, message: Any) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(message)
        connection.recv(TIMEOUT_S)

    with pytest.raises(Internal):
        run(open_stream(fake_router, talk))


def test_closed_stdout_ends_the_command_quietly_with_141(fake_router: Make) -> None:
    ended = threading.Event()

    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        try:
            while True:
                connection.send(b"\x01" + bytes(1000))
        finally:
            ended.set()

    read, write = os.pipe()
    os.close(read)
    end, _, _ = run(open_stream(fake_router, talk), on_stdout=commands.writer(write))
    os.close(write)
    assert end["code"] == 141
    assert ended.wait(TIMEOUT_S)


def test_writer_waits_for_a_descriptor_that_does_not_block(fake_router: Make) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    data = os.urandom(1 << 20)
    got = bytearray()

    def drain() -> None:
        while piece := os.read(read, 65536):
            got.extend(piece)

    thread = threading.Thread(target=drain)
    thread.start()
    commands.writer(write)(memoryview(data))
    os.close(write)
    thread.join(TIMEOUT_S)
    os.close(read)
    assert bytes(got) == data


# -- input ------------------------------------------------------------------------------------------------------


def test_input_larger_than_the_window_goes_through_cat_and_back(fake_router: Make, tmp_path: Path) -> None:
    data = os.urandom(5 * WINDOW + 12345)
    (tmp_path / "big").write_bytes(data)
    with open(tmp_path / "big", "rb") as file:
        _, out, _ = run(open_stream(fake_router, guest_cat), stdin_fd=file.fileno())
    assert out == data


def test_input_from_a_pipe_in_small_pieces_arrives_with_its_end(fake_router: Make) -> None:
    read, write = os.pipe()

    def feed() -> None:
        for number in range(500):
            os.write(write, b"%d\n" % number)
        os.close(write)

    thread = threading.Thread(target=feed)
    thread.start()
    _, out, _ = run(open_stream(fake_router, guest_cat), stdin_fd=read)
    thread.join()
    os.close(read)
    assert out == b"".join(b"%d\n" % number for number in range(500))


def test_input_without_an_end_does_not_keep_a_command_that_ended(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        say(connection, exit=EXIT)

    read, write = os.pipe()
    end, _, _ = run(open_stream(fake_router, talk), stdin_fd=read)
    os.close(read)
    os.close(write)
    assert end["code"] == 0


def test_no_more_is_read_from_stdin_than_the_window_allows(fake_router: Make) -> None:
    """A command that reads nothing must leave the rest in the pipe: for `while read; do cr ssh ...; done`."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    room = 1 << 20
    import fcntl

    fcntl.fcntl(write, 1031, room)  # F_SETPIPE_SZ

    def fill() -> None:
        left = WINDOW + room
        poller = select.poll()
        poller.register(write, select.POLLOUT)
        while left and poller.poll(TIMEOUT_S * 1000):
            left -= os.write(write, bytes(min(left, 65536)))
        filled.set()

    filled = threading.Event()

    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        got = 0
        while got < WINDOW:
            got += len(connection.recv(TIMEOUT_S))
        assert filled.wait(TIMEOUT_S)
        with pytest.raises(TimeoutError):
            connection.recv(0.2)
        say(connection, exit=EXIT)

    thread = threading.Thread(target=fill)
    thread.start()
    run(open_stream(fake_router, talk), stdin_fd=read)
    thread.join()
    os.close(write)
    left = 0
    while piece := os.read(read, 1 << 20):
        left += len(piece)
    os.close(read)
    assert left == room


def closed_fd() -> int:
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    return fd


@pytest.mark.parametrize("kind", ["null", "closed", "folder", "empty file", "write only"])
def test_stdin_that_gives_nothing_is_an_empty_input(fake_router: Make, tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").write_bytes(b"")
    fd = {
        "null": lambda: os.open("/dev/null", os.O_RDONLY),
        "closed": closed_fd,
        "folder": lambda: os.open(tmp_path, os.O_RDONLY),
        "empty file": lambda: os.open(tmp_path / "empty", os.O_RDONLY),
        "write only": lambda: os.open(tmp_path / "empty", os.O_WRONLY),
    }[kind]()
    stream = open_stream(fake_router, guest_cat)
    if kind == "closed":
        # The stream's own socket has taken the number: find one that is closed now.
        fd = closed_fd()
    end, out, _ = run(stream, stdin_fd=fd)
    if kind != "closed":
        os.close(fd)
    assert (end["code"], out) == (0, b"")


# -- signals and terminals, in a process of their own -----------------------------------------------------------

PROGRAM = """
import os, sys
from cloudrouter.client import commands
from cloudrouter.client.transport import Transport
stream = Transport(sys.argv[1]).stream("/")
try:
    end = commands.run(stream, {"op": "exec"}, stdin_fd=0, on_stdout=commands.writer(1), on_stderr=commands.writer(2),
                       tty=os.isatty(0))
except KeyboardInterrupt:
    os._exit(99)
os._exit(end["code"])
"""


def start(router: FakeRouter, **given: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, router.path], **given)


def expect(connection: ServerConnection, **message: Any) -> None:
    """The next text message must be this one; data and its end are let pass."""
    while isinstance(found := connection.recv(TIMEOUT_S), bytes) or json.loads(found) == {"eof": True}:
        pass
    assert json.loads(found) == message


def test_first_interrupt_is_forwarded_and_its_exit_code_kept(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01ready")
        expect(connection, signal="INT")
        say(connection, exit={**EXIT, "code": 130})

    with start(fake_router(talk=talk), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"ready"
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 130


def test_second_interrupt_ends_the_command(fake_router: Make) -> None:
    closed = threading.Event()

    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01ready")
        expect(connection, signal="INT")
        connection.send(b"\x01again")
        for _ in connection:
            pass  # The second one comes with our goodbye, and may not be seen any more.
        closed.set()

    with start(fake_router(talk=talk), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for word in (b"ready", b"again"):
            assert process.stdout.read(5) == word
            process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 99
    assert closed.wait(TIMEOUT_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminate_is_forwarded_and_the_answer_waited_for(fake_router: Make, number: signal.Signals) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01ready")
        expect(connection, signal=number.name[3:])
        connection.send(b"\x01saved")
        say(connection, exit={**EXIT, "code": 17})

    with start(fake_router(talk=talk), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"ready"
        process.send_signal(number)
        assert process.stdout.read() == b"saved"
        assert process.wait(TIMEOUT_S) == 17


def test_command_that_ignores_terminate_is_ended_after_the_grace(fake_router: Make) -> None:
    closed = threading.Event()

    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01ready")
        expect(connection, signal="TERM")
        for _ in connection:
            pass
        closed.set()

    with start(fake_router(talk=talk), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"ready"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 143
    assert closed.wait(TIMEOUT_S)


def test_interrupt_gets_through_while_our_own_output_is_stuck(fake_router: Make) -> None:
    """Nobody reads our stdout: the loop hangs in write, and the signal must be sent from there."""

    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01" + bytes(1 << 19))
        stuck.set()
        expect(connection, signal="INT")
        interrupted.set()
        say(connection, exit={**EXIT, "code": 130})

    stuck, interrupted = threading.Event(), threading.Event()
    with start(fake_router(talk=talk), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert stuck.wait(TIMEOUT_S)
        assert process.stdout is not None
        poller = select.poll()
        poller.register(process.stdout, select.POLLIN)
        assert poller.poll(TIMEOUT_S * 1000)
        process.send_signal(signal.SIGINT)
        assert interrupted.wait(TIMEOUT_S)
        assert len(process.stdout.read()) == 1 << 19
        assert process.wait(TIMEOUT_S) == 130


def test_terminate_ends_us_even_while_our_own_output_is_stuck(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01" + bytes(1 << 19))
        expect(connection, signal="TERM")

    with start(fake_router(talk=talk), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        poller = select.poll()
        poller.register(process.stdout, select.POLLIN)
        assert poller.poll(TIMEOUT_S * 1000)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 143


def test_hangup_stays_ignored_under_nohup(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        connection.send(b"\x01ready")
        assert go.wait(TIMEOUT_S)
        say(connection, exit=EXIT)

    go = threading.Event()
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with start(fake_router(talk=talk), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **ignore) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"ready"
        process.send_signal(signal.SIGHUP)
        go.set()
        assert process.wait(TIMEOUT_S) == 0


def test_terminal_is_raw_its_size_followed_and_put_back(fake_router: Make) -> None:
    seen: dict[str, Any] = {}

    def talk(connection: ServerConnection, _path: str) -> None:
        seen.update(request_of(connection))
        connection.send(b"\x01ready")
        # Ctrl-C is a byte for the far terminal and no signal here.
        assert connection.recv(TIMEOUT_S) == b"\x03"
        connection.send(b"\x01again")
        expect(connection, resize=[132, 50])
        say(connection, exit={**EXIT, "code": 5})

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    before = termios.tcgetattr(theirs)
    with start(
        fake_router(talk=talk),
        stdin=theirs,
        stdout=theirs,
        env={**os.environ, "TERM": "vt220"},
        start_new_session=True,
    ) as process:
        assert os.read(ours, 100) == b"ready"
        assert not termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        os.write(ours, b"\x03")
        assert os.read(ours, 100) == b"again"
        termios.tcsetwinsize(theirs, (50, 132))
        process.send_signal(signal.SIGWINCH)
        assert process.wait(TIMEOUT_S) == 5
    assert seen["tty"] == {"cols": 80, "rows": 24, "term": "vt220"}
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_handlers_and_wakeup_are_put_back(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        request_of(connection)
        say(connection, exit=EXIT)

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    run(open_stream(fake_router, talk), signals=True)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_ask_returns_the_final_message_and_skips_others(fake_router: Make) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        assert request_of(connection) == {"op": "job.list"}
        say(connection, started={})
        say(connection, jobs=[])

    assert commands.ask(open_stream(fake_router, talk), {"op": "job.list"}) == {"jobs": []}
