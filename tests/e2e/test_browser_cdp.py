"""Programs at a machine's browser: Playwright through the protected address, and who is refused there."""

from __future__ import annotations

import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Error as PlaywrightError

from cloudrouter import Cdp, Client, Machine
from tests.e2e.browsing import chromium
from tests.e2e.conftest import User, until

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PAGE = "data:text/html,<title>Inside</title><h1>Hello</h1><button onclick=\"document.title='clicked'\">Go</button>"
TRY_SOCKET = """url => new Promise(done => {
    const socket = new WebSocket(url);
    socket.onopen = () => done('open');
    socket.onerror = () => done('refused');
})"""
TRY_FETCH = "url => fetch(url, {mode: 'no-cors'}).then(answer => answer.text(), () => 'refused')"


@pytest.fixture(scope="module")
def person(resident: User) -> Iterator[Chromium]:
    """A browser on this host. It ends before its user does: Playwright leaves an event loop running meanwhile."""
    assert resident
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def client(resident: User) -> Iterator[Client]:
    """The SDK at that user's router."""
    resident.ok("ls")  # which starts the router
    with Client(resident.json("server", "status")["socket"]) as made:
        yield made


@pytest.fixture(scope="module")
def machine(resident: User, person: Chromium, client: Client) -> Machine:
    """A machine with a desktop and a browser on it."""
    assert person
    return client.get(resident.start("--name", f"cdp-{uuid.uuid4().hex[:6]}", "--image", "desktop"))


@pytest.fixture
def cdp(machine: Machine) -> Cdp:
    """A fresh address."""
    return machine.browser.cdp()


def refusal(person: Chromium, url: str) -> str:
    """What Playwright is told there instead of being let in."""
    with pytest.raises(PlaywrightError) as caught:
        person.browser_type.connect_over_cdp(url, timeout=20_000)
    return caught.value.message


def status(url: str, **headers: str) -> int:
    """The status of an answer to a program that asks with these headers."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_playwright_starts_the_browser_and_drives_the_tab_that_the_steps_see(
    machine: Machine, person: Chromium, cdp: Cdp
) -> None:
    for url in (cdp.url, cdp.http_url):
        inside = person.browser_type.connect_over_cdp(url, timeout=60_000)
        try:
            page = inside.contexts[0].pages[0]
            page.goto(PAGE)
            assert page.inner_text("h1") == "Hello"
            assert machine.browser.title() == "Inside"
            page.click("button")
            assert machine.browser.title() == "clicked"
            assert page.screenshot().startswith(b"\x89PNG")
        finally:
            inside.close()
    assert {app.name: app.state for app in machine.apps.list()}["browser"] == "running"


def test_without_the_key_there_is_nothing(person: Chromium, cdp: Cdp) -> None:
    door, key = cdp.url.rsplit("/", 1)
    assert "401" in refusal(person, door)
    assert "401" in refusal(person, f"{door}/{key[:-1]}")
    assert "401" in refusal(person, f"{door}/{'x' * len(key)}")
    http = cdp.http_url.rsplit("/cdp/", 1)[0]
    assert status(f"{http}/json/version") == 401
    assert status(f"{cdp.http_url}/json/version") == 200


def test_a_web_page_that_knows_the_address_cannot_use_it(person: Chromium, cdp: Cdp) -> None:
    version = f"{cdp.http_url}/json/version"
    assert status(version, Origin="https://evil.example") == 403
    assert status(version, Sec_Fetch_Site="none") == 403
    page = person.new_page()
    try:
        page.goto("data:text/html,<title>evil</title>")
        assert page.evaluate(TRY_SOCKET, cdp.url) == "refused"
        assert "DebuggerUrl" not in page.evaluate(TRY_FETCH, version)
        answer = page.goto(version)
        assert answer is not None
        assert answer.status == 403
        assert "DebuggerUrl" not in page.content()
    finally:
        page.close()


def test_after_its_time_nobody_new_is_let_in_and_who_is_in_stays(machine: Machine, person: Chromium) -> None:
    short = machine.browser.cdp(ttl=5)
    inside = person.browser_type.connect_over_cdp(short.url, timeout=20_000)
    try:
        until(lambda: status(f"{short.http_url}/json/version") == 401, "the end of its time", seconds=15)
        assert "401" in refusal(person, short.url)
        page = inside.contexts[0].pages[0]
        page.goto(PAGE)
        assert page.title() == "Inside"
    finally:
        inside.close()


def test_closing_the_doors_puts_everybody_out(machine: Machine, person: Chromium, cdp: Cdp) -> None:
    inside = person.browser_type.connect_over_cdp(cdp.url, timeout=20_000)
    page = inside.contexts[0].pages[0]
    assert machine.close_doors() >= 1
    with pytest.raises(PlaywrightError):
        page.evaluate("new Promise(() => 1)")
    assert not inside.is_connected()
    assert "401" in refusal(person, cdp.url)


def test_an_address_is_good_across_a_new_browser_and_written_nowhere(
    resident: User, machine: Machine, person: Chromium, cdp: Cdp
) -> None:
    machine.browser.close()
    inside = person.browser_type.connect_over_cdp(cdp.url, timeout=60_000)
    inside.close()
    key = cdp.url.rsplit("/", 1)[-1].encode()
    kept = [path for path in resident.base.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if key in path.read_bytes()]


def test_deleting_the_machine_ends_its_address(resident: User, client: Client, person: Chromium) -> None:
    short_lived = client.get(resident.start("--name", f"cdp-{uuid.uuid4().hex[:6]}", "--image", "desktop"))
    cdp = short_lived.browser.cdp()
    inside = person.browser_type.connect_over_cdp(cdp.url, timeout=60_000)
    page = inside.contexts[0].pages[0]
    short_lived.delete()
    assert "401" in refusal(person, cdp.url)
    with pytest.raises(PlaywrightError):
        page.evaluate("new Promise(() => 1)")
    assert not inside.is_connected()
