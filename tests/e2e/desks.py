"""A person at a machine's editor, notebooks and screen, in a real Chromium: each does what people do there."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Locator, Request
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.e2e.conftest import User, until

WIDTH, HEIGHT = 1280, 844
IMAGE_S = 1800
USABLE_S = 45.0
DROPPED = "ERR_NETWORK_CHANGED"
AT_LEAST = 0.4
"""This much of a screen is a page's colour when the page is shown on it."""


class Desk:
    """A machine with all apps, and the browser of somebody who looks at them."""

    def __init__(self, user: User, browser: Browser) -> None:
        self.user = user
        self.browser = browser
        # While the router is restarted, another one on this host may take the port that everybody's begin with.
        with socket.create_server(("127.0.0.1", 0)) as free:
            user.env["CLOUDROUTER_GATEWAY_PORT"] = str(free.getsockname()[1])
        user.ok("server", "stop")
        user.ok("image", "build", "full", timeout=IMAGE_S)
        self.machine = user.start("--image", "full")

    def sh(self, line: str) -> str:
        """Run a line in the machine."""
        return self.user.ok("ssh", self.machine, line).out_text

    def put(self, name: str, text: str) -> None:
        """Write a file of the workspace."""
        self.user.ok("ssh", self.machine, f"cat > {name}", input=text.encode())

    def written(self, name: str) -> str:
        """What a file of the workspace holds, empty when it is not there."""
        return self.sh(f"cat {name} 2>/dev/null || true")

    def apps(self) -> dict[str, dict[str, Any]]:
        """All apps, as `apps` tells them."""
        return {app["name"]: app for app in self.user.json("apps", self.machine)["apps"]}

    def kill(self, app: str) -> None:
        """End all processes of an app at once, as a crash does, without the supervisor's knowledge."""
        mark = f"CLOUDROUTER_APP=.*/{app}$"
        line = (
            "for one in /proc/[0-9]*; do tr '\\0' '\\n' 2>/dev/null <$one/environ |"
            f" grep -q '{mark}' && [ $(stat -c %U $one) = user ] && echo ${{one#/proc/}}; done | xargs kill -9 || true"
        )
        assert self.apps()[app]["state"] == "running"
        self.sh(line)

    def came_back(self, app: str) -> dict[str, Any]:
        """The app once it runs again after it was killed, with the reason."""
        state: dict[str, Any] = until(
            lambda: (one := self.apps()[app])["state"] == "running" and one["restarts"] and one,
            f"a restart of {app}",
        )
        assert state["reason"].startswith("It was started again after this: It ended by the signal KILL.")
        return state


class Window:
    """A page of a browser in which nobody was let in yet.

    Chromium drops what is under way when a network interface of the host comes or goes, as they do with machines. Who
    sees a page that came only in part loads it again.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.page = desk.browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
        self._dropped: list[str] = []
        self.page.on("requestfailed", self._note)

    def enter(self, *words: str) -> int:
        """Open the address that a verb prints; the status of what is seen first."""
        return self.visit(lambda: self.desk.user.ok(words[0], self.desk.machine, *words[1:]).out_text.strip())

    def visit(self, address: Callable[[], str]) -> int:
        """Go to an address; the answer's status."""
        while True:
            self._dropped.clear()
            try:
                answer = self.page.goto(address())
            except PlaywrightError as error:
                if DROPPED not in error.message:
                    raise
            else:
                assert answer is not None
                return answer.status

    def see(self, selector: str, seconds: float = USABLE_S) -> None:
        """Wait until something is to be seen."""
        while True:
            try:
                self.page.wait_for_selector(selector, timeout=seconds * 1000)
            except PlaywrightTimeoutError:
                if not self._dropped:
                    raise
                self._dropped.clear()
                self.page.reload()
            else:
                return

    def _note(self, request: Request) -> None:
        if DROPPED in (request.failure or ""):
            self._dropped.append(request.url)


class Editor(Window):
    """VS Code on the workspace."""

    def open(self, name: str) -> None:
        """Show a file by its name, as ctrl-p does."""
        self.see(f".monaco-list-row:has-text('{name}')")
        self.page.keyboard.press("Control+p")
        self.page.wait_for_selector(".quick-input-widget input")
        self.page.keyboard.type(name)
        self.page.wait_for_selector(f".quick-input-list .monaco-list-row:has-text('{name}')")
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(f".tab.active:has-text('{name}')")

    def text(self) -> Locator:
        """What is shown of the file."""
        return self.page.locator(".editor-instance .view-lines")

    def add(self, word: str) -> None:
        """Write at the end, and save."""
        self.text().click()
        self.page.keyboard.press("Control+End")
        self.page.keyboard.type(word)
        self.page.keyboard.press("Control+s")

    def in_terminal(self, line: str) -> None:
        """Type a line into the editor's terminal."""
        self.page.keyboard.press("Control+Backquote")
        # A click and not the key's own focus: an editor that is still loading takes that back.
        self.page.locator(".terminal-wrapper.active .xterm-screen").click(timeout=USABLE_S * 1000)
        self.page.wait_for_selector(".terminal-wrapper.active .xterm-helper-textarea:focus")
        self.page.keyboard.type(f"{line}\n")

    def reload_when_told(self) -> None:
        """Wait until the editor says that it lost its other half, and do what it asks for."""
        self.page.wait_for_selector(".monaco-dialog-box:has-text('reload the window')", timeout=USABLE_S * 1000)
        self.page.click(".monaco-dialog-box .monaco-button:has-text('Reload Window')")


NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "execution_count": None, "id": "one", "metadata": {}, "outputs": [], "source": ""},
    ],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


class Notebook(Window):
    """JupyterLab with one notebook."""

    NEW = json.dumps(NOTEBOOK)

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        told = self.page.locator(".jp-Dialog[aria-label^='Server Connection Error']")
        # It says that it will try again, and stands in the way of clicks until it was read.
        self.page.add_locator_handler(told, lambda dialog: dialog.locator(".jp-Dialog-footer button").last.click())

    def create(self) -> None:
        """Make one, by the launcher."""
        card = ".jp-LauncherCard[data-category='Notebook']"
        self.see(card)
        self.page.click(card)
        self.ready()

    def ready(self) -> None:
        """Wait until its kernel waits for something to do; JupyterLab drops what is run earlier."""
        self.see("#jp-main-statusbar .jp-StatusBar-TextItem:text-is('Python 3 | Idle')")

    def run(self, code: str) -> None:
        """Write it into the first cell, in place of what is there, and run it."""
        cell = self.page.locator(".jp-NotebookPanel:visible .jp-CodeCell .cm-content").first
        cell.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(code)
        self.page.keyboard.press("Control+Enter")

    def says(self, text: str) -> None:
        """Wait for an output."""
        where = f".jp-NotebookPanel:visible .jp-OutputArea-output:has-text('{text}')"
        self.page.wait_for_selector(where, timeout=USABLE_S * 1000)

    def picture(self) -> dict[str, int]:
        """Width, height, colours, and how many pixels are quite red, of the picture below the cell."""
        shown = self.page.locator(".jp-NotebookPanel:visible .jp-OutputArea-output img[src^='data:image/png']")
        shown.wait_for(timeout=USABLE_S * 1000)
        return dict(
            shown.evaluate(
                """async (image) => {
                    await image.decode();
                    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
                    const pen = canvas.getContext("2d");
                    pen.drawImage(image, 0, 0);
                    const { data, width, height } = pen.getImageData(0, 0, canvas.width, canvas.height);
                    const pixels = new Uint32Array(data.buffer), red = [...pixels].filter(one => one === 0xff0000ff);
                    return { width, height, colours: new Set(pixels).size, red: red.length };
                }"""
            )
        )


PAGE = """<!doctype html><title>coloured</title><style>html { background: #1e90ff }</style>
<script>onclick = () => { document.documentElement.style.background = "#2e8b57" }</script>"""
BLUE, GREEN = (0x1E, 0x90, 0xFF), (0x2E, 0x8B, 0x57)


class Screen(Window):
    """The desktop page, on which Chromium shows a page that is blue, and green once it was clicked."""

    CONNECTED = "body[data-link=connected]"

    def show(self) -> None:
        """Open the page in the machine's Chromium."""
        self.desk.put("coloured.html", PAGE)
        self.desk.sh("/opt/cloudrouter/apps/browser/open file://$PWD/coloured.html")

    def connected(self) -> None:
        """Wait until there is a picture."""
        self.see(self.CONNECTED)

    def share(self, colour: tuple[int, int, int]) -> float:
        """How much of the canvas has a colour, or nearly: pictures may come as JPEG."""
        return float(
            self.page.evaluate(
                """([red, green, blue]) => {
                    const canvas = document.querySelector("#screen canvas"), { width, height } = canvas;
                    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                    let found = 0;
                    for (let at = 0; at < data.length; at += 4)
                        found += Math.abs(data[at] - red) + Math.abs(data[at + 1] - green)
                            + Math.abs(data[at + 2] - blue) < 12;
                    return found / width / height;
                }""",
                list(colour),
            )
        )

    def sees(self, colour: tuple[int, int, int]) -> None:
        """Wait until the page's colour is over most of the screen."""
        until(lambda: self.share(colour) > AT_LEAST, f"the colour {colour} on the screen")

    def click(self) -> None:
        """Click into the middle."""
        self.page.mouse.click(WIDTH / 2, HEIGHT / 2)
