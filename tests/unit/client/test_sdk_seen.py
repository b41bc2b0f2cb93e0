"""The SDK's doors, apps, ports, terminals and pictures: both clients against one scripted router."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.cli.test_picture_verbs import png
from tests.unit.client.fake_router import Answer, FakeRouter, Seen
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from cloudrouter import AsyncClient, Client, NotFound, TransferFailed, UsageError

Make = Callable[..., FakeRouter]
ID = "cr_7k2m9xqd"
BASE = f"/v1/machines/{ID}"
URL = "http://3000--cr-7k2m9xqd.localhost:7080/"
APP = {"name": "vscode", "title": "VS Code", "view": "http", "state": "running", "url": URL, "newer": 1}
PORT = {"port": 3000, "addresses": ["::1"], "pid": 7, "process": "node"}
PTY = {"id": "pty_7k2m9xqd", "name": "build", "command": "cat", "clients": 1, "pid": 7}


class Script:
    """One machine with everything in it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.texts: list[dict[str, Any]] = []
        self.picture = png()

    def handle(self, seen: Seen) -> Answer:
        self.asked.append((seen.method, seen.path, seen.body))
        what = seen.path.removeprefix(BASE)
        found: dict[str, Any] = {
            "": {"id": ID, "name": "a", "state": "running", "apps": ["vscode"]},
            "/open": {"target": "3000", "url": f"{URL}?t=1", "lasting_url": URL, "expires_at": "2026-11-24T12:00:00Z"},
            "/close": {"closed": 2},
            "/apps": {"apps": [APP]},
            "/apps/vscode/start": APP,
            "/apps/vscode/stop": {**APP, "state": "off"},
            "/apps/desktop/start": {**APP, "name": "desktop"},
            "/apps/vscode/logs?tail=2": {"log": "a\nb\n"},
            "/ports": {"ports": [PORT]},
        }
        if what not in found:
            return Answer(404, {"error": NotFound("There is no such app.").to_json()})
        return Answer(200, found[what])

    def talk(self, connection: ServerConnection, _path: str) -> None:
        request = json.loads(connection.recv(20))
        self.requests.append(request)
        if request["op"] == "exec":
            connection.send(b"\x01" + self.picture)
            connection.send(json.dumps({"exit": {"code": 0, "duration_ms": 1}}))
        elif request["op"] == "pty.list":
            connection.send(json.dumps({"ptys": [PTY]}))
        elif request["op"] == "pty.kill":
            connection.send(json.dumps({"pty": PTY}))
        elif request["op"] == "pty.open":
            connection.send(json.dumps({"started": {"session": PTY["id"], "pid": 7}}))
            self.echo(connection, {"exit": {"code": 3, "duration_ms": 1}})
        else:
            connection.send(json.dumps({"starting": {"name": "vscode"}}))
            connection.send(json.dumps({"started": {"app": "vscode"}}))
            self.echo(connection, {"end": {}})

    def echo(self, connection: ServerConnection, final: dict[str, Any]) -> None:
        """What is typed comes back; `q` ends it."""
        try:
            while True:
                message = connection.recv(20)
                if isinstance(message, str):
                    self.texts.append(json.loads(message))
                    if self.texts[-1] == {"eof": True}:
                        break
                elif message == b"q":
                    break
                else:
                    connection.send(b"\x01" + message)
            connection.send(json.dumps(final))
        except ConnectionClosed:
            self.texts.append({"closed": True})


class Caller:
    """Calls the blocking or the awaiting SDK in the same words."""

    def __init__(self, path: str, *, awaiting: bool) -> None:
        self.loop = asyncio.new_event_loop() if awaiting else None
        self.client: Any = AsyncClient(path) if awaiting else Client(path)
        self.machine = self(self.client.get(ID))

    def __call__(self, value: Any) -> Any:
        if self.loop is None:
            return value
        return self.loop.run_until_complete(value)

    def pieces(self, thing: Any) -> bytes:
        """All that an execution shows."""
        if self.loop is None:
            return b"".join(piece.data for piece in thing)

        async def collect() -> bytes:
            return b"".join([piece.data async for piece in thing])

        return self(collect())  # type: ignore[no-any-return]

    def close(self) -> None:
        self(self.client.close())
        if self.loop is not None:
            self.loop.close()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture(params=[False, True], ids=["blocking", "awaiting"])
def sdk(request: pytest.FixtureRequest, fake_router: Make, script: Script) -> Any:
    caller = Caller(fake_router(handle=script.handle, talk=script.talk).path, awaiting=request.param)
    yield caller
    caller.close()


