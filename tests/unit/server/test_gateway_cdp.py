"""Debugging addresses: programs with the key reach a machine's browser, nobody else does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.unit.server.gateway_world import NAVIGATION, OWN, FakeApp, Said, World, echo_request, inner_server, world
from tests.unit.server.tls import ask_over_tls, make_certificate

from cloudrouter.auth import debugging
from cloudrouter.auth.hosts import Address, Place
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import states
from cloudrouter.wire.browserapi import CDP_LONGEST_S, Cdp, OpenCdp
from cloudrouter.wire.errors import NotConfigured, NotRunning, UsageError

BROWSER = "/devtools/browser/8d5a1b7c-0000-4000-8000-000000000001"
PAGE = "/devtools/page/A1B2C3"


@dataclass
class Chromium:
    """What answers at a machine's debugging port."""

    version: Any = field(default_factory=lambda: _told(BROWSER, Browser="Chrome/156", evil="<x>"))
    pages: Any = field(default_factory=lambda: [_told(PAGE, id="A1B2C3", type="page", title="<b>", url="http://x/")])
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    refusal: web.Response | None = None
    """What every WebSocket is answered instead of a handshake."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request; a WebSocket says back what it hears."""
        self.asked.append((request.raw_path, {name.lower(): value for name, value in request.headers.items()}))
        if request.headers.get("Upgrade", "").lower() != "websocket":
            told = self.version if request.path == "/json/version" else self.pages
            return web.Response(body=told if isinstance(told, bytes) else json.dumps(told).encode())
        if self.refusal is not None:
            return self.refusal
        socket = web.WebSocketResponse()
        socket.headers["Set-Cookie"] = "evil=1"
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.path} {message.data}")
        return socket


def _told(path: str, **more: str) -> dict[str, str]:
    return {"webSocketDebuggerUrl": f"ws://127.0.0.1:9222{path}", "devtoolsFrontendUrl": "https://evil/", **more}


@dataclass
class Debugged:
    """A machine with a browser, and an address for programs."""

    here: World
    machine: Row
    chromium: Chromium
    cdp: Cdp

    @property
    def key(self) -> str:
        """What must not be told."""
        return self.cdp.url.rsplit("/", 1)[-1]

    async def get(self, path: str, headers: dict[str, str] | None = None, **options: Any) -> Said:
        """Ask at the address."""
        return await self.here.get(self.cdp.http_url + path, headers, **options)


@asynccontextmanager
async def debugged(here: World, **wanted: Any) -> AsyncIterator[Debugged]:
    """A machine whose browser runs."""
    chromium = Chromium()
    async with inner_server(chromium.handle) as port:  # type: ignore[arg-type]
        app = here.guest.apps["browser"] = FakeApp(port, view="none")
        app.ready.set()
        machine = await here.machine()
        yield Debugged(here, machine, chromium, await here.keys.open("me", machine.id, OpenCdp(**wanted)))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def talk(url: str, **options: Any) -> str:
    """What a WebSocket there says to `hello`; raises what aiohttp says against the handshake."""
    async with asyncio.timeout(10), aiohttp.ClientSession() as session, session.ws_connect(url, **options) as socket:
        await socket.send_str("hello")
        return str((await socket.receive()).data)


async def refused(url: str, **options: Any) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await talk(url, **options)
    return caught.value.status


# -- with the key ------------------------------------------------------------------------------------------------------


async def test_the_address_is_on_loopback_with_a_long_key_that_nobody_keeps(here: World, tmp_path: Path) -> None:
    async with debugged(here) as one:
        port = here.address.port
        assert one.cdp.url == f"ws://127.0.0.1:{port}/cdp/{one.key}"
        assert one.cdp.http_url == f"http://127.0.0.1:{port}/cdp/{one.key}"
        assert len(one.key) == 43
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("router.db*"))
        assert one.machine.id.encode() in kept
        assert one.key.encode() not in kept


@pytest.mark.parametrize("path", ["/json/version", "/json/version/"])
async def test_a_program_is_told_where_the_browser_is_from_outside(here: World, path: str) -> None:
    async with debugged(here) as one:
        told = await one.get(path)
        assert (told.status, told.one("Content-Type")) == (200, "application/json")
        assert json.loads(told.body) == {"Browser": "Chrome/156", "webSocketDebuggerUrl": one.cdp.url + BROWSER}
        ((asked, headers),) = one.chromium.asked
        assert (asked, headers["host"]) == ("/json/version", "127.0.0.1:9222")
        assert one.key not in json.dumps(headers)


