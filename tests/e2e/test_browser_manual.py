"""The manual of `cloudrouter browser`: each verb once, on a page of a small site, with what comes of it.

One machine, one window, from top to bottom as `browser help` lists them. `me.say` is what the verb prints, `me.data`
what it gives with `--json`.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import select
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudrouter import Client
from cloudrouter.wire.browsing import STEPS
from tests.e2e.browsing import chromium
from tests.e2e.conftest import User, until
from tests.e2e.surfer import HOME, Picture, Surfer, on_the_site

pytestmark = [pytest.mark.engine, pytest.mark.slow]

ORIGINAL = """
    snapshot open back forward reload close click dblclick type fill press keydown keyup hover focus select check
    uncheck scroll scrollintoview drag upload url title get-text get-html get-value get-attr get-count get-box
    is-visible is-enabled is-checked screenshot pdf highlight wait eval mouse-move mouse-down mouse-up mouse-wheel
    dialog-accept dialog-dismiss set-viewport set-device set-media set-geo set-offline set-headers set-credentials
    tab-list tab-new tab-switch tab-close frame cookies cookies-set cookies-clear storage-local storage-local-set
    storage-local-clear storage-session storage-session-set storage-session-clear network-requests network-route
    network-unroute console errors trace-start trace-stop state-save state-load find
