"""A guest as a process of its own on a Unix socket, and a small opener of streams, for the tests of this room."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, unix_connect

from cloudrouter.wire.streams import FINAL, MESSAGE_LIMIT, STDERR, STDOUT

TOKEN = "a-token-of-the-tests"
MACHINE_ID = "cr_23456789"
LIBRARIES = os.path.dirname(os.path.dirname(websockets.__file__))
NAMED_SIGNALS = 0x7FFFFFFF
"""Signals 1 to 31; what lies above is the C library's own and may come down from whoever runs the tests."""
SRC = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../../src"))


@dataclass
class Outcome:
    """All that came on a stream."""

    final: dict[str, Any] = field(default_factory=dict)
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    texts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def code(self) -> int:
        return int(self.final["exit"]["code"])

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.final["error"]
        return found

    def take(self, message: str | bytes) -> bool:
        """Note one message; True when it was the last one."""
        if isinstance(message, bytes):
            {STDOUT: self.stdout, STDERR: self.stderr}[message[0]].extend(message[1:])
            return False
        body = json.loads(message)
        self.texts.append(body)
        if FINAL & set(body):
            self.final = body
        return bool(self.final)


class Machine:
    """A guest with folders of its own; it can be killed and started again on the same state."""

    def __init__(
        self, env: Mapping[str, str] | None = None, *, prefix: Iterable[str] = (), python: str = sys.executable
    ) -> None:
        self.root = tempfile.mkdtemp(prefix="cr-guest-")
        self.home = f"{self.root}/home"
        self.workspace = f"{self.root}/home/workspace"
        self.state = f"{self.root}/state"
        self.socket = f"{self.root}/guest.sock"
        self.env = dict(env or {})
        self._prefix = list(prefix)
        self._python = python
        os.makedirs(self.workspace)
        self.first_lines: list[str] = []
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        env = {
            "PATH": os.environ["PATH"],
            "CLOUDROUTER_MACHINE_ID": MACHINE_ID,
            "CLOUDROUTER_TOKEN_SHA256": hashlib.sha256(TOKEN.encode()).hexdigest(),
            "CLOUDROUTER_LISTEN": f"unix:{self.socket}",
            "CLOUDROUTER_USER": "",
            "CLOUDROUTER_HOME": self.home,
            "CLOUDROUTER_WORKSPACE": self.workspace,
            "CLOUDROUTER_STATE": self.state,
            "CLOUDROUTER_APPS": f"{self.root}/apps",
            "CLOUDROUTER_APPS_RUN": f"{self.root}/run",
            **self.env,
        }
        program = (
            f"import runpy, sys; sys.path[:0] = {[SRC, LIBRARIES]!r}; "
            "runpy.run_module('cloudrouter.guest', None, '__main__', True)"
        )
        words = [*self._prefix, self._python, "-c", program]
        process = subprocess.Popen(words, env=env, stderr=subprocess.PIPE)
        assert process.stderr is not None
        self.first_lines = []
        while not self.first_lines or "listens on" not in self.first_lines[-1]:
            line = process.stderr.readline().decode()
            assert line, self.first_lines
            self.first_lines.append(line)
        return process

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End the guest and return the rest of its log."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=20)
        return log.decode()

    def restart(self) -> None:
        """Start the guest again on the same folders, after `stop`."""
        self.process = self._start()

    def remove(self) -> None:
        """End it, with all jobs, and remove its folders."""
        if self.process.returncode is None:
            self.stop()
        # Until none is left: one that just ends still writes into the folder, and may be gone when killed.
        while pids := processes_of(self.root):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root)

    def connect(self, **options: Any) -> unix_connect:
        """A stream without an operation yet."""
        headers = options.pop("headers", {"Authorization": f"Bearer {TOKEN}"})
        options = {"compression": None, "max_size": MESSAGE_LIMIT, "ping_interval": None, **options}
        return unix_connect(self.socket, "ws://guest/stream", additional_headers=headers, **options)

    async def ask(self, request: Mapping[str, Any], *messages: str | bytes | dict[str, Any]) -> Outcome:
        """Send a request and messages, and read to the end."""
        async with self.connect() as stream:
            await send(stream, request, *messages)
            return await finish(stream)

    async def run(self, line: str, **fields: Any) -> Outcome:
        """Run a line of shell."""
        return await self.ask({"op": "exec", "line": line, **fields})


async def send(stream: ClientConnection, *messages: Mapping[str, Any] | str | bytes) -> None:
    """Send objects as JSON, and the rest as it is."""
    for message in messages:
        await stream.send(message if isinstance(message, (str, bytes)) else json.dumps(message))


async def finish(stream: ClientConnection, outcome: Outcome | None = None) -> Outcome:
    """Read to the final message and the close behind it."""
    outcome = outcome or Outcome()
    async with asyncio.timeout(60):
        async for message in stream:
            outcome.take(message)
    assert outcome.final, outcome
    return outcome


async def read_until(stream: ClientConnection, wanted: bytes, outcome: Outcome) -> None:
    """Read until stdout holds the bytes."""
    async with asyncio.timeout(20):
        while wanted not in outcome.stdout:
            assert not outcome.take(await stream.recv()), outcome


async def until(condition: Any, *, timeout_s: float = 10.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_of(root: str) -> list[int]:
    """Living processes whose environment or arguments name the folder."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as env, open(f"/proc/{name}/cmdline", "rb") as words:
                text = env.read() + words.read()
        except OSError:
            continue
        if root.encode() in text:
            found.append(int(name))
    return found


def memory_kib(pid: int, field_name: str) -> int:
    """A field of /proc/PID/status or smaps_rollup in KiB."""
    source = "smaps_rollup" if field_name == "Pss" else "status"
    with open(f"/proc/{pid}/{source}") as file:
        for line in file:
            if line.startswith(field_name + ":"):
                return int(line.split()[1])
    raise AssertionError(field_name)