@pytest.mark.parametrize("path", ["/json", "/json/", "/json/list"])
async def test_a_program_is_told_which_pages_there_are(here: World, path: str) -> None:
    async with debugged(here) as one:
        (page,) = json.loads((await one.get(path)).body)
        assert page == {
            "id": "A1B2C3", "type": "page", "title": "<b>", "url": "http://x/",
            "webSocketDebuggerUrl": one.cdp.url + PAGE,
        }  # fmt: skip


async def test_the_name_that_a_program_used_is_the_one_it_is_told(here: World) -> None:
    async with debugged(here) as one:
        port = here.address.port
        for name in (f"localhost:{port}", f"[::1]:{port}", f"LOCALHOST:{port}"):
            data = f"GET /cdp/{one.key}/json/version HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
            body = (await here.speak(data.encode())).partition(b"\r\n\r\n")[2]
            assert json.loads(body)["webSocketDebuggerUrl"] == f"ws://{name}/cdp/{one.key}{BROWSER}"


async def test_websockets_pass_to_the_browser_and_its_pages(here: World) -> None:
    async with debugged(here) as one:
        assert await talk(one.cdp.url + BROWSER) == f"{BROWSER} hello"
        assert await talk(one.cdp.url + PAGE) == f"{PAGE} hello"
        for path in ("", "/"):
            assert await talk(one.cdp.url + path) == f"{BROWSER} hello"
        for _path, headers in one.chromium.asked:
            assert headers["host"] == "127.0.0.1:9222"
            assert not {"cookie", "authorization", "user-agent", "x-forwarded-host"} & set(headers)


async def test_a_browser_that_is_off_is_started_by_who_connects(here: World) -> None:
    async with debugged(here) as one:
        app = here.guest.apps["browser"]
        app.ready.clear()
        waiting = asyncio.ensure_future(talk(one.cdp.url))
        async with asyncio.timeout(10):
            while not any(asked["op"] == "app.connect" for asked in here.guest.requests):
                await asyncio.sleep(0.01)
        assert not waiting.done()
        app.ready.set()
        assert await waiting == f"{BROWSER} hello"


# -- without -----------------------------------------------------------------------------------------------------------


async def test_without_the_key_nobody_is_let_in(here: World) -> None:
    async with debugged(here) as one:
        base = f"http://127.0.0.1:{here.address.port}"
        wrong = [
            "/cdp/", "/cdp", "/cdp//json/version", f"/cdp/{'x' * 43}/json/version", f"/cdp/{one.key[:-1]}/json/version",
            f"/cdp/{one.key}x/json/version", f"/cdp/x/../{one.key}/json/version", f"/cdp%2F{one.key}/json/version",
            f"/x/cdp/{one.key}/json/version", "/json/version", "/devtools/browser/x", f"/{one.key}/json/version",
        ]  # fmt: skip
        for path in wrong:
            assert (await here.get(base + path)).status == 401, path
        assert await refused(f"ws://127.0.0.1:{here.address.port}{BROWSER}") == 401
        assert await refused(f"ws://127.0.0.1:{here.address.port}/cdp/{'x' * 43}{BROWSER}") == 401
        assert one.chromium.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        NAVIGATION,
        OWN,
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"origin": "https://evil.example"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Mode": "websocket"},
        {"sec-fetch-storage-access": "active"},
    ],
    ids=str,
)
async def test_no_web_page_may_use_an_address_though_it_knows_the_key(here: World, headers: dict[str, str]) -> None:
    async with debugged(here) as one:
        assert (await one.get("/json/version", headers)).status == 403
        assert await refused(one.cdp.url + BROWSER, headers=headers) == 403
        assert one.chromium.asked == []