""".split()  # noqa: SIM905 - in the groups of the original
SPECIAL = ["batch", "cdp", "sessions", "watch", "help", "close"]


@pytest.fixture(scope="module")
def me(resident: User) -> Surfer:
    return on_the_site(resident)


@pytest.fixture
def _no_dialog_left(me: Surfer) -> Iterator[None]:
    """A failure with a dialog open is not the failure of all that comes after it."""
    yield
    me.run("dialog-dismiss")


def text(me: Surfer, selector: str = "#said") -> str:
    return me.say("get-text", selector)


# -- Navigate -------------------------------------------------------------------------------------------------------


def test_open_when_nothing_runs_then_starts_the_browser_and_is_at_the_page(me: Surfer) -> None:
    assert me.data("open", HOME)["title"] == "Fixture site"
    assert me.say("title") == "Fixture site"


def test_back_and_forward_when_there_is_a_past_then_go_through_it(me: Surfer) -> None:
    me.visit("index.html")
    me.visit("form.html")
    me.say("back")
    assert me.say("url") == f"{HOME}/index.html"
    me.say("forward")
    assert me.say("url") == f"{HOME}/form.html"


def test_reload_when_the_page_was_changed_then_it_is_as_before(me: Surfer) -> None:
    me.visit("form.html")
    me.eval("document.title = 'Scribbled over'")
    me.say("reload")
    assert me.say("title") == "Form"


def test_pushstate_when_in_an_app_then_the_address_changes_and_the_page_stays(me: Surfer) -> None:
    me.visit("index.html")
    me.eval("window.kept = 'yes'")
    me.say("pushstate", "/inner/place")
    assert me.say("url") == f"{HOME}/inner/place"
    assert me.eval("window.kept") == "yes"


# -- Act ------------------------------------------------------------------------------------------------------------


def test_click_when_given_a_ref_of_the_snapshot_then_presses_that_element(me: Surfer) -> None:
    me.visit("form.html")
    me.say("click", me.ref("button", "Greet"))
    assert text(me) == "Hello, nobody"


def test_click_when_a_new_tab_is_wanted_then_the_link_opens_there(me: Surfer) -> None:
    me.visit("tabs.html")
    me.say("click", "#same", "--new-tab")
    assert me.say("url") == f"{HOME}/form.html"
    me.say("tab-close")
    assert me.say("url") == f"{HOME}/tabs.html"


def test_dblclick_when_done_then_the_page_hears_a_double_click(me: Surfer) -> None:
    me.visit("form.html")
    me.say("dblclick", "#twice")
    assert text(me) == "twice"


def test_type_when_the_field_has_a_text_then_adds_to_it(me: Surfer) -> None:
    me.visit("form.html")
    me.say("fill", "#name", "Ada")
    me.say("type", "#name", " Lovelace")
    assert me.say("get-value", "#name") == "Ada Lovelace"


def test_fill_when_the_field_has_a_text_then_replaces_it(me: Surfer) -> None:
    me.visit("form.html")
    assert me.say("get-value", "#search") == "old"
    me.say("fill", "#search", "--", "--json -5 'ü'")
    assert me.say("get-value", "#search") == "--json -5 'ü'"


def test_fill_when_given_what_is_no_field_then_is_refused_and_nothing_is_typed(me: Surfer) -> None:
    me.visit("form.html")
    me.say("focus", "#name")
    assert me.fault("fill", "#greet", "lost")["code"] == "not_a_field"
    assert me.say("get-value", "#name") == ""


def test_press_when_a_key_is_named_then_the_page_hears_it(me: Surfer) -> None:
    me.visit("form.html")
    me.say("press", "Enter")
    me.say("press", "Control+a")
    assert text(me, "#pressed") == "+Enter -Enter +a -a"


def test_keydown_and_keyup_when_a_key_is_held_then_it_is_down_until_it_is_let_go(me: Surfer) -> None:
    me.visit("form.html")
    me.say("keydown", "Shift")
    assert text(me, "#pressed") == "+Shift"
    me.say("keyup", "Shift")
    assert text(me, "#pressed") == "+Shift -Shift"


COUNT_INPUTS = "window.inputs = 0; document.querySelector('#name').addEventListener('input', () => inputs++); 0"


def test_keyboard_type_when_a_field_has_the_focus_then_types_letter_by_letter(me: Surfer) -> None:
    me.visit("form.html")
    me.eval(COUNT_INPUTS)
    me.say("focus", "#name")
    me.say("keyboard-type", "abc")
    assert (me.say("get-value", "#name"), me.eval("inputs")) == ("abc", 3)


def test_keyboard_insert_when_a_field_has_the_focus_then_the_text_comes_at_once(me: Surfer) -> None:
    me.visit("form.html")
    me.eval(COUNT_INPUTS)
    me.say("focus", "#name")
    me.say("keyboard-insert", "Zoë 日本")
    assert (me.say("get-value", "#name"), me.eval("inputs")) == ("Zoë 日本", 1)


def test_hover_when_over_an_element_then_the_mouse_has_entered_it(me: Surfer) -> None:
    me.visit("form.html")
    me.say("hover", "#hot")
    assert text(me) == "hovered"


def test_focus_when_given_a_field_then_it_has_the_focus(me: Surfer) -> None:
    me.visit("form.html")
    me.say("focus", "#search")
    assert text(me) == "looking for something"


def test_select_when_given_a_value_or_a_text_then_it_is_chosen(me: Surfer) -> None:
    me.visit("form.html")
    me.say("select", "#colour", "g")
    assert me.say("get-value", "#colour") == "g"
    me.say("select", "#colour", "Blue")
    assert me.say("get-value", "#colour") == "b"
    me.say("select", "#toppings", "cheese", "onions")
    assert me.eval("[...document.querySelector('#toppings').selectedOptions].map(one => one.value)") == [
        "cheese", "onions",
    ]  # fmt: skip


def test_check_and_uncheck_when_given_a_box_then_it_is_ticked_or_not(me: Surfer) -> None:
    me.visit("form.html")
    me.say("check", "#terms")
    me.say("uncheck", "#news")
    assert (me.say("is-checked", "#terms"), me.say("is-checked", "#news")) == ("true", "false")
    assert me.fault("check", "h1")["code"] == "not_a_field"
    assert me.fault("uncheck", me.ref("heading", "Sign up"))["code"] == "not_a_field"


def test_scroll_when_given_pixels_then_the_page_or_the_element_moves_by_them(me: Surfer) -> None:
    me.visit("pointer.html")
    me.say("scroll", "down", "500")
    me.say("scroll", "up", "120")
    assert me.eval("scrollY") == 380
    me.say("scroll", "right", "50", "--selector", "#box")
    assert me.eval("document.querySelector('#box').scrollLeft") == 50


def test_scrollintoview_when_an_element_is_far_below_then_it_is_seen(me: Surfer) -> None:
    me.visit("pointer.html")
    assert me.eval("document.querySelector('#tall').getBoundingClientRect().top > innerHeight")
    me.say("scrollintoview", "#tall")
    assert me.eval("document.querySelector('#tall').getBoundingClientRect().bottom <= innerHeight")


def test_drag_when_onto_another_element_then_it_is_dropped_there(me: Surfer) -> None:
    me.visit("pointer.html")
    me.say("drag", "#card", "#tray")
    assert text(me, "#heard") == "dropped card"


def test_upload_when_given_files_of_this_host_then_the_page_reads_them(me: Surfer, tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("one")
    (tmp_path / "ü.txt").write_text("two")
    me.visit("files.html")
    me.say("upload", "#files", tmp_path / "a b.txt", tmp_path / "ü.txt")
    assert text(me, "#got").split("\n") == ["a b.txt: one", "ü.txt: two"]


def test_upload_when_the_file_is_not_there_then_the_page_hears_nothing(me: Surfer, tmp_path: Path) -> None:
    me.visit("files.html")
    assert me.run("upload", "#files", tmp_path / "missing").code != 0
    assert (text(me, "#got"), me.say("title")) == ("", "Files")


def test_download_when_a_link_is_clicked_then_the_file_is_on_this_host(me: Surfer, tmp_path: Path) -> None:
    me.visit("files.html")
    me.say("download", "#report", tmp_path / "report.csv")
    assert (tmp_path / "report.csv").read_text() == "name,born\nAda,1815\nGrace,1906\n"


def test_mouse_when_moved_pressed_and_let_go_then_the_page_hears_where_and_which_button(me: Surfer) -> None:
    me.visit("pointer.html")
    me.say("mouse-move", "150", "160")
    assert text(me, "#heard") == "moved 150 160"
    me.say("mouse-down", "right")
    assert text(me, "#heard") == "down 2"
    me.say("mouse-up", "right")
    assert text(me, "#heard") == "up 2"


def test_mouse_wheel_when_turned_back_then_takes_a_negative_number(me: Surfer) -> None:
    me.visit("pointer.html")
    me.say("mouse-move", "150", "160")
    me.say("mouse-wheel", "-40", "3")
    until(lambda: text(me, "#heard") == "wheel -40 3", "the wheel")


def test_clipboard_when_written_then_is_read_again(me: Surfer) -> None:
    me.visit("form.html")
    me.say("clipboard-write", "copied: ü €")
    assert me.say("clipboard-read") == "copied: ü €"


# -- Look -----------------------------------------------------------------------------------------------------------


def test_snapshot_when_interactive_then_only_what_can_be_acted_on_is_listed(me: Surfer) -> None:
    me.visit("form.html")
    outline = me.say("snapshot", "-i")
    assert re.search(r'textbox "Name" \[ref=e\d+\]', outline)
    assert re.search(r'checkbox "Send me news" \[checked=true, ref=e\d+\]', outline)
    assert "first row" not in outline
    assert "first row" in me.say("snapshot")


def test_snapshot_when_its_flags_are_given_then_says_less_or_more(me: Surfer) -> None:
    me.visit("form.html")
    whole = me.say("snapshot")
    assert len(me.say("snapshot", "--compact")) < len(whole)
    me.visit("index.html")
    assert "Form" not in me.say("snapshot", "--depth", "1")
    assert f"url={HOME}/form.html" in me.say("snapshot", "--urls")
    part = me.say("snapshot", "--selector", "ul")
    assert "Form" in part
    assert "Fixture site" not in part


def test_screenshot_when_of_the_whole_page_then_is_taller_than_the_window(me: Surfer, tmp_path: Path) -> None:
    me.visit("tall.html")
    me.say("screenshot", tmp_path / "seen.png")
    me.say("screenshot", "--full", tmp_path / "whole.png")
    seen, whole = Picture(tmp_path / "seen.png"), Picture(tmp_path / "whole.png")
    assert seen.height == me.eval("innerHeight") < 1000
    assert whole.height == 3000
    assert seen.colour(300, seen.height - 20) == (200, 60, 60)
    assert whole.colour(300, 2980) == (60, 60, 200)


def test_screenshot_when_no_file_is_given_then_prints_base64(me: Surfer) -> None:
    me.visit("form.html")
    picture = base64.b64decode(me.say("screenshot"), validate=True)
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height) == (me.eval("innerWidth"), me.eval("innerHeight"))


def test_screenshot_when_its_flags_are_given_then_is_another_picture(me: Surfer, tmp_path: Path) -> None:
    me.visit("form.html")
    me.say("screenshot", tmp_path / "plain.png")
    me.say("screenshot", "--annotate", tmp_path / "numbered.png")
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "numbered.png").read_bytes()
    me.say("screenshot", "--selector", "#logo", tmp_path / "logo.png")
    assert (Picture(tmp_path / "logo.png").width, Picture(tmp_path / "logo.png").height) == (20, 20)
    me.say("screenshot", "--format", "jpeg", "--quality", "90", tmp_path / "fine.jpg")
    me.say("screenshot", "--format", "jpeg", "--quality", "5", tmp_path / "coarse.jpg")
    assert (tmp_path / "fine.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    assert (tmp_path / "coarse.jpg").stat().st_size < (tmp_path / "fine.jpg").stat().st_size


def test_pdf_when_saved_then_has_the_page_and_a_whole_table_of_contents(me: Surfer, tmp_path: Path) -> None:
    me.visit("tall.html")
    me.say("pdf", tmp_path / "page.pdf")
    data = (tmp_path / "page.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    found = re.search(rb"startxref\s+(\d+)\s+%%EOF\s*$", data)
    assert found
    assert data[int(found[1]) :].startswith(b"xref")
    pages = re.search(rb"/Type\s*/Pages\s*/Count (\d+)", data)
    assert pages
    assert int(pages[1]) >= 3


def test_read_when_asked_then_is_the_text_without_markup(me: Surfer) -> None:
    me.visit("index.html")
    assert "Pages for" in me.say("read")
    assert "<em>" not in me.say("read")
    me.visit("form.html")
    assert "Sign up" in me.say("read")
    assert "hidden text" not in me.say("read")


def test_url_and_title_when_asked_then_are_the_pages(me: Surfer) -> None:
    me.visit("form.html")
    assert (me.say("url"), me.say("title")) == (f"{HOME}/form.html", "Form")


def test_get_when_given_an_element_then_says_what_is_in_it(me: Surfer) -> None:
    me.visit("index.html")
    assert me.say("get-text", "#intro") == "Pages for one thing each."
    assert me.say("get-html", "#intro") == "Pages for <em>one</em> thing each."
    assert me.say("get-attr", "a", "href") == "/form.html"
    assert me.say("get-count", "li") == "3"
    me.visit("form.html")
    assert me.say("get-value", "#search") == "old"


def test_get_box_and_styles_when_given_an_element_then_say_how_it_is_drawn(me: Surfer) -> None:
    me.visit("pointer.html")
    box = me.data("get-box", "#pad")
    assert [box[key] for key in ("x", "y", "width", "height")] == [100, 100, 200, 100]
    me.visit("form.html")
    assert me.data("get-styles", "#greet")["styles"]["color"] == "rgb(10, 20, 30)"


def test_is_when_given_an_element_then_says_true_or_false(me: Surfer) -> None:
    me.visit("form.html")
    assert (me.say("is-visible", "#greet"), me.say("is-visible", "#secret")) == ("true", "false")
    assert (me.say("is-enabled", "#greet"), me.say("is-enabled", "#off")) == ("true", "false")
    assert (me.say("is-checked", "#news"), me.say("is-checked", "#terms")) == ("true", "false")


def test_highlight_when_given_an_element_then_draws_a_frame_around_it(me: Surfer) -> None:
    me.visit("form.html")
    assert me.data("get-styles", "#greet")["styles"]["outline-style"] == "none"
    me.say("highlight", "#greet")
    assert me.data("get-styles", "#greet")["styles"]["outline-style"] == "solid"


# -- Find -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("role", "button", "click", "--name", "Greet"), "Hello, nobody"),
        (("text", "Greet", "click"), "Hello, nobody"),
        (("placeholder", "Search", "click"), "looking for something"),
        (("alt", "A small logo", "click"), "logo"),
        (("testid", "greet-button", "click"), "Hello, nobody"),
        (("first", "#rows li", "click"), "first row"),
        (("last", "#rows li", "click"), "third row"),
        (("nth", "1", "#rows li", "click"), "second row"),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else "",
)
def test_find_when_an_element_fits_then_acts_on_it(me: Surfer, words: tuple[str, ...], said: str) -> None:
    me.visit("form.html")
    me.say("find", *words)
    assert text(me) == said


def test_find_when_by_label_or_title_then_fills_the_field(me: Surfer) -> None:
    me.visit("form.html")
    me.say("find", "label", "Name", "fill", "Grace")
    assert me.say("get-value", "#name") == "Grace"
    me.say("find", "title", "Your whole name", "fill", "Grace Hopper")
    assert me.say("get-value", "#name") == "Grace Hopper"


def test_find_when_exact_then_a_part_of_the_text_does_not_fit(me: Surfer) -> None:
    me.visit("form.html")
    me.say("find", "text", "Click me", "click")
    assert me.run("find", "text", "Click me", "click", "--exact").code == 1


# -- Wait and script ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("#ready",),
        ("--text", "Everything is here"),
        ("--url", "**/later.html?ready"),
        ("--fn", "window.ready === true"),
        ("#loading", "--state", "hidden"),
        ("900",),
    ],
    ids=["selector", "text", "url", "fn", "state", "ms"],
)
def test_wait_when_the_page_needs_time_then_returns_once_it_is_ready(me: Surfer, words: tuple[str, ...]) -> None:
    me.visit("later.html")
    assert me.eval("window.ready ?? 'not yet'") == "not yet"
    me.say("wait", *words)
    assert me.eval("window.ready") is True


def test_wait_when_for_the_network_then_the_page_is_loaded(me: Surfer) -> None:
    me.visit("network.html")
    me.say("wait", "--load", "networkidle")
    assert me.eval("document.readyState") == "complete"


def test_wait_when_it_never_comes_then_ends_at_the_timeout(me: Surfer) -> None:
    me.visit("form.html")
    fault = me.fault("wait", "#never", "--timeout", "1s")
    assert fault["code"] in {"timed_out", "step_failed"}


def test_eval_when_given_a_script_then_prints_what_it_gives(me: Surfer) -> None:
    me.visit("form.html")
    assert me.say("eval", "6 * 7") == "42"
    assert me.eval("({title: document.title, list: [1, null]})") == {"title": "Form", "list": [1, None]}


# -- Tabs, frames, dialogs ------------------------------------------------------------------------------------------


def tabs(me: Surfer) -> dict[str, dict[str, Any]]:
    return {tab["tabId"]: tab for tab in me.data("tab-list")["tabs"]}


def test_tabs_when_new_switched_and_closed_then_the_list_follows(me: Surfer) -> None:
    me.visit("index.html")
    (first,) = [key for key, tab in tabs(me).items() if tab["active"]]
    second = me.data("tab-new", f"{HOME}/popup.html", "--label", "side")["tabId"]
    assert tabs(me)[second]["label"] == "side"
    assert (tabs(me)[second]["active"], tabs(me)[first]["active"]) == (True, False)
    me.say("tab-switch", first)
    assert me.say("url") == f"{HOME}/index.html"
    me.say("tab-switch", "side")
    assert me.say("url") == f"{HOME}/popup.html"
    me.say("tab-close")
    assert second not in tabs(me)
    assert me.say("url") == f"{HOME}/index.html"


def test_tabs_when_a_page_opens_one_then_it_is_the_one_in_front(me: Surfer) -> None:
    me.visit("tabs.html")
    me.say("click", "#popup")
    until(lambda: me.say("title") == "Popup", "the popup")
    me.say("tab-close")
    me.say("click", "#new")
    until(lambda: me.say("title") == "Form", "the new tab")
    me.say("tab-close")
    assert me.say("title") == "Tabs"


def test_window_new_when_asked_then_is_one_more_page(me: Surfer) -> None:
    me.visit("index.html")
    made = me.data("window-new")["tabId"]
    assert tabs(me)[made]["active"] is True
    me.say("tab-close", made)
    assert made not in tabs(me)


def test_frame_when_entered_then_selectors_speak_of_it_until_main(me: Surfer) -> None:
    me.visit("frames.html")
    assert text(me, "#where") == "outside"
    me.say("frame", "#inner")
    assert text(me, "#where") == "inside"
    me.say("click", "button")
    assert text(me, "#where") == "pressed inside"
    me.say("frame", "main")
    assert text(me, "#where") == "outside"
    me.say("frame", "#inner")
    me.say("frame")
    assert text(me, "#where") == "outside"


@pytest.mark.usefixtures("_no_dialog_left")
def test_dialog_when_a_confirm_opens_then_is_told_at_once_with_what_answers_it(me: Surfer) -> None:
    me.visit("dialogs.html")
    done = me.run("click", "#confirm")
    assert (done.code, "Delete everything?" in done.err_text) == (0, True)
    assert f"cloudrouter browser dialog-accept {me.machine}" in done.err_text
    assert me.data("dialog-status")["message"] == "Delete everything?"
    blocked = me.fault("title")
    assert (blocked["code"], "dialog-accept" in blocked["next"]) == ("dialog_open", True)
    me.say("dialog-accept")
    assert text(me) == "deleted"


@pytest.mark.usefixtures("_no_dialog_left")
def test_dialog_accept_when_it_asks_for_a_text_then_answers_with_it(me: Surfer) -> None:
    me.visit("dialogs.html")
    me.say("click", "#prompt")
    me.say("dialog-accept", "a box")
    assert text(me) == "called a box"


@pytest.mark.usefixtures("_no_dialog_left")
def test_dialog_dismiss_when_one_is_open_then_says_no(me: Surfer) -> None:
    me.visit("dialogs.html")
    me.say("click", "#confirm")
    me.say("dialog-dismiss")
    assert text(me) == "kept"


@pytest.mark.usefixtures("_no_dialog_left")
def test_dialog_when_it_is_an_alert_then_does_not_stand_in_the_way(me: Surfer) -> None:
    me.visit("dialogs.html")
    me.say("click", "#alert")
    assert text(me) == "alerted"


# -- Settings -------------------------------------------------------------------------------------------------------


def window(me: Surfer) -> str:
    """Where the person's window is and how large."""
    line = "DISPLAY=:1 xdotool search --onlyvisible --class chromium getwindowgeometry"
    found = re.search(r"Geometry: (\d+x\d+)", me.sh(line))
    assert found
    return found[1]


