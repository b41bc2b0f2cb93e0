"""The launch story: an agent starts a machine from a folder, runs its dev server and closes its loop in the browser,
while a person watches and a film is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.browsing import chromium
from tests.e2e.conftest import ROOT, User, until
from tests.e2e.surfer import BUILD_S, Picture, Surfer

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PAGE = "http://localhost:3000"
TODO = "Water the plants"
CONNECTED = "body[data-link=connected]"


@pytest.fixture
def person(user: User) -> Iterator[Browser]:
    """A person's own Chromium; it ends before the user's router does."""
    assert user
    with chromium() as found:
        yield found


def watch(person: Browser, url: str) -> Page:
    """The person follows a link, and sees the desktop."""
    page = person.new_context(viewport={"width": 1280, "height": 844}).new_page()
    page.goto(url)
    page.wait_for_selector(CONNECTED, timeout=30_000)
    return page


def ref(outline: str, role: str, name: str) -> str:
    """The @ref that an agent reads from a snapshot."""
    found = re.search(rf'{role} "{re.escape(name)}" .*?\bref=(e\d+)', outline)
    assert found, outline
    return f"@{found[1]}"


def test_story_when_told_from_start_to_end_then_each_command_does_its_part(
    user: User, person: Browser, tmp_path: Path
) -> None:
    machine = user.json("start", ROOT / "examples" / "todo-web", "--image", "desktop", timeout=BUILD_S)["id"]
    user.ok("record", machine, "start")
    job = user.ok("ssh", machine, "--bg", "npm ci && npm run dev").out_text.strip()
    watching = watch(person, user.ok("vnc", machine, "--view-only").out_text.strip())
    user.ok("wait", machine, job, "--port", "3000", "--timeout", "300s", timeout=330)

    agent = Surfer(user, machine)
    agent.say("open", PAGE)
    outline = agent.say("snapshot", "-i")
    agent.say("screenshot", tmp_path / "before.png")
    person_before = watching.screenshot(path=tmp_path / "person-before.png")

    agent.say("click", ref(outline, "textbox", "New to-do"))
    agent.say("fill", ref(outline, "textbox", "New to-do"), TODO)
    agent.say("click", ref(outline, "button", "Add"))
    agent.say("wait", "--text", TODO)
    assert agent.say("get-text", "[role=status]") == "1 to-do left"
    agent.say("click", ref(agent.say("snapshot", "-i"), "checkbox", TODO))
    assert agent.say("get-text", "[role=status]") == "All done"
    agent.say("screenshot", tmp_path / "after.png")

    before, after = Picture(tmp_path / "before.png"), Picture(tmp_path / "after.png")
    assert (before.width, before.height) == (after.width, after.height)
    assert changed_rows(before, after) > 20
    until(lambda: watching.screenshot(path=tmp_path / "person-after.png") != person_before, "what the person sees")
    assert user.json("record", machine, "stop", tmp_path / "story.mp4")["bytes"] > 10_000
    assert (tmp_path / "story.mp4").read_bytes()[4:8] == b"ftyp"
    user.ok("delete", machine)


def changed_rows(before: Picture, after: Picture) -> int:
    """How many rows of the page look different."""
    return sum(first != second for first, second in zip(before.rows, after.rows, strict=True))