@pytest.mark.parametrize(
    "make",
    [
        lambda port, _label: f"evil.example:{port}",
        lambda port, _label: f"127.0.0.1.evil.example:{port}",
        lambda port, _label: f"127.0.0.1:{port + 1}",
        lambda _port, _label: "127.0.0.1",
        lambda port, _label: f"127.0.0.2:{port}",
        lambda port, _label: f"127.0.0.1:0{port}",
        lambda port, label: f"browser--{label}.localhost:{port}",
        lambda port, label: f"3000--{label}.localhost:{port}",
    ],
)
async def test_another_host_than_this_one_is_no_address(here: World, make: Callable[[int, str], str]) -> None:
    async with debugged(here) as one:
        host = make(here.address.port, one.machine.id.replace("_", "-"))
        data = f"GET /cdp/{one.key}/json/version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert (await here.speak(data.encode())).startswith(b"HTTP/1.1 401 ")
        assert one.chromium.asked == []


async def test_other_methods_and_paths_lead_nowhere(here: World) -> None:
    async with debugged(here) as one:
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            assert (await here.ask(method, f"{one.cdp.http_url}/json/version")).status == 403
        for path in ("/json/new", "/json/close/A1B2C3", "/devtools/inspector.html", "/json/version/x", "/x", ""):
            assert (await one.get(path)).status == 404, path
        for path in ("/devtools/browser/", "/devtools/x/1", "/devtools/page/..%2f", "/json/version", "/x"):
            assert await refused(one.cdp.url + path) == 404, path
        assert one.chromium.asked == []


# -- when it ends ------------------------------------------------------------------------------------------------------


async def test_after_its_time_nobody_new_is_let_in_and_who_is_in_stays(here: World) -> None:
    async with debugged(here, ttl_s=60.0) as one, aiohttp.ClientSession() as session:
        assert one.cdp.expires_at == "1970-01-12T13:47:40.000Z"
        async with asyncio.timeout(10), session.ws_connect(one.cdp.url) as socket:
            here.now += 59
            assert (await one.get("/json/version")).status == 200
            here.now += 1
            assert (await one.get("/json/version")).status == 401
            assert await refused(one.cdp.url) == 401
            await socket.send_str("still")
            assert (await socket.receive()).data == f"{BROWSER} still"


@pytest.mark.parametrize("how", ["close", "stop", "delete"])
async def test_closing_stopping_and_deleting_end_the_key_and_who_is_in(here: World, how: str) -> None:
    async with debugged(here) as one, aiohttp.ClientSession() as session:
        async with asyncio.timeout(10), session.ws_connect(one.cdp.url) as socket:
            await socket.send_str("hello")
            await socket.receive()
            if how == "close":
                assert await here.doors.close("me", one.machine.id) == 1
            else:
                await here.end(one.machine, states.STOPPED if how == "stop" else states.GONE)
            assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)
        assert (await one.get("/json/version")).status == 401


async def test_a_key_is_good_after_the_router_was_started_again(tmp_path: Path) -> None:
    async with world(tmp_path) as first, debugged(first) as one:
        key, machine_id = one.key, one.machine.id
    async with world(tmp_path) as second:
        asked = debugging.read(second.address, f"127.0.0.1:{second.address.port}", f"/cdp/{key}/json/version")
        assert asked is not None
        assert second.keys.place(asked) == Place(machine_id, "browser")


async def test_a_key_is_no_cookie_and_a_cookie_no_key(here: World) -> None:
    async with debugged(here) as one, inner_server(echo_request) as port:
        for cookie in (one.key, f"cdp {one.key}"):
            headers = {**OWN, "Cookie": f"cloudrouter-session={cookie}"}
            assert (await here.get(here.origin(one.machine, "browser") + "/json/version", headers)).status == 401
        secret = (await here.cookie(one.machine, port)).partition("=")[2]
        assert (await here.get(f"http://127.0.0.1:{here.address.port}/cdp/{secret}/json/version")).status == 401
        assert one.chromium.asked == []


# -- a hostile machine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version",
    [
        b"no json",
        b"[" * 50_000,
        b"x" * (5 << 20),
        [],
        5,
        {"webSocketDebuggerUrl": "ws://evil.example/x"},
        {"webSocketDebuggerUrl": "ws://127.0.0.1:9222/devtools/browser/a b"},
        {"webSocketDebuggerUrl": "ws://127.0.0.1:9222/devtools/browser/a\r\nX: y"},
        {"webSocketDebuggerUrl": 5},
    ],
    ids=lambda one: str(one)[:40],
)
async def test_a_machine_cannot_lead_a_program_elsewhere(here: World, version: Any) -> None:
    async with debugged(here) as one:
        one.chromium.version = version
        told = await one.get("/json/version")
        assert told.status in (200, 502)
        assert told.status == 502 or "webSocketDebuggerUrl" not in json.loads(told.body)
        assert await refused(one.cdp.url) == 502
        assert one.key.encode() not in told.body