def test_set_viewport_when_smaller_then_the_page_is_and_the_window_stays(me: Surfer, tmp_path: Path) -> None:
    me.visit("device.html")
    before, size = window(me), me.eval("[innerWidth, innerHeight]")
    me.say("set-viewport", "500", "400", "2")
    asked = me.eval("asked()")
    assert (asked["width"], asked["height"], asked["scale"]) == (500, 400, 2)
    assert window(me) == before
    me.say("screenshot", tmp_path / "small.png")
    assert Picture(tmp_path / "small.png").width in {500, 1000}
    me.say("set-viewport", "off")
    assert me.eval("[innerWidth, innerHeight]") == size
    assert window(me) == before


def test_set_device_when_a_phone_then_the_page_takes_it_for_one_until_off(me: Surfer) -> None:
    me.visit("device.html")
    me.say("set-device", "iPhone 15")
    me.say("reload")
    asked = me.eval("asked()")
    assert ("iPhone" in asked["agent"], asked["scale"]) == (True, 3)
    me.say("set-device", "off")
    me.say("reload")
    asked = me.eval("asked()")
    assert ("iPhone" in asked["agent"], asked["scale"]) == (False, 1)


def test_set_media_when_dark_and_still_then_the_page_is_told(me: Surfer) -> None:
    me.visit("device.html")
    me.say("set-media", "dark", "reduced-motion")
    asked = me.eval("asked()")
    assert (asked["dark"], asked["still"]) == (True, True)
    me.say("set-media", "light")
    assert me.eval("asked()")["dark"] is False


