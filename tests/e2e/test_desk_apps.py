"""A person at desktop, editor and notebooks: from cold, after a crash inside, and after the router was restarted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest
from playwright.sync_api import Browser

from tests.e2e.browsing import chromium
from tests.e2e.conftest import User, until
from tests.e2e.desks import BLUE, GREEN, Desk, Editor, Notebook, Screen

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PLOT = (
    "import matplotlib.pyplot as plt\n"
    "plt.plot([1, 4, 9], color='red', linewidth=9)\n"
    "plt.show()"
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(resident: User) -> Iterator[Browser]:
    """Ends before its user does: Playwright leaves an event loop running as long as it is there."""
    assert resident
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def desk(resident: User, browser: Browser) -> Desk:
    return Desk(resident, browser)


@pytest.fixture(autouse=True)
def _no_pages_left(browser: Browser) -> Iterator[None]:
    yield
    for context in browser.contexts:
        context.close()


# -- from cold --------------------------------------------------------------------------------------------------------


def test_editor_when_opened_from_cold_then_edits_runs_and_shows_what_ssh_does(desk: Desk) -> None:
    desk.user.ok("apps", desk.machine, "stop", "vscode")
    desk.put("edited.txt", "from outside\n")
    editor = Editor(desk)
    assert editor.enter("code") == 503
    assert editor.page.inner_text("h1") == "VS Code is starting"
    editor.open("edited.txt")
    editor.text().get_by_text("from outside").wait_for()
    editor.add("typed-here")
    until(lambda: desk.written("edited.txt") == "from outside\ntyped-here", "what was typed and saved")
    editor.in_terminal("echo by $USER in $PWD > terminal.txt")
    until(lambda: desk.written("terminal.txt") == "by user in /home/user/workspace\n", "the terminal's command")
    desk.put("edited.txt", "changed-by-ssh\n")
    editor.text().get_by_text("changed-by-ssh").wait_for()
    assert desk.apps()["vscode"]["clients"] >= 1


def test_notebook_when_opened_from_cold_then_a_cell_plots_a_picture(desk: Desk) -> None:
    desk.user.ok("apps", desk.machine, "stop", "jupyter")
    notebook = Notebook(desk)
    assert notebook.enter("jupyter") == 503
    assert notebook.page.inner_text("h1") == "JupyterLab is starting"
    notebook.create()
    notebook.run(PLOT)
    picture = notebook.picture()
    assert picture["width"] > 300
    assert picture["height"] > 200
    assert picture["colours"] > 10
    assert picture["red"] > 1000
    notebook.run("open('by-kernel.txt', 'w').write('kernel')")
    until(lambda: desk.sh("find . -name by-kernel.txt -exec cat {} +") == "kernel", "the kernel's file")
    assert notebook.page.locator(".jp-Dialog").count() == 0


def test_desktop_when_opened_from_cold_then_shows_chromium_which_can_be_used(desk: Desk) -> None:
    desk.user.ok("apps", desk.machine, "stop", "desktop")
    screen = Screen(desk)
    screen.enter("vnc")
    screen.connected()
    desk.user.ok("apps", desk.machine, "start", "browser")
    screen.show()
    screen.sees(BLUE)
    screen.click()
    screen.sees(GREEN)


# -- the router -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_pages_when_the_router_is_restarted_then_go_on_without_a_new_ticket(desk: Desk, way: str) -> None:
    desk.put("restart.txt", "before\n")
    desk.put("restart.ipynb", Notebook.NEW)
    editor, notebook, screen = Editor(desk), Notebook(desk), Screen(desk)
    editor.enter("code")
    editor.open("restart.txt")
    notebook.enter("open", "jupyter", "/lab/tree/restart.ipynb?reset")
    notebook.ready()
    notebook.run("kept = 40")
    screen.enter("vnc")
    screen.connected()
    desk.user.ok("apps", desk.machine, "start", "browser")
    screen.show()
    screen.sees(BLUE)
    pids = {name: app["pid"] for name, app in desk.apps().items()}

    restart(desk.user, way)

    screen.connected()
    screen.click()
    screen.sees(GREEN)
    notebook.run("print(kept + 2)")  # JupyterLab connects again within half a minute; the kernel is the same one
    notebook.says("42")
    editor.add("after")
    until(lambda: desk.written("restart.txt") == "before\nafter", "what was typed after the restart")
    assert {name: app["pid"] for name, app in desk.apps().items()} == pids
    for window in (editor, notebook, screen):
        address = window.page.url
        assert "ticket" not in address
        assert window.visit(partial(str, address)) == 200  # loaded anew, by the cookie alone


def restart(user: User, way: str) -> None:
    """End the router, and begin the next one."""
    before = user.json("server", "status")["pid"]
    if way == "stopped":
        user.ok("server", "stop")
    else:
        os.kill(before, signal.SIGKILL)
    user.ok("ls")
    assert user.json("server", "status")["pid"] != before
