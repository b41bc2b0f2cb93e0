"""Apps behind the gateway, what `open` refuses, and teams with a domain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.server.gateway_visits import Visit
from tests.unit.server.gateway_world import (
    NAVIGATION,
    OWN,
    FakeApp,
    World,
    echo_request,
    heard,
    inner_server,
    world,
)
from tests.unit.server.tls import ask_over_tls, cookie_over_tls, make_certificate

from cloudrouter.wire import boot, states
from cloudrouter.wire.doors import OpenDoor
from cloudrouter.wire.errors import NotConfigured, NotFound, NotRunning, Unreachable, UsageError

MIB = 1024 * 1024


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


# -- apps and doors ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def app(here: World, **values: Any) -> AsyncIterator[tuple[Visit, FakeApp]]:
    """An app of a machine, and somebody who was let in."""
    async with inner_server(echo_request) as port:
        made = here.guest.apps["vscode"] = FakeApp(port, **values)
        machine = await here.machine()
        yield Visit(here, machine, "vscode", await here.cookie(machine, "vscode")), made


async def test_a_window_sees_that_an_app_starts_and_others_wait(here: World) -> None:
    async with app(here) as (person, made):
        page = await person.ask(headers=NAVIGATION)
        assert (page.status, page.one("Retry-After")) == (503, "1")
        assert b"is starting" in page.body
        waiting = asyncio.ensure_future(person.ask())
        async with asyncio.timeout(10):
            while len([one for one in here.guest.requests if one["op"] == "app.connect"]) < 2:
                await asyncio.sleep(0.01)
        assert not waiting.done()
        made.ready.set()
        assert (await waiting).status == 200
        assert (await person.ask(headers=NAVIGATION)).status == 200


async def test_an_app_that_fails_says_why_to_people_and_programs(here: World) -> None:
    async with app(here, error=Unreachable("vscode <died>")) as (person, _made):
        page = await person.ask(headers=NAVIGATION)
        assert page.status == 502
        assert b"vscode &lt;died&gt;" in page.body
        told = await person.ask(headers={"Accept": "application/json"})
        assert json.loads(told.body)["error"]["code"] == "app_failed"
        assert "vscode <died>" in json.loads(told.body)["error"]["message"]


async def test_own_pages_cannot_be_framed_or_run_anything(here: World) -> None:
    machine = await here.machine()
    page = await here.get(here.origin(machine, 3000), NAVIGATION)
    policy = page.one("Content-Security-Policy")
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert (page.one("X-Content-Type-Options"), page.one("Cache-Control")) == ("nosniff", "no-store")


async def test_nothing_listens_yet_is_told_until_something_does(here: World) -> None:
    async with inner_server(echo_request) as port:
        free = port
    machine = await here.machine()
    person = Visit(here, machine, free, await here.cookie(machine, free))
    assert (await person.ask(headers=NAVIGATION)).status == 502
    told = await person.ask(headers={"Accept": "application/json"})
    assert json.loads(told.body)["error"]["code"] == "nothing_listens"


async def test_open_refuses_what_cannot_be_opened(here: World) -> None:
    here.guest.apps = {"vscode": FakeApp(1), "browser": FakeApp(1, view="none"), "desktop": FakeApp(1, view="rfb")}
    machine = await here.machine()
    stopped = await here.machine(state=states.STOPPED)
    with pytest.raises(NotRunning) as not_running:
        await here.doors.open("me", stopped.id, OpenDoor("3000"))
    assert not_running.value.next == f"cloudrouter resume {stopped.id}"
    with pytest.raises(NotFound, match="has no app 'jupyter'") as unknown:
        await here.doors.open("me", machine.id, OpenDoor("jupyter"))
    assert "vscode, desktop" in unknown.value.fix
    for target in ("browser", str(boot.GUEST_PORT), "0", "65536", "080"):
        with pytest.raises(UsageError):
            await here.doors.open("me", machine.id, OpenDoor(target))
    for path in ("x", "", "/\n", "/\x00"):
        with pytest.raises(UsageError):
            await here.doors.open("me", machine.id, OpenDoor("3000", path))
    with pytest.raises(UsageError, match="view-only"):
        await here.doors.open("me", machine.id, OpenDoor("vscode", view_only=True))
    door = await here.doors.open("me", machine.id, OpenDoor("desktop", "/a b?é#x", view_only=True))
    assert door.lasting_url == here.origin(machine, "desktop") + "/a%20b?%C3%A9#x"


async def test_open_without_a_gateway_says_why(tmp_path: Path) -> None:
    async with world(tmp_path, gateway_ports=()) as alone:
        machine = await alone.machine()
        with pytest.raises(NotConfigured, match="switched off"):
            await alone.doors.open("me", machine.id, OpenDoor("3000"))
        assert alone.doors.url(machine, "3000") is None


async def test_a_machine_cannot_offer_apps_with_impossible_names(here: World) -> None:
    machine = await here.machine()
    here.guest.apps = {"../x": FakeApp(1), "a--b": FakeApp(1), "A": FakeApp(1), "ok": FakeApp(1), "80": FakeApp(1)}
    assert await here.doors.views(machine) == {"ok": "http"}


# -- teams -------------------------------------------------------------------------------------------------------------

DOMAIN = "cr.example.com"


async def test_a_dev_server_under_a_team_domain_is_told_localhost(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, DOMAIN)

    async def redirect(request: web.Request) -> web.Response:
        told = {"host": request.headers["Host"], "origin": request.headers.get("Origin")}
        told |= {name: request.headers[name] for name in ("X-Forwarded-Host", "X-Forwarded-Proto")}
        headers = {"Location": request.query.get("to", "/")}
        return web.Response(status=302, text=json.dumps(told), headers=headers)

    async with (
        world(tmp_path, gateway_domain=DOMAIN, tls_cert=cert, tls_key=key) as team,
        inner_server(redirect) as port,
    ):
        machine = await team.machine()
        origin = team.origin(machine, port)
        assert origin == f"https://{port}--{machine.id.replace('_', '-')}.{DOMAIN}:{team.address.port}"
        cookie = await cookie_over_tls(team, machine, port)
        assert cookie.startswith("__Host-cloudrouter-session=")
        headers = {**OWN, "Origin": origin, "Cookie": cookie}
        answer = await ask_over_tls(team, "POST", f"{origin}/?to=http://localhost:{port}/x", headers, b"x", cert)
        host = origin.partition("://")[2]
        assert json.loads(answer.body) == {
            "host": f"localhost:{port}",
            "origin": f"http://localhost:{port}",
            "X-Forwarded-Host": host,
            "X-Forwarded-Proto": "https",
        }
        assert answer.one("Location") == f"{origin}/x"
        for elsewhere in (f"http://localhost:{port + 1}/", f"http://localhost:{port}.evil.example/", "/y", "//z"):
            answer = await ask_over_tls(team, "GET", f"{origin}/?to={elsewhere}", {**OWN, "Cookie": cookie})
            assert answer.one("Location") == elsewhere


async def test_an_app_under_a_team_domain_keeps_its_host(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, DOMAIN)
    async with (
        world(tmp_path, gateway_domain=DOMAIN, tls_cert=cert, tls_key=key) as team,
        inner_server(echo_request) as port,
    ):
        team.guest.apps["vscode"] = FakeApp(port)
        team.guest.apps["vscode"].ready.set()
        machine = await team.machine()
        cookie = await cookie_over_tls(team, machine, "vscode")
        answer = await ask_over_tls(team, "GET", team.origin(machine, "vscode"), {**OWN, "Cookie": cookie})
        host = team.origin(machine, "vscode").partition("://")[2]
        assert heard(answer)["host"] == heard(answer)["x-forwarded-host"] == [host]