def test_set_geo_when_south_and_west_then_the_page_is_there(me: Surfer) -> None:
    me.visit("device.html")
    me.say("set-geo", "-33.4", "-70.6")
    assert me.eval("locate()") == "-33.4 -70.6"


def test_set_offline_when_on_then_nothing_loads_until_off(me: Surfer) -> None:
    me.visit("network.html")
    me.say("set-offline", "on")
    assert me.eval("load().then(() => document.querySelector('#items').textContent)") == "failed"
    me.say("set-offline", "off")
    assert me.eval("load().then(() => document.querySelector('#items').textContent)") == "bread, milk"


def test_set_headers_when_given_json_then_every_request_has_them_until_none(me: Surfer) -> None:
    me.say("set-headers", '{"X-Sent-By": "cloudrouter"}')
    me.visit("api/headers")
    assert json.loads(text(me, "body"))["x-sent-by"] == "cloudrouter"
    me.say("set-headers", "{}")
    me.visit("api/headers")
    assert "x-sent-by" not in json.loads(text(me, "body"))


def test_set_credentials_when_the_site_asks_who_you_are_then_are_told(me: Surfer) -> None:
    me.say("set-credentials", "ada", "engine 1842")
    me.visit("private")
    assert text(me, "body") == "Welcome, Ada"


