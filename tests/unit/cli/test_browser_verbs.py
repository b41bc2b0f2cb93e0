"""`browser` verbs: how words are read, what is printed, and which command an error leads to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.cli import browsersteps
from cloudrouter.cli.browserexamples import EXAMPLES
from cloudrouter.cli.parsing import parse_words
from cloudrouter.cli.table import load_verb
from cloudrouter.cli.verbs.browser import WITHHELD
from cloudrouter.wire.browsing import GROUPS, STEPS
from cloudrouter.wire.errors import (
    BrowserDown,
    DialogOpen,
    NotAField,
    StaleRef,
    StepFailed,
    TabGone,
    TimedOut,
    UsageError,
)

from .browser_router import STEP, FakeBrowser, answer, browser, words_for
from .conftest import Cli, FakeTransport

__all__ = ["browser"]
ORIGINAL = """
    snapshot open back forward reload close click dblclick type fill press keydown keyup hover focus select check
    uncheck scroll scrollintoview drag upload url title get-text get-html get-value get-attr get-count get-box
    is-visible is-enabled is-checked screenshot pdf highlight wait eval mouse-move mouse-down mouse-up mouse-wheel
    dialog-accept dialog-dismiss set-viewport set-device set-media set-geo set-offline set-headers set-credentials
    tab-list tab-new tab-switch tab-close frame cookies cookies-set cookies-clear storage-local storage-local-set
    storage-local-clear storage-session storage-session-set storage-session-clear network-requests network-route
    network-unroute console errors trace-start trace-stop state-save state-load find
