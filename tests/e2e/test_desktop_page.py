"""A person at the desktop page, in a real Chromium, through the real gateway, at a real machine."""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route
from playwright.sync_api import Error as PlaywrightError

from tests.e2e.browsing import chromium
from tests.e2e.conftest import User, until

pytestmark = [pytest.mark.engine, pytest.mark.slow]

WIDTH, HEIGHT, BAR = 1280, 844, 44
CONNECTED = "body[data-link=connected]"
PASTED = "umlaut ü, euro €"


@pytest.fixture(scope="module")
def browser(resident: User) -> Iterator[Browser]:
    """Ends before its user does: Playwright leaves an event loop running as long as it is there."""
    assert resident
    with chromium() as found:
        yield found


class Desk:
    """A machine with a desktop, and the pages that look at it."""

    def __init__(self, user: User, browser: Browser) -> None:
        self.user = user
        self.browser = browser
        self.machine = user.start("--name", f"desk-{uuid.uuid4().hex[:6]}", "--apps", "desktop")
        self.errors: list[str] = []

    def sh(self, line: str) -> str:
        """Run a line in the machine."""
        return self.user.ok("ssh", self.machine, line).out_text

    def link(self, *words: str) -> str:
        """A new address with a ticket."""
        return self.user.ok("vnc", self.machine, *words).out_text.strip()

    def look(self, *words: str, **options: Any) -> Page:
        """A page of a browser of its own, connected."""
        context = self.browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, **options)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.enter(page, *words)
        page.wait_for_selector(CONNECTED, timeout=30_000)
        return page

    def enter(self, page: Page, *words: str) -> None:
        """Open an address; Chromium drops a page under way when a network interface comes or goes, as they do here."""
        while True:
            try:
                page.goto(self.link(*words))
            except PlaywrightError as error:
                if "ERR_NETWORK_CHANGED" not in error.message:
                    raise
            else:
                return

    def terminal(self) -> None:
        """One terminal over the whole desktop, with a shell in the workspace."""
        self.sh("pkill -x xterm || true")
        self.user.ok("ssh", "--bg", self.machine, "xterm -maximized -e sh")
        until(lambda: self.sh("pgrep -x -P $(pgrep -n -x xterm) sh || true").strip(), "a terminal")

    def size(self) -> tuple[int, int]:
        """Of the desktop, from a picture of it."""
        head = self.user.ok("ssh", self.machine, "/opt/cloudrouter/apps/desktop/screenshot | head -c 24").out
        assert head.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", head[16:24])
        return width, height

    def written(self, name: str) -> str:
        """What a file of the workspace holds, empty when it is not there."""
        return self.sh(f"cat {name} 2>/dev/null || true")


@pytest.fixture(scope="module")
def desk(resident: User, browser: Browser) -> Iterator[Desk]:
    made = Desk(resident, browser)
    yield made
    assert not made.errors


@pytest.fixture(autouse=True)
def _no_pages_left(browser: Browser) -> Iterator[None]:
    yield
    for context in browser.contexts:
        context.close()


def type_line(page: Page, line: str) -> None:
    """Click into the desktop and type, as a person would."""
    page.mouse.click(WIDTH / 2, HEIGHT / 2)
    page.keyboard.type(line + "\n", delay=10)


def shown_width(page: Page) -> float:
    """How wide the desktop is in the page, in its pixels."""
    box = page.locator("#screen canvas").bounding_box()
    assert box is not None
    return box["width"]


def copy_in_browser(page: Page, text: str) -> None:
    """Put a text into the person's clipboard, without any permission of the page."""
    page.evaluate(
        """text => {
            const field = document.body.appendChild(document.createElement("textarea"));
            field.value = text;
            field.select();
            document.execCommand("copy");
            field.remove();
        }""",
        text,
    )


def test_typing_in_the_page_arrives_in_the_machine(desk: Desk) -> None:
    page = desk.look()
    assert re.fullmatch(r"http://desktop--cr-\w+\.localhost:\d+/", page.url)  # the ticket is gone from the address
    assert page.inner_text("#name").startswith("desk-")
    assert page.inner_text("#state-text") == "Connected"
    desk.terminal()
    type_line(page, "echo 'typed: & <tags> #1' > typed.txt")
    until(lambda: desk.written("typed.txt") == "typed: & <tags> #1\n", "what was typed")


def test_view_only_link_shows_and_does_not_type(desk: Desk) -> None:
    desk.terminal()
    watching = desk.look("--view-only")
    assert watching.is_visible("#view-only")
    assert not watching.is_visible("#keys-tool")
    type_line(watching, "echo no > watched.txt")
    # Not even by a client that is made to believe it may: the gateway decides.
    watching.evaluate("document.body.dataset.viewOnly = 'false'")
    forged = watching.evaluate(
        """async () => {
            const socket = new WebSocket(`ws://${location.host}/websock`, ["binary"]);
            socket.binaryType = "arraybuffer";
            const heard = () => new Promise(resolve => socket.addEventListener("message", resolve, { once: true }));
            const key = (symbol, down) => [4, down, 0, 0, 0, 0, symbol >> 8, symbol & 255];
            await heard();
            socket.send(new TextEncoder().encode("RFB 003.008\\n"));
            await heard();
            socket.send(new Uint8Array([1]));
            await heard();
            socket.send(new Uint8Array([1]));
            await heard();
            const line = [..."echo no > watched.txt"].map(letter => letter.codePointAt(0)).concat(0xff0d);
            socket.send(new Uint8Array(line.flatMap(symbol => [...key(symbol, 1), ...key(symbol, 0)])));
            socket.send(new Uint8Array([3, 0, 0, 0, 0, 0, 0, 8, 0, 8]));
            await heard();
            socket.close();
            return "pictures still come";
        }"""
    )
    assert forged == "pictures still come"
    typing = desk.look()
    type_line(typing, "echo yes > after.txt")
    until(lambda: desk.written("after.txt") == "yes\n", "what somebody else typed afterwards")
    assert desk.written("watched.txt") == ""


