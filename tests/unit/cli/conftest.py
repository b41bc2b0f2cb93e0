"""A command line without a router: a scripted transport, private folders, and a way to call it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cloudrouter.cli.main import run
from cloudrouter.client import commands, trace
from cloudrouter.client import router as client_router
from cloudrouter.client.transport import NotListening

from .fake_commands import FakeCommands

MACHINE: dict[str, Any] = {
    "id": "cr_7k2m9xqd",
    "name": "my-project",
    "state": "running",
    "reason": "",
    "provider": "docker",
    "image": "core",
    "size": "small",
    "cpu": 2.0,
    "memory_bytes": 8 * 1024**3,
    "disk_enforced": False,
    "labels": {"folder": "my-project"},
    "apps": [],
    "notes": [],
    "urls": {},
    "workspace": "/home/user/workspace",
    "mounts": [],
    "package_cache": True,
    "created_at": "2026-07-31T12:00:00.000Z",
    "started_at": "2026-07-31T12:00:00.300Z",
    "expires_at": None,
    "ready_ms": 310,
}


class FakeTransport:
    """Answers what the test has told it to, and remembers what was asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.streams: list[str] = []
        self.versions_checked = 0
        self.closed = False
        self.socket_path = "/nowhere/router.sock"
        self.server_version = None

    def call(self, method: str, path: str, body: Any = None, **_more: Any) -> Any:
        self.asked.append((method, path, body))
        answer = self.answers[method, path]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def lines(self, method: str, path: str, body: Any = None, **_more: Any) -> Iterator[dict[str, Any]]:
        self.asked.append((method, path, body))
        yield from self.answers[method, path]

    def stream(self, path: str, **_more: Any) -> str:
        self.streams.append(path)
        return f"stream of {path}"

    def close(self) -> None:
        self.closed = True


class Outcome(NamedTuple):
    """What a call of the command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working folder, and none of the person's own settings."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    for name in ("PROVIDER", "IMAGE", "SIZE", "TIMEOUT", "PACKAGE_CACHE", "URL", "CONFIG", "DEBUG"):
        monkeypatch.delenv(f"CLOUDROUTER_{name}", raising=False)
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("CLOUDROUTER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CLOUDROUTER_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(work)
    return tmp_path


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> FakeTransport:
    """The router that every verb reaches."""
    fake = FakeTransport()

    def ensure_version(given: FakeTransport) -> FakeTransport:
        given.versions_checked += 1
        return given

    monkeypatch.setattr(client_router, "connect", lambda *, start=True: fake)
    monkeypatch.setattr(client_router, "ensure_version", ensure_version)
    return fake


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for a router at all is a failure of the test."""

    def connect(*, start: bool = True) -> None:
        pytest.fail(f"a router was asked for, start={start}")

    monkeypatch.setattr(client_router, "connect", connect)


@pytest.fixture
def no_router(monkeypatch: pytest.MonkeyPatch) -> None:
    """No router runs, and starting one is a failure of the test."""

    def connect(*, start: bool = True) -> None:
        assert not start, "this verb must not start a router"
        raise NotListening("No router is running.")

    monkeypatch.setattr(client_router, "connect", connect)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line in this process."""

    def call(*words: str) -> Outcome:
        trace.listen(None)  # a call before may have been one with --verbose; a process hears only its own
        capfd.readouterr()
        code = run(words)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> FakeCommands:
    """The machine that every command reaches."""
    assert transport
    fake = FakeCommands()
    monkeypatch.setattr(commands, "run", fake.run)
    monkeypatch.setattr(commands, "ask", fake.ask)
    return fake
