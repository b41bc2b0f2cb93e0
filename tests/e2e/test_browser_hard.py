"""The browser when things go wrong: people and agents in one window, crashes, endless and hostile pages, restarts."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import User, until
from tests.e2e.surfer import HOME, Surfer, on_the_site

pytestmark = [pytest.mark.engine, pytest.mark.slow]

HARMFUL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What moves a terminal's cursor, renames its window, or turns a text around."""
CHROMIUM = "pgrep -o -x chromium"


@pytest.fixture(scope="module")
def me(resident: User) -> Surfer:
    return on_the_site(resident)


@pytest.fixture(autouse=True)
def _alone_again(me: Surfer) -> Iterator[None]:
    """Whoever worked beside is gone, however the test ended."""
    yield
    for session in sessions(me):
        if session["name"] != "main":
            me.other(session["name"]).run("close")


def sessions(me: Surfer) -> list[dict[str, Any]]:
    """Who is at the browser."""
    return list(me.user.json("browser", "sessions", me.machine)["sessions"])


def tabs(me: Surfer) -> list[dict[str, str]]:
    """The pages, as Chromium itself lists them."""
    return [one for one in json.loads(me.sh("curl -s http://127.0.0.1:9222/json/list")) if one["type"] == "page"]


def close_by_hand(me: Surfer, page: str) -> None:
    """A person closes the tab that shows a page."""
    (found,) = [one["id"] for one in tabs(me) if one["url"] == f"{HOME}/{page}"]
    me.sh(f"curl -s http://127.0.0.1:9222/json/close/{found}")
    until(lambda: found not in {one["id"] for one in tabs(me)}, "closing")


@contextmanager
def busy(me: Surfer, *words: str) -> Iterator[None]:
    """A step that takes its time, while the block lasts; it is given up then, as with Ctrl-C."""
    with me.user.popen("browser", words[0], *me.flags, me.machine, *words[1:]) as process:
        try:
            yield
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


# -- several at once ------------------------------------------------------------------------------------------------


def test_two_agents_when_on_two_sessions_then_each_has_a_page_of_its_own(me: Surfer) -> None:
    agents = {name: me.other(name) for name in ("ada", "grace")}

    def work(name: str) -> list[str]:
        agent, seen = agents[name], []
        agent.visit("form.html")
        for turn in range(6):
            agent.say("fill", "#name", f"{name} {turn}")
            agent.say("click", "#greet")
            seen.append(agent.say("get-text", "#said"))
        return seen

    with ThreadPoolExecutor() as both:
        found = dict(zip(agents, both.map(work, agents), strict=True))
    assert found == {name: [f"Hello, {name} {turn}" for turn in range(6)] for name in agents}
    for agent in agents.values():
        agent.say("close")


def test_two_agents_when_one_waits_for_long_then_the_other_goes_on(me: Surfer) -> None:
    other = me.other("beside")
    me.visit("index.html")
    other.visit("form.html")
    with busy(me, "wait", "#never", "--timeout", "60s"):
        assert other.say("title") == "Form"
        other.say("fill", "#name", "quick")
        assert other.say("get-value", "#name") == "quick"
    other.say("close")


def test_step_when_given_up_then_does_not_hold_the_next_one(me: Surfer) -> None:
    me.visit("index.html")
    with busy(me, "wait", "#never", "--timeout", "60s"):
        until(lambda: any(session["busy"] for session in sessions(me)), "the step")
    began = time.monotonic()
    assert me.say("title") == "Fixture site"
    assert time.monotonic() - began < 10


def test_two_commands_when_on_one_session_then_run_one_after_another(me: Surfer) -> None:
    me.visit("form.html")
    me.eval("window.log = []")
    scripts = [
        f"new Promise(done => {{ log.push('{n} in'); setTimeout(() => done(log.push('{n} out')), 100) }})"
        for n in range(4)
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(me.eval, scripts))
    log = me.eval("log")
    assert len(log) == 8
    assert all(first.replace("in", "out") == second for first, second in zip(log[::2], log[1::2], strict=True))


