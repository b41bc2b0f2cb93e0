"""Apps that end: killed inside they come back and say so, unused they are stopped, and nothing of them is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.browsing import chromium
from tests.e2e.conftest import User, until
from tests.e2e.desks import BLUE, GREEN, Desk, Editor, Notebook, Screen, Window

pytestmark = [pytest.mark.engine, pytest.mark.slow]


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


# -- killed inside ----------------------------------------------------------------------------------------------------


def test_editor_when_killed_inside_then_says_so_and_works_again(desk: Desk) -> None:
    desk.put("killed.txt", "before\n")
    editor = Editor(desk)
    editor.enter("code")
    editor.open("killed.txt")
    desk.kill("vscode")
    editor.reload_when_told()
    desk.came_back("vscode")
    editor.text().get_by_text("before").wait_for(timeout=60_000)  # the same file is open again
    editor.add("after")
    until(lambda: desk.written("killed.txt") == "before\nafter", "what was typed after it came back")


def test_notebook_when_killed_inside_then_says_so_and_the_next_cell_runs(desk: Desk) -> None:
    desk.put("killed.ipynb", Notebook.NEW)
    notebook = Notebook(desk)
    notebook.enter("open", "jupyter", "/lab/tree/killed.ipynb?reset")
    notebook.ready()
    notebook.run("print(6 * 7)")
    notebook.says("42")
    desk.kill("jupyter")
    notebook.page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=disconnected]", timeout=60_000)
    desk.came_back("jupyter")
    assert notebook.page.locator(".jp-Dialog").count() == 0
    notebook.run("print(6 * 8)")
    notebook.says("48")


def test_desktop_when_killed_inside_then_it_and_its_chromium_come_back_by_themselves(desk: Desk) -> None:
    desk.user.ok("apps", desk.machine, "start", "browser")
    screen = Screen(desk)
    screen.enter("vnc")
    screen.connected()
    screen.show()
    screen.sees(BLUE)
    desk.kill("desktop")
    screen.page.wait_for_selector("#veil-title:text-is('Reconnecting')")
    screen.connected()
    desk.came_back("desktop")
    until(lambda: (one := desk.apps()["browser"])["state"] == "running" and one["restarts"], "Chromium again")
    screen.show()
    screen.sees(BLUE)
    screen.click()
    screen.sees(GREEN)


def test_chromium_when_killed_inside_then_comes_back_on_the_same_desktop(desk: Desk) -> None:
    desk.user.ok("apps", desk.machine, "start", "browser")
    screen = Screen(desk)
    screen.enter("vnc")
    screen.connected()
    screen.show()
    screen.sees(BLUE)
    before = desk.apps()["browser"]["restarts"]
    desk.kill("browser")
    until(lambda: screen.share(BLUE) < 0.1, "an empty desktop")
    until(lambda: (one := desk.apps()["browser"])["state"] == "running" and one["restarts"] > before, "Chromium again")
    screen.show()
    screen.sees(BLUE)
    assert screen.page.locator(screen.CONNECTED).count() == 1


# -- nobody looks -----------------------------------------------------------------------------------------------------

APPS = ("browser", "desktop", "jupyter", "vscode")
IDLE_S = 2


@pytest.fixture
def hasty(desk: Desk) -> Iterator[Desk]:
    """The machine, whose apps are stopped two seconds after somebody has left."""
    folder = "/opt/cloudrouter/apps"
    hurry = f's/"idle_stop_s": .*/"idle_stop_s": {IDLE_S},/'
    desk.sh(f"sudo sed -i.kept '{hurry}' {folder}/*/app.json")
    for app in APPS:
        desk.user.ok("apps", desk.machine, "stop", app)
    yield desk
    desk.sh(f"cd {folder} && for app in *; do sudo mv $app/app.json.kept $app/app.json; done")


def test_apps_when_nobody_looks_then_are_stopped_and_only_the_guest_is_left(hasty: Desk) -> None:
    before = processes(hasty)
    assert all("/opt/cloudrouter/" in line or "docker-init" in line for line in before), before
    restarts = {name: app["restarts"] for name, app in hasty.apps().items()}
    editor, notebook, screen = Editor(hasty), Notebook(hasty), Screen(hasty)
    hasty.put("idle.txt", "idle\n")
    hasty.put("idle.ipynb", Notebook.NEW)
    editor.enter("code")
    editor.open("idle.txt")
    editor.in_terminal("sleep 1000")
    notebook.enter("open", "jupyter", "/lab/tree/idle.ipynb?reset")
    notebook.ready()
    screen.enter("vnc")
    screen.connected()
    hasty.user.ok("apps", hasty.machine, "start", "browser")
    screen.show()
    screen.sees(BLUE)
    # They are looked at, so they stay, longer than two looks of the guest's for idle ones.
    until(lambda: all(app["uptime_s"] > 12 for app in hasty.apps().values()), "a while in which they run")
    assert {name: app["restarts"] for name, app in hasty.apps().items()} == restarts
    for window in (editor, notebook, screen):
        window.page.context.close()
    until(lambda: all(app["state"] == "off" for app in hasty.apps().values()), "the end of all apps")
    assert {app["reason"] for app in hasty.apps().values()} == {f"It was stopped: nobody used it for {IDLE_S} s."}
    assert processes(hasty) == before


def processes(desk: Desk) -> list[str]:
    """The command lines of all that runs in the machine, but for the one that asks."""
    return sorted(line for line in desk.sh("ps -eo args --no-headers").splitlines() if not line.startswith("ps -eo"))


@pytest.mark.parametrize(
    ("app", "heading", "inside"),
    [
        ("vscode", "VS Code is starting", ".monaco-workbench"),
        ("jupyter", "JupyterLab is starting", "#jp-main-dock-panel"),
    ],
)
def test_an_app_when_it_was_stopped_for_idleness_then_is_started_by_the_next_look(
    hasty: Desk, app: str, heading: str, inside: str
) -> None:
    window = Window(hasty)
    window.enter("open", app)
    window.see(inside)
    own = window.page.url
    window.page.goto("about:blank")
    until(lambda: hasty.apps()[app]["state"] == "off", "the end of the app")
    assert window.visit(lambda: own) == 503
    assert window.page.inner_text("h1") == heading
    window.see(inside)
    assert hasty.apps()[app]["state"] == "running"


def test_an_app_when_it_cannot_run_then_its_page_says_why_and_opens_once_it_can(desk: Desk) -> None:
    desk.user.ok("apps", desk.machine, "stop", "vscode")
    desk.sh(
        "cd /opt/cloudrouter/apps/vscode && sudo mv run run.kept && printf '#!/bin/sh\\necho no disk left; exit 3\\n'"
        " | sudo tee run >/dev/null && sudo chmod +x run"
    )
    window = Window(desk)
    window.enter("code")
    window.see("h1:text-is('VS Code could not be reached')")
    report = window.page.inner_text(".report")
    assert "It ended with exit code 3 before it answered. Its last output: no disk left\nIt is tried again in" in report
    desk.sh("sudo mv /opt/cloudrouter/apps/vscode/run.kept /opt/cloudrouter/apps/vscode/run")
    window.see(".monaco-workbench", 90)