# -- Cookies and storage --------------------------------------------------------------------------------------------


def test_cookies_when_set_then_are_listed_and_sent_until_cleared(me: Surfer) -> None:
    me.visit("storage.html")
    me.say("cookies-clear")
    me.say("cookies-set", "flavour", "oat")
    me.say("cookies-set", "hidden", "yes", "--http-only", "--same-site", "Lax", "--path", "/", "--domain", "localhost")
    found = {one["name"]: one for one in me.data("cookies")["cookies"]}
    assert (found["flavour"]["value"], found["hidden"]["httpOnly"], found["hidden"]["sameSite"]) == ("oat", True, "Lax")
    assert me.eval("document.cookie") == "flavour=oat"
    me.say("cookies-clear")
    assert me.data("cookies")["cookies"] == []


def test_storage_local_when_set_then_is_read_by_key_or_whole_until_cleared(me: Surfer) -> None:
    me.visit("storage.html")
    me.say("storage-local-set", "colour", "dark blue")
    assert me.eval("localStorage.colour") == "dark blue"
    assert "dark blue" in me.say("storage-local", "colour")
    assert me.data("storage-local")["data"] == {"colour": "dark blue"}
    me.say("storage-local-clear")
    assert me.data("storage-local")["data"] == {}


def test_storage_session_when_set_then_is_read_by_key_or_whole_until_cleared(me: Surfer) -> None:
    me.visit("storage.html")
    me.say("storage-session-set", "step", "2")
    assert me.eval("sessionStorage.step") == "2"
    assert "2" in me.say("storage-session", "step")
    assert me.data("storage-session")["data"] == {"step": "2"}
    me.say("storage-session-clear")
    assert me.data("storage-session")["data"] == {}


