"""The operation `ssh`: the stream's own connection becomes sshd's."""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.guest import fake_sshd
from tests.unit.guest.machine import MACHINE_ID, TOKEN, Machine, until

from cloudrouter.guest import sshfiles
from cloudrouter.wire.errors import NotConfigured

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="this host has no ssh-keygen")

CERTIFICATE = "ssh-ed25519-cert-v01@openssh.com AAAA"
AUTHORITY = "ssh-ed25519 AAAA"
ANSWER = {"certificate": CERTIFICATE, "authority": AUTHORITY}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A guest that finds an sshd, of a kind."""
    found = Machine({"PATH": fake_sshd.put(tmp_path_factory.mktemp("bin")), "PLAIN": "a'b"})
    yield found
    found.remove()


class Raw:
    """The router's end of a stream, by hand: frames first, then the bare connection."""

    def __init__(self, machine: Machine) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(machine.socket)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET /stream HTTP/1.1\r\nHost: guest\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.sock.recv(1)
        assert head.startswith(b"HTTP/1.1 101")

    def say(self, message: dict[str, Any] | bytes) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        head = bytes([0x82 if isinstance(message, bytes) else 0x81])
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self.sock.sendall(head + length + b"\0\0\0\0" + data)

    def hear(self) -> dict[str, Any]:
        head = self.take(2)
        assert head[0] == 0x81, head
        length = head[1] if head[1] < 126 else int.from_bytes(self.take(2), "big")
        return dict(json.loads(self.take(length)))

    def take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self.sock.recv(count - len(found))
            assert piece, found
            found += piece
        return found

    def line(self) -> bytes:
        found = b""
        while not found.endswith(b"\n"):
            found += self.take(1)
        return found

    def answer(self, answer: Any = ANSWER) -> None:
        self.say(json.dumps(answer).encode())
        with contextlib.suppress(BrokenPipeError):  # one that is too long is refused before its end
            self.say({"eof": True})

    def open(self) -> None:
        """The whole way to sshd."""
        self.say({"op": "ssh"})
        assert self.hear()["host_key"].startswith("ssh-ed25519 ")
        self.answer()
        assert self.hear() == {"handed": {}}
        self.sock.sendall(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.sock.close()


def folder_of(machine: Machine) -> Path:
    return Path(machine.state) / "ssh"


def test_the_connection_becomes_sshds(machine: Machine) -> None:
    data = os.urandom(3_000_000)
    with Raw(machine) as raw:
        raw.open()
        assert raw.line() == b"SSH-2.0-fake -i -e -f %b/config\n" % os.fsencode(folder_of(machine))
        for at in range(0, len(data), 65536):
            piece = data[at : at + 65536]
            raw.sock.sendall(piece)
            assert raw.take(len(piece)) == piece
        raw.sock.shutdown(socket.SHUT_WR)
        assert raw.sock.recv(10) == b""


def test_sshd_starts_only_when_the_other_end_is_ready(machine: Machine) -> None:
    with Raw(machine) as raw:
        raw.say({"op": "ssh"})
        raw.hear()
        raw.answer()
        raw.hear()
        raw.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            raw.sock.recv(1)
        raw.sock.settimeout(20)
        raw.sock.sendall(b"\n")
        assert raw.line().startswith(b"SSH-2.0-fake")


async def test_it_is_shown_while_it_runs_and_reaped_behind(machine: Machine) -> None:
    with Raw(machine) as raw:
        await asyncio.to_thread(raw.open)
        await asyncio.to_thread(raw.line)
        (shown,) = (await machine.ask({"op": "exec.list"})).final["execs"]
        assert shown["command"] == "ssh (a connection of OpenSSH)"
        assert shown["id"] == f"exec_{shown['pid']}"
    while (await machine.ask({"op": "exec.list"})).final["execs"]:
        await asyncio.sleep(0.01)
    await until(lambda: not os.path.exists(f"/proc/{shown['pid']}"))


def test_a_connection_that_leaves_before_it_is_ready_starts_nothing(machine: Machine) -> None:
    with Raw(machine) as raw:
        raw.say({"op": "ssh"})
        raw.hear()
        raw.answer()
        raw.hear()
    with Raw(machine) as raw:
        raw.open()
        assert raw.line().startswith(b"SSH-2.0-fake")


def test_the_key_is_made_once_and_stays_private(machine: Machine) -> None:
    with Raw(machine) as raw:
        raw.say({"op": "ssh"})
        first = raw.hear()["host_key"]
    with Raw(machine) as raw:
        raw.say({"op": "ssh"})
        assert raw.hear()["host_key"] == first
    folder = folder_of(machine)
    assert folder.stat().st_mode & 0o777 == 0o711
    key = folder / f"host-key-{MACHINE_ID}"
    assert key.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" in key.read_text()
    told = subprocess.run(["ssh-keygen", "-y", "-f", str(key)], capture_output=True, text=True, check=True).stdout
    assert " ".join(told.split()[:2]) == first


def test_many_at_once_make_one_key(tmp_path: Path) -> None:
    machine = Machine({"PATH": fake_sshd.put(tmp_path / "bin")})
    try:
        raws = [Raw(machine) for _ in range(20)]
        for raw in raws:
            raw.say({"op": "ssh"})
        assert len({raw.hear()["host_key"] for raw in raws}) == 1
        for raw in raws:
            raw.answer()
            assert raw.hear() == {"handed": {}}
            raw.sock.sendall(b"\n")
        for raw in raws:
            assert raw.line().startswith(b"SSH-2.0-fake")
            raw.sock.close()
    finally:
        machine.remove()


def test_the_key_of_another_machine_on_the_disk_is_thrown_away(tmp_path: Path) -> None:
    machine = Machine({"PATH": fake_sshd.put(tmp_path / "bin")})
    try:
        folder = folder_of(machine)
        folder.mkdir()
        for name in ("host-key-cr_zzzzzzzz", "host-key-cr_zzzzzzzz.pub", f"host-key-{MACHINE_ID}.pub"):
            (folder / name).write_text("ssh-ed25519 OLD\n")  # of the last one the private half is missing
        with Raw(machine) as raw:
            raw.say({"op": "ssh"})
            assert raw.hear()["host_key"] != "ssh-ed25519 OLD"
        names = sorted(path.name for path in folder.iterdir())
        assert names == [f"host-key-{MACHINE_ID}", f"host-key-{MACHINE_ID}.pub"]
    finally:
        machine.remove()


def test_what_sshd_reads_is_what_the_router_said(machine: Machine) -> None:
    with Raw(machine) as raw:
        raw.open()
        raw.line()
    folder = folder_of(machine)
    assert (folder / "principals").read_text() == f"{MACHINE_ID}\n"
    assert (folder / "authority.pub").read_text() == f"{AUTHORITY}\n"
    assert (folder / "host-certificate.pub").read_text() == f"{CERTIFICATE}\n"
    assert (folder / "environment").stat().st_mode & 0o777 == 0o400
    config = dict(line.split(" ", 1) for line in (folder / "config").read_text().splitlines())
    assert config["AuthorizedKeysFile"] == "none"
    assert config["PasswordAuthentication"] == config["KbdInteractiveAuthentication"] == "no"
    assert config["AllowAgentForwarding"] == config["X11Forwarding"] == config["GatewayPorts"] == "no"
    assert config["AuthorizedPrincipalsFile"] == f'"{folder}/principals"'
    other = {"certificate": "ssh-ed25519-cert-v01@openssh.com BBBB", "authority": "ssh-ed25519 BBBB"}
    with Raw(machine) as raw:
        raw.say({"op": "ssh"})
        raw.hear()
        raw.answer(other)
        raw.hear()
    assert (folder / "authority.pub").read_text() == "ssh-ed25519 BBBB\n"


def test_a_login_begins_with_the_machines_surroundings(machine: Machine) -> None:
    with Raw(machine) as raw:
        raw.open()
        raw.line()
    login = str(folder_of(machine) / "login")
    for shell, words in (("/bin/sh", [login]), ("/bin/bash", ["-c", f". {login}"])):
        env = {"SSH_ORIGINAL_COMMAND": 'pwd; echo "$PLAIN"; echo ${SSH_ORIGINAL_COMMAND-unset}', "MAIL": "x"}
        done = subprocess.run([shell, *words], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == f"{machine.workspace}\na'b\nunset\n"


@pytest.mark.parametrize(
    "answer",
    [
        None, [], {}, {"certificate": CERTIFICATE}, {**ANSWER, "authority": 7}, {**ANSWER, "authority": "ssh-rsa A"},
        {**ANSWER, "certificate": CERTIFICATE + "\nX"}, {**ANSWER, "certificate": "x" * 40_000},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_that_is_none_is_refused_and_nothing_written(machine: Machine, answer: Any) -> None:
    before = (
        {path.name: path.read_bytes() for path in folder_of(machine).iterdir()} if folder_of(machine).exists() else None
    )
    with Raw(machine) as raw:
        raw.say({"op": "ssh"})
        raw.hear()
        raw.answer(answer)
        assert raw.hear()["error"]["code"] == "usage"
    if before:
        assert {path.name: path.read_bytes() for path in folder_of(machine).iterdir()} == before


def test_its_log_is_short_and_harmless(tmp_path: Path) -> None:
    said = b"Accepted nobody\x1b[2J in particular\n" + b"x" * 1000 + b"\n" + b"line\n" * 200
    machine = Machine({"PATH": fake_sshd.put(tmp_path / "bin", said)})
    try:
        with Raw(machine) as raw:
            raw.open()
            raw.line()
            raw.sock.shutdown(socket.SHUT_WR)
            assert raw.sock.recv(10) == b""
        log = machine.stop()
        lines = [line.partition("guest: ")[2] for line in log.splitlines() if "sshd: " in line]
        assert lines[0] == "sshd: Accepted nobody?[2J in particular"
        assert lines[1] == "sshd: " + "x" * 300
        assert len(lines) == 100
        assert "PRIVATE" not in log
    finally:
        machine.remove()


async def test_a_connection_outlives_the_guest(tmp_path: Path) -> None:
    machine = Machine({"PATH": fake_sshd.put(tmp_path / "bin")})
    try:
        with Raw(machine) as raw:
            await asyncio.to_thread(raw.open)
            await asyncio.to_thread(raw.line)
            await asyncio.to_thread(machine.stop)
            raw.sock.sendall(b"still there?")
            assert raw.take(12) == b"still there?"
    finally:
        machine.remove()


async def test_without_sshd_that_is_said(shared: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(os.path.exists(f"{folder}/sshd") for folder in (*sshfiles.SBIN, *os.environ["PATH"].split(":"))):
        pytest.skip("this host has an sshd")
    error = (await shared.ask({"op": "ssh"})).error
    assert error["code"] == "not_configured"
    assert "no sshd" in error["message"]


def test_programs_are_looked_for_where_only_root_writes_first(tmp_path: Path) -> None:
    (tmp_path / "ssh-keygen").write_text("#!/bin/sh\n")
    (tmp_path / "ssh-keygen").chmod(0o755)
    assert sshfiles.find_program("ssh-keygen", str(tmp_path)) == "/usr/bin/ssh-keygen"
    (tmp_path / "ssh-else").touch(0o755)
    assert sshfiles.find_program("ssh-else", f"relative:{tmp_path}") == f"{tmp_path}/ssh-else"
    with pytest.raises(NotConfigured):
        sshfiles.find_program("ssh-else")


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text().filter(lambda text: "\0" not in text)))
def test_any_value_survives_the_shell(env: dict[str, str]) -> None:
    env = {f"X_{name}": text for name, text in env.items() if not re.search("[\ud800-\udfff]", text)}
    script = sshfiles._exports(env) + f'exec {sys.executable} -S -c "import os; print(ascii(dict(os.environb)))"'
    digest = hashlib.sha256(script.encode()).hexdigest()
    path = Path("/tmp") / f"cr-exports-{digest}"
    path.write_text(script)
    try:
        done = subprocess.run(["/bin/sh", str(path)], env={}, capture_output=True, text=True, check=True)
    finally:
        path.unlink()
    found = ast.literal_eval(done.stdout)
    assert {key: text for key, text in found.items() if key.startswith(b"X_")} == {
        name.encode(): text.encode() for name, text in env.items()
    }


def test_names_that_no_shell_can_hold_are_left_out() -> None:
    text = sshfiles._exports({"A.B": "1", "UID": "2", "OPTIND": "x", "1A": "3", "GOOD": "4"})
    assert text == "export GOOD='4'\n"