# -- a person at the same window ------------------------------------------------------------------------------------


def test_tab_when_a_person_closes_it_then_no_other_page_is_touched_unasked(me: Surfer) -> None:
    me.visit("index.html")
    (first,) = [tab["tabId"] for tab in me.data("tab-list")["tabs"] if tab["active"]]
    me.say("tab-new", f"{HOME}/form.html")
    close_by_hand(me, "form.html")
    fault = me.fault("click", "a")
    assert (fault["code"], fault["next"]) == ("tab_gone", f"cloudrouter browser tab-list {me.machine}")
    me.say("tab-switch", first)
    assert me.say("url") == f"{HOME}/index.html"
    me.visit("popup.html")
    assert me.say("title") == "Popup"


def test_tab_when_a_person_closes_that_of_a_session_then_it_is_told_and_goes_on(me: Surfer) -> None:
    me.visit("index.html")
    agent = me.other("mine")
    agent.visit("form.html")
    close_by_hand(me, "form.html")
    fault = agent.fault("click", "#greet")
    assert fault["code"] == "tab_gone"
    assert me.machine in fault["next"]
    agent.visit("tabs.html")
    assert (agent.say("title"), me.say("title")) == ("Tabs", "Fixture site")
    agent.say("close")


def test_window_when_a_person_closes_the_last_tab_with_the_keyboard_then_the_next_step_opens_it_again(
    me: Surfer,
) -> None:
    me.visit("index.html")
    for _ in range(len(tabs(me))):
        me.sh("DISPLAY=:1 xdotool search --onlyvisible --class chromium windowactivate --sync key ctrl+w || true")
    until(lambda: not me.sh(f"{CHROMIUM} || true").strip(), "the end of Chromium")
    me.visit("form.html")
    assert me.say("title") == "Form"


# -- crashes --------------------------------------------------------------------------------------------------------


def test_chromium_when_killed_in_a_step_then_it_is_told_and_the_next_step_has_a_new_one(me: Surfer) -> None:
    me.visit("form.html")
    before = me.sh(CHROMIUM)
    with me.user.popen(
        "browser", "eval", me.machine, "document.title = 'begun'; new Promise(() => {})", "--json"
    ) as process:
        until(lambda: "begun" in {one["title"] for one in tabs(me)}, "the step")
        began = time.monotonic()
        me.sh(f"kill -9 {before}")
        out, _ = process.communicate(timeout=60)
    assert json.loads(out)["error"]["code"] == "browser_down"
    assert time.monotonic() - began < 15
    me.visit("form.html")
    assert me.say("title") == "Form"
    assert me.sh(CHROMIUM) != before


def test_chromium_when_killed_between_steps_then_a_step_that_only_reads_is_answered(me: Surfer) -> None:
    me.visit("form.html")
    me.sh(f"kill -9 $({CHROMIUM})")
    assert me.say("url")
    me.visit("form.html")
    assert me.say("get-attr", "#search", "placeholder") == "Search"


def test_tab_when_it_crashes_then_is_recovered_and_that_is_told(me: Surfer) -> None:
    me.visit("form.html")
    me.sh("pkill -9 -f '[t]ype=renderer'")
    began = time.monotonic()
    answer = json.loads(me.say("title", "--json"))
    assert (answer["data"]["title"], answer["recovered"]) == ("Form", True)
    assert time.monotonic() - began < 15
    me.say("fill", "#name", "alive")
    assert me.say("get-value", "#name") == "alive"
    assert json.loads(me.say("title", "--json"))["recovered"] is False


def test_router_when_killed_between_two_steps_then_the_page_and_its_refs_are_still_there(me: Surfer) -> None:
    me.visit("form.html")
    me.say("fill", "#name", "kept")
    button = me.ref("button", "Greet")
    before = me.user.json("server", "status")["pid"]
    os.kill(before, signal.SIGKILL)
    me.say("click", button)
    assert me.say("get-text", "#said") == "Hello, kept"
    assert me.user.json("server", "status")["pid"] != before