@pytest.mark.parametrize("status", [200, 302, 307, 403, 500])
async def test_a_machine_that_answers_no_handshake_is_not_passed_on(here: World, status: int) -> None:
    async with debugged(here) as one:
        evil = {"Location": f"ws://127.0.0.1:{here.address.port}/internal", "Set-Cookie": "evil=1"}
        one.chromium.refusal = web.Response(status=status, headers=evil, body=b"evil")
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await talk(one.cdp.url + BROWSER)
        assert caught.value.status == 502
        assert not {"Location", "Set-Cookie"} & set(caught.value.headers or ())


async def test_a_handshake_comes_without_anything_else_of_the_machine(here: World) -> None:
    async with (
        debugged(here) as one,
        aiohttp.ClientSession() as session,
        session.ws_connect(one.cdp.url + BROWSER) as socket,
    ):
        assert "Set-Cookie" not in socket._response.headers
        assert "Sec-WebSocket-Accept" in socket._response.headers


async def test_a_key_stands_in_no_log_and_no_answer(here: World, capsys: pytest.CaptureFixture[str]) -> None:
    async with debugged(here) as one:
        one.chromium.version = b"no json"
        for path in ("/json/version", "/x", "/json/list"):
            said = await one.get(path)
            assert path == "/json/list" or one.key not in said.text
        await one.get("/json/version", {"Origin": "null"})
        here.guest.apps.clear()
        await one.get("/json/version")
        written = capsys.readouterr()
        assert one.key not in written.out + written.err


# -- what is refused at once -------------------------------------------------------------------------------------------


async def test_an_address_is_only_given_out_where_it_can_lead_somewhere(here: World, tmp_path: Path) -> None:
    machine = await here.machine()
    with pytest.raises(NotConfigured, match="has no browser") as caught:
        await here.keys.open("me", machine.id, OpenCdp())
    assert caught.value.next == "cloudrouter start --image desktop"
    for ttl in (0.0, -1.0, CDP_LONGEST_S + 1, float("nan"), float("inf")):
        with pytest.raises(UsageError):
            await here.keys.open("me", machine.id, OpenCdp(ttl))
    stopped = await here.machine(state=states.STOPPED)
    with pytest.raises(NotRunning):
        await here.keys.open("me", stopped.id, OpenCdp())
    folder = tmp_path / "alone"
    folder.mkdir()
    async with world(folder, gateway_ports=()) as alone:
        alone.guest.apps["browser"] = FakeApp(1, view="none")
        row = await alone.machine()
        with pytest.raises(NotConfigured, match="switched off"):
            await alone.keys.open("me", row.id, OpenCdp())


# -- teams -------------------------------------------------------------------------------------------------------------


async def test_a_team_has_its_addresses_at_the_machines_own_host_over_tls(tmp_path: Path) -> None:
    domain = "cr.example.com"
    cert, key = make_certificate(tmp_path, domain)
    async with world(tmp_path, gateway_domain=domain, tls_cert=cert, tls_key=key) as team, debugged(team) as one:
        origin = team.origin(one.machine, "browser")
        assert one.cdp.http_url == f"{origin}/cdp/{one.key}"
        assert one.cdp.url == one.cdp.http_url.replace("https://", "wss://")
        told = await ask_over_tls(team, "GET", f"{one.cdp.http_url}/json/version", {})
        assert json.loads(told.body)["webSocketDebuggerUrl"] == one.cdp.url + BROWSER
        other = await team.machine()
        elsewhere = f"{team.origin(other, 'browser')}/cdp/{one.key}/json/version"
        assert (await ask_over_tls(team, "GET", elsewhere, {})).status == 401
        local = f"https://127.0.0.1:{team.address.port}/cdp/{one.key}/json/version"
        assert (await ask_over_tls(team, "GET", local, {})).status == 401


def test_on_the_port_of_the_web_a_host_needs_no_port() -> None:
    address = Address(80)
    assert debugging.read(address, "127.0.0.1", "/cdp/k/json/version") == debugging.Debugging(
        "k", "/json/version", None
    )
    assert debugging.read(Address(7080), "127.0.0.1", "/cdp/k/json/version") is None