def test_state_when_saved_here_and_loaded_again_then_cookies_and_storage_are_back(me: Surfer, tmp_path: Path) -> None:
    me.visit("storage.html")
    me.say("cookies-set", "signed-in", "as ada")
    me.say("storage-local-set", "cart", "3")
    me.say("state-save", tmp_path / "state.json")
    assert {one["name"] for one in json.loads((tmp_path / "state.json").read_text())["cookies"]} == {"signed-in"}
    me.say("cookies-clear")
    me.say("storage-local-clear")
    me.say("state-load", tmp_path / "state.json")
    me.visit("storage.html")
    assert (me.eval("document.cookie"), me.eval("localStorage.cart")) == ("signed-in=as ada", "3")
    me.say("cookies-clear")
    me.say("storage-local-clear")


# -- Network --------------------------------------------------------------------------------------------------------


def test_network_requests_when_the_page_fetched_then_lists_it_and_shows_one_whole(me: Surfer) -> None:
    me.visit("network.html")
    me.say("network-requests", "--clear")
    me.say("click", "#load")
    until(lambda: text(me, "#items") == "bread, milk", "the items")
    (one,) = me.data("network-requests", "--filter", "/api/")["requests"]
    assert (one["method"], one["status"], one["url"]) == ("GET", 200, f"{HOME}/api/items")
    assert me.data("network-requests", "--filter", "/api/", "--status", "404")["requests"] == []
    assert "milk" in json.dumps(me.data("network-request", one["requestId"]))


