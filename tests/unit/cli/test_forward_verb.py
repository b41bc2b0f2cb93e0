"""forward: real sockets here, a scripted router behind them; what is printed, what it lives through, how it ends."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.client.fake_router import Answer, FakeRouter, Seen
from websockets.sync.server import ServerConnection

from cloudrouter.cli import forwarding
from cloudrouter.client import router as client_router
from cloudrouter.client.transport import Transport
from cloudrouter.wire.errors import NotFound, NotRunning, Unreachable, UsageError

from .conftest import MACHINE, Cli

APPS = [
    {"name": "desktop", "state": "off", "view": "rfb"}, {"name": "vscode", "state": "off", "view": "http"},
]  # fmt: skip


class Script:
    """The router: each look at the machine runs the next step; after the last one the machine is gone."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], Answer | None]] = []
        self.ports: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.looks = 0

    def handle(self, seen: Seen) -> Answer:
        if seen.path.endswith("/apps"):
            return Answer(200, {"apps": APPS})
        self.looks += 1
        if self.looks == 1:  # The look before anything is opened.
            return Answer(200, {"ports": []} if seen.path.endswith("/ports") else MACHINE)
        if self.looks == 2 and self.needs_facts:
            return Answer(200, MACHINE)
        if not self.steps:
            return Answer(404, {"error": NotFound("There is no machine x.").to_json()})
        answer = self.steps.pop(0)()
        if answer is not None:
            return answer
        return Answer(200, {"ports": self.ports} if seen.path.endswith("/ports") else MACHINE)

    needs_facts = False

    def talk(self, connection: ServerConnection, _path: str) -> None:
        """Inside: an echo that says first which port it is."""
        request = json.loads(connection.recv(20))
        self.requests.append(request)
        if request.get("port") == 9:
            connection.send(json.dumps({"error": Unreachable("Nothing listens on port 9.").to_json()}))
            return
        connection.send(json.dumps({"started": {}}))
        connection.send(b"\x01" + str(request.get("port") or request.get("app")).encode() + b":")
        while isinstance(data := connection.recv(20), bytes):
            connection.send(b"\x01" + data)
        connection.send('{"eof":true}')
        connection.send('{"end":{}}')


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def router(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRouter]:
    folder = tempfile.mkdtemp(prefix="cr-", dir="/tmp")
    fake = FakeRouter(f"{folder}/r.sock", handle=script.handle, talk=script.talk)
    fake.start()
    monkeypatch.setattr(client_router, "connect", lambda *, start=True: Transport(fake.path))
    monkeypatch.setattr(client_router, "ensure_version", lambda given: given)
    monkeypatch.setattr(forwarding, "LOOK_S", 0.01)
    yield fake
    fake.stop()
    shutil.rmtree(folder)
    assert not fake.errors


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def speak(port: int, data: bytes = b"hello") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(4096):
            answer += piece
    return answer


def test_forward_when_ports_are_named_then_bytes_go_both_ways(cli: Cli, script: Script, router: FakeRouter) -> None:
    assert router
    first, second = free_port(), free_port()
    heard: list[bytes] = []
    script.steps = [lambda: heard.extend((speak(first), speak(second, b"x" * 300_000)))]  # type: ignore[list-item]
    found = cli("forward", "x", f"3000:{first}", f"5432:{second}")
    assert found.out.splitlines() == [f"http://127.0.0.1:{first} -> 3000", f"http://127.0.0.1:{second} -> 5432"]
    assert heard == [b"3000:hello", b"5432:" + b"x" * 300_000]
    assert found.code == 4  # the machine is gone
    assert [one["op"] for one in script.requests] == ["tcp", "tcp"]


def test_forward_when_no_local_port_is_named_then_is_the_same_or_the_next(
    cli: Cli, script: Script, router: FakeRouter
) -> None:
    assert router
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = cli("forward", "x", str(port))
        url, arrow, target = found.out.split()
        assert (arrow, target) == ("->", str(port))
        other = int(url.rpartition(":")[2])
        assert other != port
        assert f"port {port} of this host is taken; {other} stands for it" in found.err
        script.looks = 0
        assert cli("forward", "x", f"80:{port}").code == 1
    script.looks = 0
    assert cli("forward", "x", str(free := free_port())).out == f"http://127.0.0.1:{free} -> {free}\n"


def test_forward_when_an_app_is_named_then_its_bytes_come_and_its_kind_shows(
    cli: Cli, script: Script, router: FakeRouter
) -> None:
    assert router
    port = free_port()
    heard: list[bytes] = []
    script.steps = [lambda: heard.append(speak(port))]
    found = cli("forward", "x", f"vscode:{port}", "desktop")
    assert heard == [b"vscode:hello"]
    assert script.requests == [{"op": "app.connect", "app": "vscode"}]
    lines = found.out.splitlines()
    assert lines[0] == f"http://127.0.0.1:{port} -> vscode"
    assert lines[1].startswith("vnc://127.0.0.1:")
    assert "There is no app jupyter" in cli("forward", "x", "jupyter").err


