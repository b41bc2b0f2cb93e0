"""Coming in through the gateway: tickets, cookies, origins, and every way in which others try to."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.server.gateway_world import NAVIGATION, OWN, World, echo_request, heard, inner_server, world
from tests.unit.server.tls import ask_over_tls, cookie_over_tls, make_certificate

from cloudrouter.server.services.doors import with_ticket
from cloudrouter.wire import states

DOMAIN = "cr.example.com"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with inner_server(echo_request) as made:
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("tls"), DOMAIN)


# -- tickets ----------------------------------------------------------------------------------------------------------


async def test_a_ticket_becomes_a_cookie_and_disappears(here: World, port: int) -> None:
    machine = await here.machine()
    url = await here.open(machine, port, path="/a?b=1#c")
    answer = await here.get(url.partition("#")[0], NAVIGATION)
    assert answer.status == 303
    assert answer.one("Location") == f"{here.origin(machine, port)}/a?b=1"
    assert (answer.one("Referrer-Policy"), answer.one("Cache-Control")) == ("no-referrer", "no-store")
    name, _, attributes = answer.one("Set-Cookie").partition("=")
    assert name == "cloudrouter-session"
    words = {word.strip() for word in attributes.split(";")[1:]}
    assert words == {"Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Lax"}
    cookie = answer.one("Set-Cookie").partition(";")[0]
    page = await here.get(answer.one("Location"), {**NAVIGATION, "Cookie": cookie})
    assert page.status == 200
    assert '"/a?b=1"' in page.text


async def test_a_ticket_opens_once(here: World, port: int) -> None:
    machine = await here.machine()
    url = await here.open(machine, port)
    assert (await here.get(url, NAVIGATION)).status == 303
    again = await here.get(url, NAVIGATION)
    assert again.status == 401
    assert "used" in again.text


async def test_a_used_link_leads_who_is_in_to_its_page(here: World, port: int) -> None:
    machine = await here.machine()
    url = await here.open(machine, port, path="/x")
    cookie = (await here.get(url, NAVIGATION)).one("Set-Cookie").partition(";")[0]
    answer = await here.get(url, {**NAVIGATION, "Cookie": cookie})
    assert (answer.status, answer.one("Location")) == (303, f"{here.origin(machine, port)}/x")
    assert answer.one("Set-Cookie") == ""


@pytest.mark.parametrize(("later", "status"), [(59.9, 303), (60.0, 401)])
async def test_a_ticket_lasts_a_minute(here: World, port: int, later: float, status: int) -> None:
    machine = await here.machine()
    url = await here.open(machine, port)
    here.now += later
    assert (await here.get(url, NAVIGATION)).status == status


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", NAVIGATION),
        ("POST", NAVIGATION),
        ("GET", {**NAVIGATION, "Sec-Purpose": "prefetch"}),
        ("GET", {**NAVIGATION, "Sec-Purpose": "prefetch;prerender"}),
        ("GET", {**NAVIGATION, "Purpose": "prefetch"}),
        ("GET", {**NAVIGATION, "X-Moz": "prefetch"}),
        ("GET", {**NAVIGATION, "Sec-Fetch-Dest": "iframe"}),
        ("GET", {**NAVIGATION, "Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors"}),
        ("GET", {"Accept": "*/*"}),
        ("GET", OWN),
    ],
    ids=lambda value: "-".join(value.values())[-40:] if isinstance(value, dict) else value,
)
async def test_what_is_no_navigation_leaves_a_ticket_whole(
    here: World, port: int, method: str, headers: dict[str, str]
) -> None:
    machine = await here.machine()
    url = await here.open(machine, port)
    answer = await here.ask(method, url, headers)
    assert answer.status == 401
    assert answer.all("Set-Cookie") == []
    assert (await here.get(url, NAVIGATION)).status == 303


async def test_a_ticket_is_good_at_its_own_place_only(here: World, port: int) -> None:
    one, other = await here.machine(), await here.machine()
    ticket = (await here.open(one, port)).partition("cloudrouter-ticket=")[2]
    for place in (here.origin(other, port), here.origin(one, port + 1 if port < 65535 else 80)):
        assert (await here.get(f"{place}/?cloudrouter-ticket={ticket}", NAVIGATION)).status == 401
    assert (await here.get(f"{here.origin(one, port)}/?cloudrouter-ticket={ticket}", NAVIGATION)).status == 303


async def test_a_ticket_never_reaches_the_machine(here: World, port: int) -> None:
    machine = await here.machine()
    cookie = await here.cookie(machine, port)
    spare = await here.open(machine, port)
    ticket = spare.partition("cloudrouter-ticket=")[2]
    origin = here.origin(machine, port)
    headers = {**OWN, "Cookie": cookie, "Referer": spare}
    answer = await here.get(f"{origin}/a?x=1&cloudrouter%2Dticket={ticket}&y=2", headers)
    assert answer.status == 200
    assert '"/a?x=1&y=2"' in answer.text
    assert ticket not in answer.text


async def test_a_link_cannot_lead_away(here: World, port: int) -> None:
    machine = await here.machine()
    url = await here.open(machine, port, path="//evil.example/x")
    answer = await here.get(f"{here.origin(machine, port)}//evil.example/x?{url.partition('?')[2]}", NAVIGATION)
    assert answer.one("Location") == f"{here.origin(machine, port)}//evil.example/x"


# -- cookies ----------------------------------------------------------------------------------------------------------


async def test_a_cookie_opens_its_own_place_only(here: World, port: int) -> None:
    one, other = await here.machine(), await here.machine()
    cookie = await here.cookie(one, port)
    async with inner_server(echo_request) as second:
        for origin in (here.origin(other, port), here.origin(one, second)):
            assert (await here.get(f"{origin}/", {**OWN, "Cookie": cookie})).status == 401
    assert (await here.get(here.origin(one, port), {**OWN, "Cookie": cookie})).status == 200


async def test_a_session_ends_after_twelve_hours(here: World, port: int) -> None:
    machine = await here.machine()
    headers = {**OWN, "Cookie": await here.cookie(machine, port)}
    here.now += 12 * 3600 - 1
    assert (await here.get(here.origin(machine, port), headers)).status == 200
    here.now += 1
    assert (await here.get(here.origin(machine, port), headers)).status == 401


async def test_two_cookies_of_our_name_are_refused(here: World, port: int) -> None:
    machine = await here.machine()
    cookie = await here.cookie(machine, port)
    for twice in (f"{cookie}; cloudrouter-session=x", f"cloudrouter-session=x; {cookie}", f"{cookie};{cookie}"):
        answer = await here.get(here.origin(machine, port), {**OWN, "Cookie": twice})
        assert answer.status == 403
    split = await here.get(
        here.origin(machine, port), {**OWN, "Cookie": cookie}, raw=b"Cookie: cloudrouter-session=x\r\n"
    )
    assert split.status == 403


async def test_our_cookie_stays_at_the_gateway(here: World, port: int) -> None:
    machine = await here.machine()
    cookie = await here.cookie(machine, port)
    answer = await here.get(here.origin(machine, port), {**OWN, "Cookie": f"a=1; {cookie}; b=2"})
    assert heard(answer)["cookie"] == ["a=1; b=2"]
    assert "cloudrouter-session" not in answer.text
    alone = await here.get(here.origin(machine, port), {**OWN, "Cookie": cookie})
    assert "cookie" not in heard(alone)


async def test_machines_cookies_reach_no_further_than_their_origin(here: World) -> None:
    async def set_cookies(_request: Any) -> Any:
        from aiohttp import web

        answer = web.Response(text="x")
        for value in (
            "a=1; Domain=localhost; Path=/",
            "b=2; path=/;domain = .cr.example.com;HttpOnly",
            "c=3; DOMAIN=x",
            "cloudrouter-session=evil; Path=/x",
            "__Host-cloudrouter-session=evil; Secure; Path=/",
            "=cloudrouter-session=evil",
            " CloudRouter-Session =evil",
        ):
            answer.headers.add("Set-Cookie", value)
        answer.headers["Clear-Site-Data"] = '"cookies", "cache", "*"'
        answer.headers["NEL"] = answer.headers["Report-To"] = answer.headers["Alt-Svc"] = "x"
        return answer

    async with inner_server(set_cookies) as port:
        machine = await here.machine()
        cookie = await here.cookie(machine, port)
        answer = await here.get(here.origin(machine, port), {**OWN, "Cookie": cookie})
    assert answer.all("Set-Cookie") == ["a=1; Path=/", "b=2; path=/;HttpOnly", "c=3"]
    assert answer.one("Clear-Site-Data") == '"cache", "storage", "executionContexts"'
    assert [answer.one(name) for name in ("NEL", "Report-To", "Alt-Svc")] == ["", "", ""]


# -- other pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}),
        ("GET", {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}),
        ("GET", {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Origin": "https://3000--cr-22222222.x"}),
        ("GET", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}),
        ("POST", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Origin": "https://evil.example"}),
        ("POST", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Origin": "null"}),
        ("OPTIONS", {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Origin": "https://evil.example"}),
        ("GET", {"Sec-Fetch-Mode": "websocket", "Sec-Fetch-Dest": "websocket", "Origin": "https://evil.example"}),
    ],
    ids=["image", "script", "fetch", "iframe", "form", "form-null", "preflight", "websocket"],
)
async def test_a_sibling_page_reaches_nothing_under_a_team_domain(
    tmp_path: Path, port: int, certificate: tuple[str, str], site: str, method: str, headers: dict[str, str]
) -> None:
    cert, key = certificate
    async with world(tmp_path, gateway_domain=DOMAIN, tls_cert=cert, tls_key=key) as team:
        machine = await team.machine()
        cookie = await cookie_over_tls(team, machine, port)
        upgrade = UPGRADE if headers["Sec-Fetch-Mode"] == "websocket" else {}
        asked = {"Sec-Fetch-Site": site, **headers, **upgrade, "Cookie": cookie}
        answer = await ask_over_tls(team, method, team.origin(machine, port) + "/", asked)
        assert answer.status == 403
        assert answer.all("Access-Control-Allow-Origin") == []
        assert not [request for request in team.guest.requests if request["op"] == "tcp"]


async def test_a_sibling_may_link_to_a_page(here: World, port: int) -> None:
    machine = await here.machine()
    cookie = await here.cookie(machine, port)
    for site in ("same-site", "cross-site"):
        answer = await here.get(here.origin(machine, port), {**NAVIGATION, "Sec-Fetch-Site": site, "Cookie": cookie})
        assert answer.status == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://{host}", "http://{host}.evil", "http://{host}:1", "http://a {host}"],
)
@pytest.mark.parametrize("site", ["none", ""])
async def test_a_foreign_origin_is_refused_whatever_else_is_said(
    here: World, port: int, origin: str, site: str
) -> None:
    machine = await here.machine()
    cookie = await here.cookie(machine, port)
    host = here.origin(machine, port).partition("://")[2]
    said = {"Sec-Fetch-Site": site} if site else {}
    for upgrade in ({}, UPGRADE):
        headers = {**said, **upgrade, "Origin": origin.format(host=host), "Cookie": cookie}
        assert (await here.get(here.origin(machine, port), headers)).status == 403


async def test_a_page_that_hides_its_referrer_may_post_to_itself(here: World, port: int) -> None:
    machine = await here.machine()
    headers = {**OWN, "Origin": "null", "Cookie": await here.cookie(machine, port)}
    assert (await here.ask("POST", here.origin(machine, port), headers, b"x")).status == 200


async def test_two_origins_or_sites_are_refused(here: World, port: int) -> None:
    machine = await here.machine()
    cookie = await here.cookie(machine, port)
    own = here.origin(machine, port)
    for raw in (f"Origin: {own}\r\nOrigin: http://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"):
        answer = await here.get(own, {**OWN, "Cookie": cookie}, raw=raw.encode())
        assert answer.status == 403


async def test_an_old_browsers_own_websocket_is_let_in_by_its_origin(here: World, port: int) -> None:
    machine = await here.machine()
    cookie = await here.cookie(machine, port)
    headers = {"Origin": here.origin(machine, port), "Cookie": cookie}
    assert (await here.get(here.origin(machine, port), headers)).status == 200
    assert (await here.get(here.origin(machine, port), {"Cookie": cookie})).status == 403


async def test_a_program_is_told_of_forward(here: World, port: int) -> None:
    machine = await here.machine()
    answer = await here.get(await here.open(machine, port), {"Accept": "*/*"})
    assert answer.status == 401
    assert f"cloudrouter forward {machine.id} {port}" in answer.text


# -- without credentials, and after the end ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["", "localhost", "127.0.0.1:80", "evil.example", "3000--cr-2345678.localhost", "[::1]"]
)
async def test_an_address_that_is_no_machine_is_only_401(here: World, host: str) -> None:
    answer = await here.speak(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "HEAD", "DELETE", "PROPFIND"])
async def test_without_a_cookie_there_is_only_401(here: World, port: int, method: str) -> None:
    machine = await here.machine()
    for path in ("/", "/v1/machines", "/websock", "/_cloudrouter/state"):
        answer = await here.ask(method, here.origin(machine, port) + path, OWN)
        assert answer.status == 401
    assert here.guest.requests == []


@pytest.mark.parametrize(("state", "status"), [(states.STOPPED, 503), (states.GONE, 410), (states.FAILED, 503)])
async def test_after_a_machines_end_everything_is_refused(here: World, port: int, state: str, status: int) -> None:
    machine = await here.machine()
    cookie = await here.cookie(machine, port)
    spare = await here.open(machine, port)
    await here.end(machine, state)
    assert (await here.get(here.origin(machine, port), {**OWN, "Cookie": cookie})).status == status
    refused = await here.get(spare, NAVIGATION)
    assert (refused.status, refused.all("Set-Cookie")) == (401, [])


async def test_a_session_does_not_come_back_with_its_machine(here: World, port: int) -> None:
    machine = await here.machine()
    cookie = await here.cookie(machine, port)
    await here.end(machine, states.STOPPED)
    for step in (states.RESUMING, states.RUNNING):
        await here.context.set(machine, state=step)
    assert (await here.get(here.origin(machine, port), {**OWN, "Cookie": cookie})).status == 401


async def test_close_ends_tickets_and_sessions_of_that_machine_alone(here: World, port: int) -> None:
    one, other = await here.machine(), await here.machine()
    mine, theirs = await here.cookie(one, port), await here.cookie(other, port)
    spare = await here.open(one, port)
    assert await here.doors.close("me", one.id) == 2
    assert (await here.get(here.origin(one, port), {**OWN, "Cookie": mine})).status == 401
    assert (await here.get(spare, NAVIGATION)).status == 401
    assert (await here.get(here.origin(other, port), {**OWN, "Cookie": theirs})).status == 200


async def test_sessions_outlive_the_router_and_their_ends_do_too(tmp_path: Path, port: int) -> None:
    async with world(tmp_path) as first:
        kept, closed, stopped = [await first.machine() for _ in range(3)]
        cookies = [await first.cookie(machine, port) for machine in (kept, closed, stopped)]
        spare = await first.open(kept, port)
        await first.doors.close("me", closed.id)
    async with world(tmp_path) as second:
        await second.context.store.change(stopped.id, now=1.0, state=states.STOPPED)
    async with world(tmp_path) as third:
        await third.context.store.change(stopped.id, now=1.0, state=states.RUNNING)
        said = [
            (await third.get(third.origin(machine, port), {**OWN, "Cookie": cookie})).status
            for machine, cookie in zip((kept, closed, stopped), cookies, strict=True)
        ]
        assert said == [200, 401, 401]
        assert (await third.get(third.origin(kept, port) + "/?" + spare.partition("?")[2], NAVIGATION)).status == 401


async def test_secrets_are_nowhere_in_logs_nor_in_the_book(
    here: World, port: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)  # as the router has it
    for name in ("aiohttp", "aiohttp.server", "aiohttp.access", "cloudrouter"):
        caplog.set_level(logging.DEBUG, name)
    machine = await here.machine()
    url = await here.open(machine, port)
    ticket = url.partition("cloudrouter-ticket=")[2]
    await here.ask("HEAD", url, NAVIGATION)
    cookie = (await here.get(url, NAVIGATION)).one("Set-Cookie").partition(";")[0]
    secret = cookie.partition("=")[2]
    await here.get(url, NAVIGATION)
    await here.get(here.origin(machine, port) + "/?token=app-secret", {**OWN, "Cookie": cookie})
    await here.get(here.origin(machine, port) + "/?token=app-secret", {"Cookie": cookie + "; " + cookie})
    await here.speak(f"GET /?token=app-secret HTTP/9.9\r\nCookie: {cookie}\r\n\r\n".encode())
    await here.context.events.flush()
    shown = capfd.readouterr()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    for word in (ticket, secret, "app-secret"):
        assert word not in shown.out + shown.err + caplog.text
        assert word.encode() not in written


def test_a_ticket_stands_before_the_fragment() -> None:
    assert with_ticket("http://h/a?b=1#c", "T") == "http://h/a?b=1&cloudrouter-ticket=T#c"
    assert with_ticket("http://h/", "T") == "http://h/?cloudrouter-ticket=T"
