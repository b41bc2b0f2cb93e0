"""Asking the router's SSH door, and giving what comes to ssh."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudrouter.client import sshdoor
from cloudrouter.wire.errors import NotRunning, Unreachable

SRC = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../../src"))
Serve = Callable[[socket.socket], None]


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="cr-") as path:
        os.chmod(path, 0o700)
        yield path


class Door:
    """Serves one caller in a thread."""

    def __init__(self, folder: str, serve: Serve) -> None:
        self.asked = b""
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"{folder}/ssh.sock")
        self._listening.listen()
        self._thread = threading.Thread(target=self._run, args=(serve,))
        self._thread.start()

    def _run(self, serve: Serve) -> None:
        with self._listening, self._listening.accept()[0] as caller:
            while not self.asked.endswith(b"\n"):
                self.asked += caller.recv(4096)
            serve(caller)

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


def giving(sock: socket.socket, line: bytes = b"opened ssh-ed25519 AAAA\n", count: int = 1) -> Serve:
    def serve(caller: socket.socket) -> None:
        socket.send_fds(caller, [line], [sock.fileno()] * count)

    return serve


def telling(data: bytes) -> Serve:
    return lambda caller: caller.sendall(data)


def ask(folder: str, serve: Serve, host: str = "cr_7k2m9xqd") -> tuple[sshdoor.Opened, Door]:
    door = Door(folder, serve)
    try:
        sock = sshdoor.connect(folder)
        assert sock is not None
        return sshdoor.ask(sock, host), door
    finally:
        door.join()


def test_a_connection_comes_with_its_authority(folder: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        opened, door = ask(folder, giving(theirs))
        assert door.asked == b"cr_7k2m9xqd\n"
        assert opened.authority == "ssh-ed25519 AAAA"
        ours.sendall(b"SSH-2.0")
        assert os.read(opened.fd, 100) == b"SSH-2.0"
        os.close(opened.fd)


def test_an_error_of_the_router_is_raised_as_it_is(folder: str) -> None:
    body = NotRunning("cr_7k2m9xqd is stopped.", next="cloudrouter resume cr_7k2m9xqd").to_json()
    with pytest.raises(NotRunning, match="is stopped") as caught:
        ask(folder, telling(json.dumps(body).encode() + b"\n"))
    assert caught.value.next == "cloudrouter resume cr_7k2m9xqd"


@pytest.mark.parametrize("data", [b"", b"opened ssh-ed25519 AAAA\n", b"[]\n", b"{", b"\xff\n", b"[" * 60000])
def test_an_answer_that_is_none_is_told(folder: str, data: bytes) -> None:
    with pytest.raises(Exception, match=r"gave no connection|cannot be read"):
        ask(folder, telling(data))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_that_nobody_asked_for_are_closed(folder: str) -> None:
    before = open_files()
    first, second = socket.socketpair()
    with first, second, pytest.raises(Unreachable):
        ask(folder, giving(second, b"nothing\n"))
    assert open_files() == before


def test_nobody_of_ours_at_the_door_is_left_to_the_slow_way(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sshdoor.connect(folder) is None
    assert sshdoor.connect(f"{folder}/nowhere") is None
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/ssh.sock")
        assert sshdoor.connect(folder) is None  # nobody listens
        listening.listen()
        found = sshdoor.connect(folder)
        assert found is not None
        found.close()
        os.chmod(folder, 0o750)
        assert sshdoor.connect(folder) is None
        os.chmod(folder, 0o700)
        os.symlink(folder, f"{folder}/link")
        assert sshdoor.connect(f"{folder}/link") is None
        uid = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
        assert sshdoor.connect(folder) is None


def run(call: str, **streams: object) -> subprocess.Popen[bytes]:
    program = f"import sys; sys.path.insert(0, {SRC!r}); from cloudrouter.client import sshdoor; {call}"
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", program], **streams)  # type: ignore[call-overload]


def test_ssh_that_waits_for_a_descriptor_gets_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    ours, theirs = socket.socketpair()
    call = f"assert sshdoor.wants_descriptor(); import os; sshdoor.pass_on(os.open({str(tmp_path / 'file')!r}, 0))"
    with ours:
        with theirs:
            process = run(call, stdin=theirs, stdout=theirs)
        data, fds, _, _ = socket.recv_fds(ours, 10, 4)
        assert process.wait(20) == 0
        assert (data, len(fds)) == (b"\0", 1)
        assert os.read(fds[0], 100) == b"content"
        os.close(fds[0])


def test_other_programs_have_pipes_and_get_bytes() -> None:
    call = "import os; os._exit(sshdoor.wants_descriptor())"
    with run(call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.wait(20) == 0
    one, two = socket.socketpair()
    three, four = socket.socketpair()
    with one, two, three, four:
        assert run(call, stdin=one, stdout=three).wait(20) == 0


def test_bytes_are_carried_both_ways_to_each_end() -> None:
    ours, theirs = socket.socketpair()
    data = os.urandom(3_000_000)
    with ours:
        with theirs:
            fd = theirs.fileno()
            process = run(f"sshdoor.splice({fd})", stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(fd,))
        assert process.stdin is not None
        assert process.stdout is not None
        got = bytearray()

        def echo() -> None:
            while piece := ours.recv(65536):
                got.extend(piece)
            ours.sendall(bytes(got[::-1]))
            ours.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=echo)
        thread.start()
        out, _ = process.communicate(data, timeout=30)
        thread.join(10)
    assert bytes(got) == data
    assert out == data[::-1]
    assert process.returncode == 0