""".split()  # noqa: SIM905 - in the groups of the original


# -- words ----------------------------------------------------------------------------------------------------------


def test_verbs_when_counted_then_have_all_of_the_original() -> None:
    assert len(set(ORIGINAL)) == 75
    assert set(ORIGINAL) <= set(load_verb("browser").inner)


@pytest.mark.parametrize("verb", [name for name in STEPS if not STEPS[name].gives and not STEPS[name].takes])
def test_step_when_its_words_are_given_then_the_router_gets_them(cli: Cli, browser: FakeBrowser, verb: str) -> None:
    words = words_for(verb)
    found = cli("browser", verb, "x", *words)
    assert (found.code, "cloudrouter:" in found.err) == (0, False), found.err
    assert browser.step == {"verb": verb, "words": words, "options": {}, "session": "main", "timeout_s": 25.0}


@pytest.mark.parametrize(
    ("line", "words", "options"),
    [
        ("snapshot -i x", [], {"interactive": True}),
        ("snapshot x -i -c", [], {"interactive": True, "compact": True}),
        ("snapshot -ic x -d 3", [], {"interactive": True, "compact": True, "depth": "3"}),
        ("--session two snapshot x -i", [], {"interactive": True}),
        ("--json --session=two --timeout 5s snapshot x", [], {}),
        ("set-geo x -33.4 -70.6", ["-33.4", "-70.6"], {}),
        ("mouse-wheel x -40 --session two", ["-40"], {}),
        ("fill x @e1 -- --json", ["@e1", "--json"], {}),
        ("fill x @e1 -- --", ["@e1", "--"], {}),
        ("fill x -- @e1 -", ["@e1", "-"], {}),
        ("fill x @e1 -5", ["@e1", "-5"], {}),
        ("find x nth 2 li fill text", ["nth", "2", "li", "fill", "text"], {}),
        ("find x role button --name Save click", ["role", "button", "click"], {"name": "Save"}),
        ("select x @e1 a b c", ["@e1", "a", "b", "c"], {}),
        ("wait x --text --", [], {"text": "--"}),
        ("wait x 500", ["500"], {}),
        ("frame x", [], {}),
        ("open x", [], {}),
    ],
)
def test_words_when_flags_stand_anywhere_then_are_the_ones_that_were_meant(
    cli: Cli, browser: FakeBrowser, line: str, words: list[str], options: dict[str, Any]
) -> None:
    found = cli("browser", *line.split())
    assert found.code == 0, found.err
    assert (browser.step["words"], browser.step["options"]) == (words, options)
    assert browser.step["session"] == ("two" if "two" in line else "main")


@given(st.text(), st.text())
def test_text_when_behind_dashes_then_arrives_untouched(selector: str, text: str) -> None:
    verb = load_verb("browser").inner["fill"]
    args = parse_words("browser fill", verb, ["--session", "two", "x", "--", selector, text])
    assert browsersteps.make(STEPS["fill"], args.words, args)["words"] == [selector, text]
    assert (args.machine, args.session) == ("x", "two")


@pytest.mark.parametrize(
    ("line", "message", "fix"),
    [
        ("fill x @e1", "`browser fill`: TEXT is missing.", "Usage: cloudrouter browser fill [flags] ID SELECTOR TEXT"),
        ("click x", "`browser click` needs SELECTOR.", "Usage: cloudrouter browser click [flags] ID SELECTOR"),
        ("click x @e1 @e2", "`browser click` does not take '@e2'.", "Usage:"),
        ("fill x @e1 -why", "`browser fill` has no flag -why.", "See which flags there are. A text that begins"),
        ("fill x @e1 -hello", "--help takes no value, and is followed by one.", "A text that begins with a dash"),
        ("scroll x sideways", "DIRECTION cannot be 'sideways'.", "Choose from up, down, left, right."),
        ("wait x", "`browser wait` is given nothing to wait for.", "Give one: a selector"),
        ("wait x #a --text b", "`browser wait` is given several things to wait for.", "Give one"),
        ("wait x 500 --state hidden", "--state is about an element.", "Give a selector with it."),
        ("wait x --load soon", "--load cannot be 'soon'.", "Choose from load, domcontentloaded, networkidle."),
        ("click x @e1 --session a/b", "'a/b' is no session's name: only letters", "Write it like main"),
        ("click x @e1 --timeout 2h", "--timeout is at most 3600 seconds.", "Give less"),
        ("clik x @e1", "`browser` has no verb 'clik'.", "Did you mean click?"),
        ("get text x h1", "`browser` has no verb 'get'.", "There are: get-text, get-html, get-value"),
        ("mouse move x 1 2", "`browser` has no verb 'mouse'.", "There are: mouse-move"),
        ("goto x http://a", "`browser` has no verb 'goto': it is called open.", "`browser open ID URL`."),
        ("frobnicate x", "`browser` has no verb 'frobnicate'.", "See which there are."),
        ("screenshot x ''", "`browser screenshot` is given an empty file name.", "Give a file's name."),
    ],
)
def test_words_when_they_cannot_be_right_then_say_what_would_be(
    cli: Cli, browser: FakeBrowser, line: str, message: str, fix: str
) -> None:
    words = [word if word != "''" else "" for word in line.split()]
    found = cli("browser", *words)
    first, second, *_rest = found.err.splitlines()
    assert (found.code, browser.steps) == (2, [])
    assert first.startswith(f"cloudrouter: {message}"), first
    assert second.startswith(f"Fix:  {fix}"), second


@pytest.mark.parametrize("word", sorted(WITHHELD))
def test_word_of_another_tool_when_it_is_withheld_then_says_why_and_what_does_it(cli: Cli, word: str) -> None:
    why, instead = WITHHELD[word]
    found = cli("browser", word, "x")
    assert (found.code, found.out) == (2, "")
    assert found.err.splitlines()[:2] == [f"cloudrouter: `browser` has no verb '{word}': {why}.", f"Fix:  {instead}"]
    assert word not in load_verb("browser").inner


# -- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["browser"], ["browser", "help"], ["browser", "--help"], ["help", "browser"]])
def test_help_when_asked_for_then_lists_every_verb_under_its_group(cli: Cli, words: list[str]) -> None:
    page = cli(*words).out
    assert [group for group in GROUPS if f"\n{group}:\n" not in page] == []
    assert [name for name in load_verb("browser").inner if f"\n  {name} " not in page] == []


@pytest.mark.parametrize(
    "words", [["browser", "help", "click"], ["browser", "click", "--help"], ["help", "browser", "click"]]
)
def test_help_when_of_one_verb_then_shows_its_words_flags_and_examples(cli: Cli, words: list[str]) -> None:
    found = cli(*words)
    assert (found.code, found.err) == (0, "")
    for part in ("Usage: cloudrouter browser click [flags] ID SELECTOR", "--new-tab", *EXAMPLES["click"][0]):
        assert part in found.out


def test_help_when_as_json_then_verbs_have_their_group(cli: Cli) -> None:
    page = cli("browser", "--json").json
    found = {one["name"]: one["group"] for one in page["verbs"]}
    assert (found["click"], found["batch"]) == ("Act", "Many steps, programs, people")
    assert cli("browser", "help", "click", "--json").json["name"] == "browser click"


# -- what is printed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "data", "out"),
    [
        (["open", "x"], {"url": "http://a/", "title": "T"}, "http://a/\n"),
        (["get-text", "x", "h1"], {"text": "a\nb\x07", "origin": "u"}, "a\nb\x07\n"),
        (["snapshot", "x"], {"snapshot": "- a\n  - b\x1b[2J"}, "- a\n  - b\\x1b[2J\n"),
        (["title", "x"], {"title": "a\u202eb"}, "a\\u202eb\n"),
        (["is-visible", "x", "a"], {"visible": False}, "false\n"),
        (["get-count", "x", "a"], {"count": 3}, "3\n"),
        (["get-attr", "x", "a", "b"], {"value": None}, "\n"),
        (["eval", "x", "1"], {"result": {"a": [1]}}, '{\n  "a": [\n    1\n  ]\n}\n'),
        (["eval", "x", "1"], {"result": "text"}, "text\n"),
        (["eval", "x", "1"], {"result": None, "unserializable": "undefined"}, "undefined\n"),
        (["eval", "x", "1"], {"result": None}, "null\n"),
        (["select", "x", "a", "b"], {"selected": ["b", "c"]}, "b\nc\n"),
        (["get-box", "x", "a"], {"x": 1, "y": 2.5}, "x  1\ny  2.5\n"),
        (["get-styles", "x", "a"], {"styles": {"color": "red"}}, "color  red\n"),
        (["storage-local", "x"], {"data": {"a": "b\n", "c": "d"}}, "a=b\\n\nc=d\n"),
        (["storage-local", "x", "a"], {"key": "a", "value": "v"}, "v\n"),
        (["storage-local", "x", "a"], {"key": "a", "value": None}, "\n"),
        (["dialog-status", "x"], {"hasDialog": False}, "no dialog is open\n"),
        (
            ["dialog-status", "x"],
            {"hasDialog": True, "type": "prompt", "message": "name?\x07", "defaultPrompt": "Ada"},
            'prompt: "name?\\x07", begins with "Ada"\n',
        ),
        (
            ["tab-list", "x"],
            {"tabs": [{"active": True, "label": None, "tabId": "t1", "title": "A\x1b", "url": "http://a/"}, 5]},
            "   TAB  LABEL  TITLE  ADDRESS\n*  t1   -      A\\x1b  http://a/\n",
        ),
        (
            ["network-requests", "x"],
            {
                "requests": [
                    {"status": 404, "method": "GET", "resourceType": "XHR", "requestId": "7", "url": "http://a/"}
                ]
            },
            "STATUS  METHOD  TYPE  REQUEST  ADDRESS\n404     GET     xhr   7        http://a/\n",
        ),
        (["network", "x"], {"requests": []}, ""),
        (
            ["cookies", "x"],
            {"cookies": [{"name": "a", "value": "b", "domain": "d", "path": "/", "expires": -1.0, "httpOnly": True}]},
            "NAME  VALUE  DOMAIN  PATH  EXPIRES  FLAGS\na     b      d       /     session  http-only\n",
        ),
        (["console", "x"], {"messages": [{"type": "log", "text": "hi\x1b"}]}, "log       hi\\x1b\n"),
        (["console", "x", "--clear"], {"cleared": True}, "done\n"),
        (["errors", "x"], {"errors": [{"text": "Error: a\n    at b"}]}, "error     Error: a\n          at b\n"),
        (
            ["vitals", "x"],
            {"cls": {"score": 0.1}, "lcp": {"startTime": 96}, "fcp": 96.0, "ttfb": 0.8, "inp": None},
            "LCP   96 ms\nFCP   96 ms\nTTFB  0.8 ms\nINP   -\nCLS   0.1\n",
        ),
        (
            ["a11y", "x"],
            {"violations": [{"id": "label", "help": "must", "impact": "serious", "nodes": [{"target": ["#c"]}]}]},
            "serious   label: must\n          #c\n",
        ),
        (
            ["a11y", "x"],
            {"violations": [{"id": "label", "help": "must", "nodes": [{"target": 5}]}]},
            "minor     label: must\n          5\n",
        ),
        (
            ["vitals", "x"],
            {"cls": "x", "lcp": 10**400, "fcp": float("inf"), "ttfb": float("nan"), "inp": True},
            "LCP   -\nFCP   -\nTTFB  -\nINP   1 ms\nCLS   -\n",
        ),
        (["diff-snapshot", "x"], {"changed": True, "diff": "--- a\n+++ b\n"}, "--- a\n+++ b\n"),
        (["diff-snapshot", "x"], {"changed": False, "diff": ""}, ""),
        (["find", "x", "role", "button"], {"clicked": "@e1"}, "done\n"),
        (["sessions", "x"], {"sessions": [{"name": "main", "steps": 3, "busy": True, "url": "u"}]}, "main"),
        (["network-request", "x", "7"], {"status": 200}, '{\n  "status": 200\n}\n'),
    ],
)
def test_answer_when_printed_then_reads_well_and_harms_no_terminal(
    cli: Cli, browser: FakeBrowser, words: list[str], data: dict[str, Any], out: str
) -> None:
    browser.says(answer(words[0], data))
    found = cli("browser", *words)
    assert found.code == 0, found.err
    assert found.out == out or (words[0] == "sessions" and out in found.out)


@pytest.mark.parametrize("verb", sorted(STEPS))
@pytest.mark.parametrize("junk", [None, 5, "x", [], {"a": None}, [[1]], True])
def test_answer_when_the_machine_says_nonsense_then_nothing_breaks(
    cli: Cli, browser: FakeBrowser, verb: str, junk: Any
) -> None:
    step = STEPS[verb]
    keys = ("tabs", "cookies", "requests", "messages", "errors", "violations", "styles", "data", "lcp", "cls", "counts")
    browser.says(answer(verb, dict.fromkeys((*keys, step.shows or "text", "key", "value"), junk), file=None))
    if step.gives or step.takes:
        return
    found = cli("browser", verb, "x", *words_for(verb))
    assert (found.code, "Something unforeseen" in found.err) == (0, False), found.err


@pytest.mark.parametrize("said", [None, [], {}, {"data": None}, {"data": [1]}])
def test_router_when_it_answers_nonsense_then_that_is_said(cli: Cli, browser: FakeBrowser, said: Any) -> None:
    browser.says(said)
    found = cli("browser", "click", "x", "@e1")
    assert found.code == 1
    assert "something that is no answer" in found.err


def test_click_when_the_page_is_elsewhere_then_says_where(cli: Cli, browser: FakeBrowser) -> None:
    browser.says(answer(url="http://localhost:3000/next\x07"))
    assert cli("browser", "click", "x", "@e1").out == "done  http://localhost:3000/next\\x07\n"


def test_dialog_when_it_opens_then_is_told_with_what_answers_it(cli: Cli, browser: FakeBrowser) -> None:
    dialog = {"type": "confirm", "message": "sure?\x1b[2J", "default": None}
    browser.says(answer(dialog=dialog, warning="A JavaScript confirm dialog is blocking the page"))
    found = cli("browser", "click", "x", "@e1", "--session", "two")
    assert (found.code, found.out) == (0, "done\n")
    assert found.err.splitlines() == [
        'A dialog is open, a confirm: "sure?\\x1b[2J". Answer it before anything else:',
        "  cloudrouter browser dialog-accept --session two x",
        "  cloudrouter browser dialog-dismiss --session two x",
    ]


def test_warning_and_recovery_when_there_are_then_are_told_on_stderr(cli: Cli, browser: FakeBrowser) -> None:
    browser.says(answer("url", {"url": "u"}, warning="mind\x07", recovered=True))
    found = cli("browser", "url", "x")
    assert found.out == "u\n"
    assert found.err == "The tab had crashed; this was done in a new one.\nmind\\x07\n"


@pytest.mark.parametrize(
    ("error", "code", "following"),
    [
        (StaleRef("Unknown ref: e9"), 1, "cloudrouter browser snapshot -i x"),
        (DialogOpen("A dialog is open."), 1, "cloudrouter browser dialog-accept x"),
        (NotAField("It is a button."), 1, "cloudrouter browser snapshot -i x"),
        (TabGone("The tab was closed."), 1, "cloudrouter browser tab-list x"),
        (BrowserDown("It ended."), 1, "cloudrouter browser open x"),
        (TimedOut("Not in time."), 124, "cloudrouter browser screenshot x page.png"),
    ],
)
def test_error_when_a_step_fails_then_the_next_command_is_exact(
    cli: Cli, browser: FakeBrowser, error: StepFailed, code: int, following: str
) -> None:
    browser.says(error)
    found = cli("browser", "click", "x", "@e9")
    assert found.code == code
    assert found.err.splitlines()[-1] == f"Next: {following}"
    error.next = ""
    found = cli("browser", "click", "x", "@e9", "--session", "two", "--json")
    assert found.json["error"]["next"] == following.replace(" x", " --session two x")


def test_step_when_done_then_is_one_request_with_patience_and_sent_again_only_when_it_reads(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, bool]] = []

    def call(method: str, path: str, body: Any = None, *, timeout: float, once: bool) -> Any:
        assert (method, path) == STEP
        asked.append((timeout, once))
        return answer()

    monkeypatch.setattr(transport, "call", call)
    assert cli("browser", "click", "x", "@e1", "--timeout", "1m").code == 0
    assert cli("browser", "snapshot", "x", "--timeout", "1m").code == 0
    assert asked == [(660.0, True), (660.0, False)]


def test_secret_when_from_stdin_and_there_is_none_then_is_refused(
    cli: Cli, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with open(tmp_path / "bytes") as file:
        monkeypatch.setattr("sys.stdin", file)
        found = cli("browser", "fill", "x", "@e1", "--stdin")
    assert (found.code, browser.steps) == (2, [])
    assert "no UTF-8 text" in found.err
    with pytest.raises(UsageError):
        parse_words("browser click", load_verb("browser").inner["click"], ["x", "@e1", "--stdin"])


# -- doors ----------------------------------------------------------------------------------------------------------

CDP = {
    "url": "ws://127.0.0.1:7080/cdp/key/devtools/browser/1",
    "http_url": "http://127.0.0.1:7080/cdp/key",
    "expires_at": "2099-01-01T00:00:00.000Z",
}


@pytest.mark.flag("browser cdp --ttl")
@pytest.mark.flag("browser cdp --json")
def test_cdp_when_asked_for_then_the_address_alone_is_on_stdout(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["POST", "/v1/machines/x/browser/cdp"] = CDP
    found = cli("browser", "cdp", "x")
    assert found.out == f"{CDP['url']}\n"
    assert "Whoever has it controls the browser" in found.err
    assert cli("browser", "cdp", "x", "--ttl", "1h", "--json").json == CDP
    assert [body for _method, _path, body in transport.asked] == [{"ttl_s": 600.0}, {"ttl_s": 3600.0}]


def test_cdp_when_the_router_answers_nonsense_then_that_is_said(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["POST", "/v1/machines/x/browser/cdp"] = {"url": 5}
    assert "no address" in cli("browser", "cdp", "x").err


@pytest.mark.flag("browser watch --open")
@pytest.mark.flag("browser watch --json")
def test_watch_when_asked_for_then_is_a_desktop_that_nobody_can_type_on(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = {
        "target": "desktop",
        "url": "http://desktop--cr-7k2m9xqd.localhost:7080/?ticket=t",
        "lasting_url": "http://desktop--cr-7k2m9xqd.localhost:7080/",
        "expires_at": "2026-07-31T12:01:00.000Z",
    }
    opened: list[str] = []
    from cloudrouter.cli import browsing

    monkeypatch.setattr(browsing, "show", lambda url, _folder, _environ: opened.append(url))
    transport.answers["POST", "/v1/machines/x/open"] = door
    assert cli("browser", "watch", "x").out == f"{door['url']}\n"
    assert (cli("browser", "watch", "x", "--json").json, opened) == (door, [])
    assert cli("browser", "watch", "x", "--open").code == 0
    assert opened == [door["url"]]
    assert {json.dumps(body) for _method, _path, body in transport.asked} == {
        json.dumps({"target": "desktop", "path": "/", "view_only": True})
    }