def test_network_route_when_a_body_is_given_then_the_page_gets_that(me: Surfer) -> None:
    me.visit("network.html")
    me.say("network-route", "**/api/items", "--body", '{"items": ["mocked"]}')
    me.say("click", "#load")
    until(lambda: text(me, "#items") == "mocked", "the answer")
    me.say("network-unroute", "**/api/items")
    me.say("click", "#load")
    until(lambda: text(me, "#items") == "bread, milk", "the real answer")


def test_network_route_when_aborted_then_the_request_fails_until_unrouted(me: Surfer) -> None:
    me.visit("network.html")
    me.say("network-route", "**/api/items", "--abort")
    me.say("click", "#load")
    until(lambda: text(me, "#items") == "failed", "the failure")
    me.say("network-unroute")
    me.say("click", "#load")
    until(lambda: text(me, "#items") == "bread, milk", "the real answer")


def test_har_when_stopped_then_the_requests_are_in_a_file_here(me: Surfer, tmp_path: Path) -> None:
    me.visit("index.html")
    me.say("har-start")
    me.visit("network.html")
    me.say("har-stop", tmp_path / "page.har")
    entries = json.loads((tmp_path / "page.har").read_text())["log"]["entries"]
    assert f"{HOME}/network.html" in {one["request"]["url"] for one in entries}


# -- Debug ----------------------------------------------------------------------------------------------------------


def test_console_when_the_page_wrote_then_shows_it_until_cleared(me: Surfer) -> None:
    me.visit("console.html")
    me.say("console", "--clear")
    me.say("click", "#log")
    me.say("click", "#warn")
    assert [(one["type"], one["text"]) for one in me.data("console")["messages"]] == [
        ("log", "a line 7"), ("warning", "be careful"),
    ]  # fmt: skip
    assert "be careful" in me.say("console")
    me.say("console", "--clear")
    assert me.data("console")["messages"] == []


def test_errors_when_the_page_threw_then_shows_what_and_where_until_cleared(me: Surfer) -> None:
    me.visit("console.html")
    me.say("errors", "--clear")
    me.say("click", "#throw")
    (error,) = until(lambda: me.data("errors")["errors"], "the error")
    assert "Error: it broke" in error["text"]
    assert "it broke" in me.say("errors")
    me.say("errors", "--clear")
    assert me.data("errors")["errors"] == []


def follow(me: Surfer, verb: str, act: str) -> dict[str, Any]:
    """The first line of `VERB -f --json` after something was done."""
    with me.user.popen("browser", verb, me.machine, "-f", "--json") as process:
        assert process.stdout is not None
        heard: list[bytes] = []
        try:
            for _ in range(100):  # it may begin to listen after the first ones
                me.eval(act)
                line = read_for(process.stdout, 0.2)
                if line:
                    heard.append(line)
                    break
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
    assert heard, f"browser {verb} -f printed nothing"
    return dict(json.loads(heard[0]))


def read_for(stream: Any, seconds: float) -> bytes:
    """One line, when it comes in time."""
    ready, _, _ = select.select([stream], [], [], seconds)
    return bytes(stream.readline()) if ready else b""


def test_console_errors_network_when_followed_then_come_as_they_happen(me: Surfer) -> None:
    me.visit("console.html")
    assert follow(me, "console", "console.log('live one')")["text"] == "live one"
    assert "it broke" in follow(me, "errors", "document.querySelector('#throw').click()")["text"]
    assert follow(me, "network", "fetch('/api/items').then(() => 1)")["url"] == f"{HOME}/api/items"


def test_trace_when_stopped_then_its_events_are_in_a_file_here(me: Surfer, tmp_path: Path) -> None:
    me.visit("index.html")
    me.say("trace-start")
    me.say("reload")
    me.say("trace-stop", tmp_path / "trace.json")
    assert len(json.loads((tmp_path / "trace.json").read_text())["traceEvents"]) > 100


def test_profiler_when_stopped_then_its_profile_is_in_a_file_here(me: Surfer, tmp_path: Path) -> None:
    me.visit("index.html")
    me.say("profiler-start")
    me.say("reload")
    me.say("profiler-stop", tmp_path / "profile.json")
    assert len(json.loads((tmp_path / "profile.json").read_text())["traceEvents"]) > 100


def test_a11y_when_the_page_has_barriers_then_names_them(me: Surfer) -> None:
    me.visit("index.html")
    assert "landmark-one-main" in json.dumps(me.data("a11y")["violations"])
    assert "landmark-one-main" in me.say("a11y")


def test_vitals_when_asked_then_are_numbers_of_this_page(me: Surfer) -> None:
    me.visit("index.html")
    vitals = me.data("vitals")
    assert vitals["ttfb"] >= 0
    assert vitals["fcp"] > 0


def test_diff_snapshot_when_the_page_changed_then_shows_what(me: Surfer) -> None:
    me.visit("index.html")
    me.say("snapshot")
    me.eval("document.querySelector('h1').textContent = 'Another heading'")
    assert '+- heading "Another heading"' in re.sub(r" \[.*?\]", "", me.say("diff-snapshot"))