@pytest.mark.flag("forward --all")
def test_forward_when_all_are_wanted_then_later_ones_come_and_those_of_apps_do_not(
    cli: Cli, script: Script, router: FakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert router
    monkeypatch.setattr(forwarding, "FORGET_S", -1.0)
    first, second, third = free_port(), free_port(), free_port()
    script.needs_facts = True

    def listen(*ports: int) -> Callable[[], None]:
        def step() -> None:
            script.ports = [{"port": port, "process": "node", "app": None} for port in ports]
            script.ports.append({"port": third, "process": "chromium", "app": "browser"})

        return step

    script.steps = [listen(first), listen(first, second), listen(second)]
    found = cli("forward", "x", "--all")
    assert f"http://127.0.0.1:{first} -> {first}" in found.out
    assert f"http://127.0.0.1:{second} -> {second}" in found.out
    assert str(third) not in found.out
    assert f"nothing listens on {first} any more" in found.err
    assert cli("forward", "x", "--all", "3000").code == 2
    assert cli("forward", "x").code == 2


def test_forward_when_a_machine_opens_very_many_ports_then_not_all_of_ours_are_taken(
    cli: Cli, script: Script, router: FakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert router
    monkeypatch.setattr(forwarding, "AT_MOST", 3)
    script.needs_facts = True
    script.ports = [{"port": port, "process": "x", "app": None} for port in range(40000, 40020)]
    script.steps = [lambda: None, lambda: None]
    found = cli("forward", "x", "--all")
    assert len(found.out.splitlines()) == 3
    assert found.err.count("more are left out") == 1


def test_forward_when_all_are_wanted_of_a_machine_that_stops_then_waits_for_it(
    cli: Cli, script: Script, router: FakeRouter
) -> None:
    assert router
    script.needs_facts = True
    stopped = Answer(409, {"error": NotRunning("It is stopped.").to_json()})
    script.steps = [lambda: stopped, lambda: Answer(200, {**MACHINE, "state": "stopped"}), lambda: None]
    found = cli("forward", "x", "--all")
    assert [line for line in found.err.splitlines() if "x is" in line] == [
        "cloudrouter: x is stopped; its ports are served again when it is back.",
        "cloudrouter: x is reached again.",
    ]


@pytest.mark.parametrize("state", ["gone", "failed"])
def test_forward_when_the_machine_is_over_then_ends(cli: Cli, script: Script, router: FakeRouter, state: str) -> None:
    assert router
    script.steps = [lambda: Answer(200, {**MACHINE, "state": state})]
    found = cli("forward", "x", str(free_port()))
    assert found.code == 4
    assert f"The machine x is {state}." in found.err


@pytest.mark.flag("forward --json")
def test_forward_as_json_then_is_one_event_a_line(cli: Cli, script: Script, router: FakeRouter) -> None:
    assert router
    port, silent = free_port(), free_port()

    def fail() -> None:
        with contextlib.suppress(ConnectionError):
            assert speak(silent) == b""

    script.steps = [fail, lambda: Answer(200, {**MACHINE, "state": "stopped"}), lambda: None]
    found = cli("forward", "x", f"3000:{port}", f"9:{silent}", "--json")
    assert [json.loads(line) for line in found.out.splitlines()[:-1]] == [
        {"event": "forward", "target": "3000", "local_port": port, "url": f"http://127.0.0.1:{port}"},
        {"event": "forward", "target": "9", "local_port": silent, "url": f"http://127.0.0.1:{silent}"},
        {"event": "failed", "target": "9", "message": "Nothing listens on port 9."},
        {
            "event": "state", "state": "stopped",
            "message": "x is stopped; its ports are served again when it is back.",
        },
        {"event": "state", "state": "running", "message": "x is reached again."},
    ]  # fmt: skip
    assert json.loads(found.out.splitlines()[-1])["error"]["code"] == "not_found"


def test_forward_when_the_router_is_restarted_then_goes_on(cli: Cli, script: Script, router: FakeRouter) -> None:
    port = free_port()
    heard: list[bytes] = []

    def restart() -> Answer:
        router.cut_connections()
        return Answer(cut=True)

    script.steps = [lambda: heard.append(speak(port)), restart, lambda: None, lambda: heard.append(speak(port))]
    found = cli("forward", "x", f"3000:{port}")
    assert heard == [b"3000:hello"] * 2
    assert found.out.count("->") == 1


@pytest.mark.parametrize(
    "word", ["", ":80", "3000:", "3000:0", "3000:99999", "0", "70000", "a b", "vs--code", "../x", "3000:80:1"]
)
def test_forward_when_a_word_can_be_no_port_then_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        forwarding.read_wanted(word)
