"""The parts of the browser's steps that need no browser: words, answers, devices, items, files."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.guest import (
    browsingdevices,
    browsingfaults,
    browsingfields,
    browsingfiles,
    browsingitems,
    browsingwords,
)
from cloudrouter.guest.browsingbinding import Binding
from cloudrouter.guest.browsingtool import Told, read_answer
from cloudrouter.guest.environment import find_account
from cloudrouter.wire.browsing import STEPS, Step
from cloudrouter.wire.errors import CloudRouterError, NotFound, UsageError

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def said(verb: str, *words: str, **options: Any) -> list[str]:
    step = STEPS[verb]
    names = {name.replace("_", "-"): value for name, value in options.items()}
    flags, argv = browsingwords.command(step, list(words), browsingwords.check(step, words, names))
    return [*flags, *argv]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_each_verb_when_all_its_words_are_given_then_has_them_in_its_command(step: Step) -> None:
    words = [f"word{at}" for at in range(len(step.words))]
    options: dict[str, Any] = {one.name: "value" if one.value else True for one in step.options}
    flags, argv = browsingwords.command(step, words, browsingwords.check(step, words, options))
    assert [word for word in argv if word in words] == words
    for option in step.options:
        assert (option.tool in flags + argv) or option.name == "selector", option.name
    assert not [word for word in argv if word.isupper() and word in step.tool]


def test_words_when_verbs_have_their_own_order_then_stand_where_agent_browser_wants_them() -> None:
    assert said("keyboard-type", "hi") == ["keyboard", "type", "hi"]
    assert said("select", "#s", "a", "b") == ["select", "#s", "a", "b"]
    assert said("snapshot", interactive=True, depth="3") == ["snapshot", "-i", "-d", "3"]
    assert said("screenshot", "/x.png", selector="#a", full=True, format="jpeg") == [
        *("--screenshot-format", "jpeg"),
        *("screenshot", "#a", "/x.png", "--full"),
    ]
    assert said("click", "#a", new_tab=False) == ["click", "#a"]
    assert said("frame") == ["frame", "main"]
    assert said("find", "nth", "2", ".card", "fill", "text") == ["find", "nth", "2", ".card", "fill", "text"]


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("localhost:3000/a", "http://localhost:3000/a"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("[::1]:80", "http://[::1]:80"),
        ("app.localhost", "http://app.localhost"),
        ("example.com", "example.com"),
        ("https://localhost", "https://localhost"),
        ("localhost.example.com", "localhost.example.com"),
        ("data:text/html,localhost", "data:text/html,localhost"),
    ],
)
def test_an_address_when_it_is_this_machines_own_then_is_plain_http(address: str, wanted: str) -> None:
    assert said("open", address) == ["open", wanted]


def test_an_answer_when_it_is_whole_then_loses_the_noise_alone() -> None:
    body = [{"success": True}, {"success": True, "result": {"lifecycle": {}, "url": "u"}, "warning": "w"}]
    assert read_answer(json.dumps(body).encode()) == Told(ok=True, data={"url": "u"}, warning="w")
    followed = read_answer(json.dumps(body).encode(), followed=True)
    assert (followed.data, followed.then) == ({}, Told(ok=True, data={"url": "u"}, warning="w"))
    asks = [{"success": True, "result": {"confirmation_required": True}}]
    assert read_answer(json.dumps(asks).encode()).ok is False


@given(st.binary(max_size=50) | JSON.map(lambda body: json.dumps(body).encode()))
def test_an_answer_when_it_is_anything_then_is_an_answer_or_an_error(text: bytes) -> None:
    try:
        told = read_answer(text, b"noise")
    except CloudRouterError:
        return
    assert isinstance(told.data, dict)
    assert isinstance(told.error, str)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("Unknown ref: e9", "stale_ref"),
        ("A JavaScript confirm dialog is blocking the page", "dialog_open"),
        ("Wait timed out after 25000ms", "timed_out"),
        ("tab_gone: bound tab is gone", "tab_gone"),
        ("Missing arguments for: click\nUsage: x", "usage"),
        ("Navigation failed: net::ERR_ABORTED", "step_failed"),
        ("Tab t9 not found; run `agent-browser tab`", "step_failed"),
        ("CDP response channel closed", "browser_down"),
        ("", "step_failed"),
    ],
)
def test_a_complaint_then_has_its_code_and_a_sentence(error: str, code: str) -> None:
    found = browsingfaults.error_of(Told(ok=False, data={}, error=error), 25)
    assert found.code == code
    assert found.message
    assert "agent-browser tab" not in found.message


def test_every_device_then_is_found_by_its_name_in_any_case() -> None:
    for name, view in browsingdevices.DEVICES.items():
        assert browsingdevices.read("set-device", [name.upper()]) == view
        assert view.mobile
        assert view.device in str(view.told())
    assert browsingdevices.read("set-device", ["off"]) is None


@given(st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_a_viewport_when_its_words_are_anything_then_is_a_size_or_refused(words: list[str]) -> None:
    try:
        view = browsingdevices.read("set-viewport", words)
    except UsageError:
        return
    assert view is None or (0 < view.width <= 10_000 and 0 < view.height <= 10_000 and 0 < view.scale <= 8)


EVENTS = (
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
    "Log.entryAdded",
    "Network.requestWillBeSent",
    "Network.responseReceived",
    "Network.loadingFinished",
)


@given(
    st.sampled_from(browsingitems.KINDS),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.dictionaries(st.text(max_size=8), JSON, max_size=4)), max_size=4),
)
def test_events_when_a_page_chose_what_is_in_them_then_break_nothing(
    kind: str, events: list[tuple[str, dict[str, Any]]]
) -> None:
    items = browsingitems.Items(kind, 0)
    for event, params in events:
        item = items.read(event, params, "T")
        assert item is None or isinstance(json.dumps(item), str)


def test_a_request_when_it_ends_then_is_told_once_with_its_outcome() -> None:
    items = browsingitems.Items("network", 0)
    items.pages["T"] = "http://page/"
    sent = {"requestId": "1", "type": "Fetch", "request": {"method": "GET", "url": "http://a/"}, "timestamp": 5.0}
    assert items.read("Network.requestWillBeSent", {**sent, "wallTime": 1.7e9}, "T") is None
    response = {"requestId": "1", "response": {"status": 404, "mimeType": "text/html"}}
    assert items.read("Network.responseReceived", response, "T") is None
    ended = {"requestId": "1", "timestamp": 5.25, "encodedDataLength": 10}
    item = items.read("Network.loadingFinished", ended, "T")
    assert item is not None
    wanted = {"status": 404, "type": "fetch", "duration_ms": 250, "bytes": 10, "page": "http://page/"}
    assert wanted.items() <= item.items()
    assert items.read("Network.loadingFinished", ended, "T") is None


def test_what_was_before_the_time_that_is_wanted_then_is_left_out() -> None:
    items = browsingitems.Items("console", 2e12)
    event = {"type": "log", "args": [], "timestamp": 1e12}
    assert items.read("Runtime.consoleAPICalled", event, "T") is None
    assert items.read("Runtime.consoleAPICalled", {**event, "timestamp": 3e12}, "T") is not None


def test_what_has_the_focus_when_it_lies_elsewhere_then_is_not_what_was_asked_for() -> None:
    box = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0}
    assert browsingfields.is_there({"box": [10, 20, 30, 40], "scroll": [0, 0]}, box)
    assert browsingfields.is_there({"box": [10, -80, 30, 40], "scroll": [0, 100]}, box)
    assert not browsingfields.is_there({"box": [10, 90, 30, 40], "scroll": [0, 0]}, box)
    assert not browsingfields.is_there({"box": [10, 20, 99, 40], "scroll": [0, 0]}, box)
    assert browsingfields.is_there({}, box)


def test_files_that_steps_have_made_then_are_bounded_in_number(tmp_path: Any) -> None:
    os.mkdir(tmp_path / "out")
    files, account = browsingfiles.Files(str(tmp_path)), find_account("")
    for at in range(browsingfiles.KEPT + 5):
        path = files.new(account, f"{at}.png")
        with open(path, "w") as file:
            file.write("x")
        os.utime(os.path.dirname(path), (at, at))
    kept = {os.listdir(tmp_path / "out" / one)[0] for one in os.listdir(tmp_path / "out")}
    assert len(kept) == browsingfiles.KEPT
    assert "0.png" not in kept
    assert f"{browsingfiles.KEPT + 4}.png" in kept


def test_a_file_that_a_step_made_when_it_is_a_link_then_is_refused(tmp_path: Any) -> None:
    os.symlink("/etc/passwd", tmp_path / "x.png")
    with pytest.raises(CloudRouterError, match="there is none"):
        browsingfiles.Files(str(tmp_path)).made(find_account(""), str(tmp_path / "x.png"))
    with pytest.raises(NotFound):
        browsingfiles.check_given(find_account(""), str(tmp_path / "nothing"))
    with pytest.raises(UsageError):
        browsingfiles.check_given(find_account(""), str(tmp_path))


@pytest.mark.parametrize("text", ["", "x", "[]", '{"targetId": 5}', '{"targetId": "../x"}', "[" * 5000])
def test_a_tabs_file_when_somebody_wrote_anything_into_it_then_names_no_tab(tmp_path: Any, text: str) -> None:
    (tmp_path / "main.target").write_text(text)
    (tmp_path / "main.pid").write_text(text)
    binding, account = Binding(str(tmp_path), "main"), find_account("")
    assert binding.target(account) == ""
    assert binding.pid(account) == 0
    assert binding.is_served(account) is False
    binding.bind(account, "ABC123")
    assert binding.target(account) == "ABC123"


@pytest.mark.parametrize("said", ["0", "1", "-5", "own", str(1 << 22 | 1), "9" * 400, "x"])
def test_daemon_when_its_file_names_what_it_cannot_be_then_nobody_is_killed_and_the_file_goes(
    said: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _signal: killed.append(pid))
    (tmp_path / "two.pid").write_text(str(os.getpid()) if said == "own" else said)
    Binding(str(tmp_path), "two").kill(find_account(""))
    assert (killed, os.listdir(tmp_path)) == ([], [])
    (tmp_path / "two.pid").write_text("4321")
    Binding(str(tmp_path), "two").kill(find_account(""))
    assert killed == [4321]


@pytest.mark.parametrize("kind", ["file", "pipe", "nothing"])
def test_file_when_its_folder_is_something_else_then_says_which(kind: str, tmp_path: Any) -> None:
    if kind == "file":
        (tmp_path / "out").write_text("x")
    elif kind == "pipe":
        os.mkfifo(tmp_path / "out")
    with pytest.raises(CloudRouterError, match=f"No file can be made in {tmp_path}/out"):
        browsingfiles.Files(str(tmp_path)).new(find_account(""), "x.png")