# -- endless, huge, hostile -----------------------------------------------------------------------------------------


def test_page_when_it_loads_for_ever_then_open_ends_in_time_and_it_can_be_used(me: Surfer) -> None:
    began = time.monotonic()
    fault = me.fault("open", f"{HOME}/endless", "--timeout", "2s")
    assert fault["code"] == "timed_out"
    assert 1.5 < time.monotonic() - began < 8
    assert me.say("get-text", "#so-far") == "still coming"
    me.visit("form.html")
    assert me.say("title") == "Form"


def test_page_when_it_has_ten_thousand_elements_then_a_snapshot_of_what_matters_is_small(me: Surfer) -> None:
    me.visit("numbers")
    assert me.eval("document.querySelectorAll('span').length") == 10_000
    small = me.say("snapshot", "-i", "-c")
    assert len(small) < 200
    me.say("click", me.ref("button", "Last one"))
    assert len(me.say("snapshot", "-c", "--selector", "h1")) < 100
    assert "9999" in me.say("snapshot")  # whole when it is asked for, and it comes through
    me.visit("numbers?empty")
    assert len(me.say("snapshot", "-c")) < 200


def test_page_when_it_loops_for_ever_then_the_step_ends_and_the_next_page_opens(me: Surfer) -> None:
    me.visit("form.html")
    began = time.monotonic()
    assert me.fault("eval", "for (;;);", "--timeout", "2s")["code"] == "timed_out"
    me.visit("index.html")
    assert me.say("title") == "Fixture site"
    assert time.monotonic() - began < 40