def test_open_when_called_then_gives_the_door(sdk: Caller, script: Script) -> None:
    door = sdk(sdk.machine.open(3000, path="admin", view_only=True))
    assert (door.url, door.lasting_url, door.target) == (f"{URL}?t=1", URL, "3000")
    assert script.asked[-1] == ("POST", f"{BASE}/open", {"target": "3000", "path": "/admin", "view_only": True})
    sdk(sdk.machine.open("desktop"))
    assert script.asked[-1][2] == {"target": "desktop", "path": "/", "view_only": False}
    assert sdk(sdk.machine.close_doors()) == 2
    for wrong in (0, "a--b", "3000/x"):
        with pytest.raises(UsageError):
            sdk(sdk.machine.open(wrong))


def test_apps_when_asked_for_then_are_records(sdk: Caller, script: Script) -> None:
    apps = sdk.machine.apps
    assert [(one.name, one.state, one.url) for one in sdk(apps.list())] == [("vscode", "running", URL)]
    assert sdk(apps.start("vscode")).state == "running"
    assert sdk(apps.stop("vscode")).state == "off"
    assert sdk(apps.logs("vscode", tail=2)) == "a\nb\n"
    with pytest.raises(NotFound):
        sdk(apps.start("jupyter"))
    with pytest.raises(UsageError):
        sdk(apps.start("../up"))
    assert script.asked[-1][1] == f"{BASE}/apps/jupyter/start"


def test_apps_when_connected_to_then_bytes_go_both_ways(sdk: Caller, script: Script) -> None:
    tunnel = sdk(sdk.machine.apps.connect("vscode"))
    sdk(tunnel.send(b"GET"))
    assert sdk(tunnel.receive()) == b"GET"
    sdk(tunnel.close_input())
    assert sdk(tunnel.receive()) == b""
    sdk(tunnel.close())
    assert script.requests == [{"op": "app.connect", "app": "vscode"}]


def test_ports_when_listed_and_forwarded_then_are_reached(sdk: Caller, script: Script) -> None:
    assert [(one.port, one.process) for one in sdk(sdk.machine.ports.list())] == [(3000, "node")]
    for target in (3000, "3000", "vscode"):
        forward = sdk(sdk.machine.ports.forward(target))

        def speak(port: int = forward.port) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
                sock.sendall(b"hello")
                return sock.recv(100)

        assert sdk(asyncio.to_thread(speak) if sdk.loop else speak()) == b"hello"
        sdk(forward.close())
    assert script.requests == [
        {"op": "tcp", "port": 3000}, {"op": "tcp", "port": 3000}, {"op": "app.connect", "app": "vscode"},
    ]  # fmt: skip
    with pytest.raises(UsageError, match="host goes with a port"):
        sdk(sdk.machine.ports.forward("vscode", host="::1"))


def test_pty_when_opened_then_can_be_typed_at_and_left(sdk: Caller, script: Script) -> None:
    pty = sdk(sdk.machine.ptys.open("cat", name="build", cwd="src", env={"A": "1"}, columns=100, rows=30))
    assert pty.session == "pty_7k2m9xqd"
    assert script.requests[-1] == {
        "op": "pty.open", "line": "cat", "name": "build", "cwd": "src", "env": {"A": "1"}, "stdin": True,
        "tty": {"cols": 100, "rows": 30, "term": "xterm-256color"},
    }  # fmt: skip
    sdk(pty.resize(90, 20))
    sdk(pty.write("ls"))
    sdk(pty.write(b"q"))
    assert sdk.pieces(pty) == b"ls"
    assert pty.exit_code == 3
    assert script.texts == [{"resize": [90, 20]}]


def test_pty_when_joined_then_is_that_one_and_closing_only_leaves_it(sdk: Caller, script: Script) -> None:
    pty = sdk(sdk.machine.ptys.join("build"))
    assert script.requests[-1]["session"] == "build"
    assert "line" not in script.requests[-1]
    sdk(pty.close())
    assert [one.clients for one in sdk(sdk.machine.ptys.list())] == [1]
    assert sdk(sdk.machine.ptys.kill("build")).name == "build"
    assert all("signal" not in text and "eof" not in text for text in script.texts)


def test_screenshot_when_taken_then_is_a_whole_picture(sdk: Caller, script: Script) -> None:
    assert sdk(sdk.machine.screenshot()) == png()
    assert script.asked[-1][:2] == ("POST", f"{BASE}/apps/desktop/start")
    assert script.requests == [{"op": "exec", "argv": ["/opt/cloudrouter/apps/desktop/screenshot"]}]
    script.picture = png()[:-2]
    with pytest.raises(TransferFailed):
        sdk(sdk.machine.screenshot())