def test_copying_in_the_machine_reaches_the_person(desk: Desk) -> None:
    page = desk.look()
    encoded = "Y29waWVkOiDDvCDigqw="  # copied: ü €
    sequence = rf"printf '\033]52;c;{encoded}\007'; sleep 30"
    desk.user.ok("ssh", "--bg", desk.machine, f'xterm -xrm "xterm*disallowedWindowOps: 20" -e sh -c "{sequence}"')
    until(lambda: page.input_value("#clipboard-text") == "copied: ü €", "what was copied")
    until(lambda: page.inner_text("#toast") == "Copied from the machine", "word of it")
    page.context.grant_permissions(["clipboard-read"])
    assert page.evaluate("navigator.clipboard.readText()") == "copied: ü €"


def test_pasting_needs_no_permission(desk: Desk) -> None:
    page = desk.look()
    desk.terminal()
    copy_in_browser(page, f"{PASTED}\n")
    type_line(page, 'read -r line; echo "$line" > pasted.txt')
    page.keyboard.press("Shift+Insert")
    until(lambda: desk.written("pasted.txt") == f"{PASTED}\n", "what was pasted")


def test_panel_sends_and_types_a_text(desk: Desk) -> None:
    page = desk.look()
    desk.terminal()
    copy_in_browser(page, "something else")
    page.click("#clipboard-tool")
    page.fill("#clipboard-text", "sent from the panel\n")
    page.click("#clipboard-send")
    type_line(page, 'read -r line; echo "$line" > sent.txt')
    page.keyboard.press("Shift+Insert")
    until(lambda: desk.written("sent.txt") == "sent from the panel\n", "what was sent")
    page.click("#clipboard-tool")
    page.fill("#clipboard-text", "echo ÄÖ €  > keys.txt\n")
    page.click("#clipboard-type")
    until(lambda: desk.written("keys.txt") == "ÄÖ €\n", "what was typed key by key")


def test_desktop_takes_the_windows_size_when_asked(desk: Desk) -> None:
    page = desk.look()
    assert desk.size() == (1280, 800)
    page.click("#view-tool")
    page.click("input[value=match]")
    page.set_viewport_size({"width": 1000, "height": 700})
    until(lambda: desk.size() == (1000, 700 - BAR), "the window's size")
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    until(lambda: desk.size() == (WIDTH, HEIGHT - BAR), "the first size again")
    page.click("input[value=fit]")
    page.set_viewport_size({"width": 800, "height": 600})
    until(lambda: shown_width(page) <= 800, "a smaller picture")
    assert desk.size() == (WIDTH, HEIGHT - BAR)
    page.click("input[value=actual]")
    until(lambda: shown_width(page) == WIDTH, "pixel by pixel")


def test_page_comes_back_by_itself_when_the_desktop_was_killed(desk: Desk) -> None:
    page = desk.look()
    page.wait_for_timeout(500)  # until there is a picture to keep
    desk.sh("pkill -9 -x Xtigervnc || pkill -9 -x Xvnc")
    page.wait_for_selector("body:not([data-link=connected])")
    assert page.is_visible("#last")
    assert page.inner_text("#veil-title") == "Reconnecting"
    page.wait_for_selector(CONNECTED, timeout=60_000)
    assert not page.is_visible("#last")
    desk.terminal()
    type_line(page, "echo back > back.txt")
    until(lambda: desk.written("back.txt") == "back\n", "typing after it came back")


def test_page_comes_back_by_itself_when_the_router_was_restarted(desk: Desk) -> None:
    page = desk.look()
    desk.user.ok("server", "stop")
    page.wait_for_selector("body[data-link=waiting]")
    desk.user.ok("ls")  # starts it again
    page.wait_for_selector(CONNECTED, timeout=60_000)


def test_page_recovers_when_one_of_its_files_did_not_arrive(desk: Desk) -> None:
    page = desk.browser.new_context().new_page()
    lost: list[str] = []

    def lose_once(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.request.url)
            route.abort("internetdisconnected")

    page.route("**/novnc/core/display.js", lose_once)
    desk.enter(page)
    page.wait_for_selector(CONNECTED, timeout=30_000)
    assert lost


def test_page_says_when_its_link_was_taken_back(desk: Desk) -> None:
    page = desk.look()
    desk.user.ok("open", desk.machine, "--revoke")
    page.wait_for_selector("body[data-link=ended]", timeout=20_000)
    assert page.inner_text("#veil-title") == "This view has ended"
    assert page.inner_text("#veil-command code") == f"cloudrouter vnc {desk.machine}"


def test_page_says_when_the_machine_stops_and_goes(desk: Desk) -> None:
    other = Desk(desk.user, desk.browser)
    page = other.look()
    other.user.ok("stop", other.machine)
    until(lambda: page.inner_text("#state-text") == "Not running", "word of the stop")
    assert page.inner_text("#veil-command code") == f"cloudrouter resume {other.machine}"
    other.user.ok("delete", other.machine)
    page.wait_for_selector("body[data-link=ended]", timeout=30_000)
    assert page.inner_text("#veil-title").endswith("is gone")
    assert not other.errors