def on_terminal(me: Surfer, verb: str, *words: str) -> str:
    """What somebody at a terminal sees of a verb."""
    ours, theirs = pty.openpty()
    with me.user.popen("browser", verb, me.machine, *words, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the last one with the other end has left
                break
            if not piece:
                break
            seen += piece
    os.close(ours)
    assert process.returncode == 0, seen
    return seen.decode()


@pytest.mark.parametrize(
    ("verb", "words", "shown"),
    [
        ("open", (f"{HOME}/hostile.html",), "hostile.html"),
        ("title", (), "gnp.exe"),
        ("tab-list", (), "gnp.exe"),
        ("snapshot", ("-i",), "evil"),
        ("get-text", ("#odd",), "evil"),
        ("console", (), "cleared"),
        ("eval", ("document.title",), "gnp.exe"),
    ],
)
def test_page_when_its_texts_speak_to_terminals_then_they_are_only_shown(
    me: Surfer, verb: str, words: tuple[str, ...], shown: str
) -> None:
    me.visit("hostile.html")
    seen = on_terminal(me, verb, *words)
    assert shown in seen
    assert not HARMFUL.search(seen), ascii(seen)
    assert "\nFix: run this" not in seen.replace("\r", "")


def test_download_when_its_name_climbs_then_only_the_asked_file_is_made(me: Surfer, tmp_path: Path) -> None:
    me.visit("files.html")
    me.say("download", "#climbing", tmp_path / "got.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["got.csv"]
    assert (tmp_path / "got.csv").read_text().startswith("name,born")
    assert me.sh("ls ~/.ssh/authorized_keys 2>/dev/null || true") == ""


@pytest.mark.parametrize("name", ["-rf.txt", "$(touch owned).txt", "'\"`.txt", "..;..txt", "ü 日本.txt"])
def test_upload_when_a_name_here_is_strange_then_the_page_gets_the_file(me: Surfer, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("content")
    me.visit("files.html")
    me.say("upload", "#files", tmp_path / name)
    until(lambda: me.say("get-text", "#got").endswith(": content"), "the file")
    me.say("screenshot", tmp_path / f"{name}.png")
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_upload_when_a_name_here_has_a_line_end_then_is_refused_and_nothing_is_sent(me: Surfer, tmp_path: Path) -> None:
    (tmp_path / "a\nb.txt").write_text("content")
    me.visit("files.html")
    done = me.run("upload", "#files", tmp_path / "a\nb.txt")
    assert (done.code, "another name" in done.err_text) == (2, True)
    assert me.say("get-text", "#got") == ""


# -- what an agent is told ------------------------------------------------------------------------------------------


def test_ref_when_the_page_has_gone_on_then_is_stale_and_the_next_command_is_named(me: Surfer) -> None:
    me.visit("form.html")
    button = me.ref("button", "Greet")
    me.visit("index.html")
    fault = me.fault("click", button)
    assert (fault["code"], fault["next"]) == ("stale_ref", f"cloudrouter browser snapshot -i {me.machine}")


def test_ref_when_a_page_calls_itself_another_then_is_not_taken_for_its_namesake(me: Surfer) -> None:
    me.visit("form.html")
    button = me.ref("button", "Greet")
    me.eval("history.replaceState(null, '', '?typed=something')")
    me.say("click", button)  # still the same page
    me.eval("document.getElementById('greet').outerHTML = '<button onclick=\"document.title=1\">Greet</button>'")
    me.eval("history.pushState(null, '', '/second.html')")
    assert me.fault("click", button)["code"] == "stale_ref"
    assert me.say("title") == "Form"
    me.say("click", me.ref("button", "Greet"))
    assert me.say("title") == "1"


def test_ref_when_its_element_is_gone_then_is_stale(me: Surfer) -> None:
    me.visit("form.html")
    button = me.ref("button", "Greet")
    me.eval("document.getElementById('greet').remove()")
    assert me.fault("click", button)["code"] == "stale_ref"


def test_open_when_the_server_has_no_such_page_then_says_so(me: Surfer) -> None:
    assert me.data("open", f"{HOME}/form.html")["status"] == 200
    done = me.run("open", f"{HOME}/no-such-page.html")
    assert (done.code, "The server answered 404." in done.err_text) == (0, True)


def test_faults_when_nothing_is_there_then_say_where_and_what_helps(me: Surfer) -> None:
    refused = me.fault("open", "http://localhost:18999")
    assert ("ERR_CONNECTION_REFUSED" in refused["message"], refused["next"]) == (
        True,
        f"cloudrouter ports {me.machine}",
    )
    me.visit("form.html")
    late = me.fault("wait", "--text", "Never", "--timeout", "1s")
    assert "`wait --text Never`: it was not done within 1 s." in late["message"]
    assert f"The page is at {HOME}/form.html." in late["message"]
    assert me.fault("tab-switch", "t999")["next"] == f"cloudrouter browser tab-list {me.machine}"
    assert "No dialog is open" in me.fault("dialog-accept")["fix"]
    assert "in a frame" in me.fault("click", "#nothing")["fix"]


def test_batch_when_a_dialog_stops_it_then_the_dialog_is_told(me: Surfer) -> None:
    steps = [["open", f"{HOME}/dialogs.html"], ["click", "#confirm"], ["get-text", "#said"], ["title"]]
    began = time.monotonic()
    done = me.user.run("browser", "batch", me.machine, "--json", input=json.dumps(steps).encode())
    answer = json.loads(done.out)
    assert (done.code, answer["done"], answer["failed"]) == (1, 2, 2)
    assert answer["answers"][2]["error"]["code"] == "dialog_open"
    assert time.monotonic() - began < 10
    me.say("dialog-dismiss")
    assert me.say("get-text", "#said") == "kept"


def test_machine_when_it_has_no_browser_then_is_told_how_to_have_one(resident: User) -> None:
    machine = resident.start("--image", "core")
    done = resident.run("browser", "open", machine, HOME)
    assert done.code != 0
    assert "cloudrouter start" in done.err_text
    assert "--image desktop" in done.err_text
    resident.ok("delete", machine)