# -- Beside the steps -----------------------------------------------------------------------------------------------


def test_batch_when_given_steps_then_does_them_in_one_call(me: Surfer, tmp_path: Path) -> None:
    steps = [["open", f"{HOME}/form.html"], ["fill", "#name", "Ada"], ["click", "#greet"], ["get-text", "#said"]]
    done = me.user.ok("browser", "batch", me.machine, "--json", input=json.dumps(steps).encode())
    answer = json.loads(done.out)
    assert (answer["done"], answer["failed"]) == (4, None)
    assert answer["answers"][-1]["data"]["text"] == "Hello, Ada"


def test_batch_when_a_step_fails_then_stops_with_a_picture_and_the_snapshot(me: Surfer, tmp_path: Path) -> None:
    (tmp_path / "steps.json").write_text(
        json.dumps([["open", f"{HOME}/form.html"], ["click", "#nothing"], ["click", "#greet"]])
    )
    picture = tmp_path / "failed.png"
    done = me.user.run(
        "browser", "batch", me.machine, tmp_path / "steps.json", "--screenshot", picture, "--json", cwd=tmp_path
    )
    answer = json.loads(done.out)
    assert (done.code, answer["done"], answer["failed"]) == (1, 1, 1)
    assert 'button "Greet"' in answer["snapshot"]
    assert Picture(picture).height == me.eval("innerHeight")
    assert text(me) == ""


def test_cdp_when_asked_then_playwright_drives_the_same_window(me: Surfer) -> None:
    me.visit("form.html")
    url = me.user.ok("browser", "cdp", me.machine, "--ttl", "2m").out_text.strip()
    with chromium() as host:
        page = next(
            page
            for context in host.browser_type.connect_over_cdp(url).contexts
            for page in context.pages
            if page.url == f"{HOME}/form.html"
        )
        page.fill("#name", "Playwright")
        page.click("#greet")
    assert text(me) == "Hello, Playwright"


def test_watch_when_asked_then_is_a_view_only_address(me: Surfer) -> None:
    url = me.user.ok("browser", "watch", me.machine).out_text.strip()
    name = me.machine.replace("_", "-")
    assert re.match(rf"http://desktop--{name}\.localhost:\d+/", url)


def test_help_when_asked_then_lists_every_verb_and_explains_one(me: Surfer) -> None:
    page = me.user.ok("browser", "help").out_text
    assert [name for name in [*ORIGINAL, *STEPS] if not re.search(rf"^\s+{name}\b", page, re.MULTILINE)] == []
    assert "--new-tab" in me.user.ok("browser", "help", "click").out_text


def test_sdk_when_it_drives_the_browser_then_has_the_same_verbs(me: Surfer, tmp_path: Path) -> None:
    with Client(me.user.env["CLOUDROUTER_RUNTIME_DIR"] + "/router.sock") as client:
        browser = client.get(me.machine).browser
        browser.open(f"{HOME}/form.html")
        seen = browser.snapshot(interactive=True)
        (name,) = [ref for ref, one in seen.refs.items() if one["name"] == "Name"]
        browser.fill(f"@{name.removeprefix('@')}", "SDK")
        browser.click("#greet")
        assert browser.evaluate("document.querySelector('#said').textContent") == "Hello, SDK"
        browser.screenshot(tmp_path / "sdk.png", full=True)
        assert Picture(tmp_path / "sdk.png").width == browser.evaluate("innerWidth")


def test_sessions_and_close_when_a_session_ends_then_its_tab_is_closed(me: Surfer) -> None:
    me.visit("index.html")
    other = me.other("second")
    other.visit("form.html")
    names = {one["name"] for one in me.user.json("browser", "sessions", me.machine)["sessions"]}
    assert names == {"main", "second"}
    assert me.say("url") == f"{HOME}/index.html"
    other.say("close")
    assert f"{HOME}/form.html" not in {tab["url"] for tab in tabs(me).values()}
    assert {one["name"] for one in me.user.json("browser", "sessions", me.machine)["sessions"]} == {"main"}


def test_close_when_of_the_main_session_then_the_browser_ends_and_the_next_step_starts_it(me: Surfer) -> None:
    me.visit("index.html")
    me.say("close")
    assert me.sh("pgrep -x chromium || true") == ""
    me.visit("form.html")
    assert me.say("title") == "Form"


def shown() -> Iterator[str]:
    """The verbs that this file uses, by the calls in it."""
    for node in ast.walk(ast.parse(Path(__file__).read_text())):
        if isinstance(node, ast.Call):
            words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            yield from words[1:2] if words[:1] == ["browser"] else words[:1]


def test_every_verb_has_its_place_in_this_manual() -> None:
    assert len(set(ORIGINAL)) == 75
    assert {*ORIGINAL, *STEPS, *SPECIAL} - set(shown()) == set()
