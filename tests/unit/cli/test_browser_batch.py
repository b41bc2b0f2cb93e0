"""`browser batch`: steps read before any is done, told one by one, and a failure with its number and its picture."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from .browser_router import BATCH, PNG, FakeBrowser, answer, browser
from .conftest import Cli

__all__ = ["browser"]


def batch(*answers: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = {"answers": list(answers), "done": len(answers), "failed": None, "screenshot": None, "snapshot": None}
    return {**said, "duration_ms": 9, **more}


def broken(verb: str, code: str, message: str) -> dict[str, Any]:
    return {"verb": verb, "session": "main", "error": {"code": code, "message": message, "fix": "", "next": ""}}


FAILED = batch(
    answer("open", {"url": "http://a/"}),
    broken("click", "stale_ref", "Unknown ref: e9\x1b[2J"),
    done=1,
    failed=1,
    screenshot={"path": "/run/out/2/failed.png", "size": 9, "name": "failed.png"},
    snapshot='- button "Save" [ref=e1]\x07',
)
STEPS = [["open", "http://a/"], ["click", "@e9"], ["click", "@e1"]]


def send(cli: Cli, browser: FakeBrowser, steps: Any, *flags: str, said: Any = None) -> Any:
    """Do a batch from a file, outside of the working folder."""
    browser.transport.answers[BATCH] = batch() if said is None else said
    path = Path("../steps.json")
    path.write_text(steps if isinstance(steps, str) else json.dumps(steps))
    return cli("browser", "batch", "x", str(path), *flags)


def asked(browser: FakeBrowser) -> dict[str, Any]:
    (body,) = [body for method, path, body in browser.transport.asked if (method, path) == BATCH]
    return dict(body)


def step(verb: str, *words: str, **more: Any) -> dict[str, Any]:
    return {"verb": verb, "words": list(words), "options": {}, "session": None, "timeout_s": 25.0, **more}


@pytest.mark.parametrize(
    ("item", "wanted"),
    [
        (["click", "@e2"], step("click", "@e2")),
        (["click", "@e2", "--new-tab"], step("click", "@e2", options={"new-tab": True})),
        (["snapshot", "-i", "--timeout", "5s"], step("snapshot", options={"interactive": True}, timeout_s=5.0)),
        (["fill", "#a", "--", "--json"], step("fill", "#a", "--json")),
        (["set-geo", "-33.4", "-70.6"], step("set-geo", "-33.4", "-70.6")),
        (["click", "@e2", "--session", "two"], step("click", "@e2", session="two")),
        ("click @e2", step("click", "@e2")),
        ("fill '#a b' \"it's\"", step("fill", "#a b", "it's")),
        ("wait --text Saved", step("wait", options={"text": "Saved"})),
        ({"verb": "click", "words": ["@e2"]}, step("click", "@e2")),
        ({"verb": "fill", "words": ["@e2", "--json"]}, step("fill", "@e2", "--json")),
        (
            {"verb": "click", "words": ["@e2"], "options": {"new-tab": True}, "session": "two", "timeout_s": 3},
            step("click", "@e2", options={"new-tab": True}, session="two", timeout_s=3.0),
        ),
        ({"verb": "snapshot", "options": {"compact": False}}, step("snapshot")),
        (["close", "--session", "two"], step("close", session="two")),
        (["close"], step("close")),
    ],
)
def test_step_when_written_in_any_form_then_the_router_gets_it(
    cli: Cli, browser: FakeBrowser, item: Any, wanted: dict[str, Any]
) -> None:
    found = send(cli, browser, [item], said=batch(answer()))
    assert found.code == 0, found.err
    assert asked(browser) == {"steps": [wanted], "session": "main", "keep_going": False}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[", "The steps are no JSON"),
        ("{}", "The steps are no array with steps in it."),
        ("[]", "The steps are no array with steps in it."),
        ([["open", "http://a/"], 5], "Step 2: It is neither an array of words"),
        ([[]], "Step 1: It is neither an array of words"),
        ([["click", 5]], "Step 1: It is neither an array of words"),
        ([["clik", "@e1"]], "Step 1: `browser batch` has no step 'clik'."),
        ([["click"]], "Step 1: `browser click`: SELECTOR is missing."),
        ([["click", "@e1", "--nope"]], "Step 1: `browser click` has no flag --nope."),
        (["click '"], "Step 1: It is no command line"),
        ([["fill", "@e1", "--stdin"]], "Step 1: --stdin is not for a step of a batch."),
        ([["console", "-f"]], "Step 1: --follow is not for a step of a batch."),
        ([["screenshot"]], "Step 1: `screenshot` in a batch needs a file's name."),
        ([["screenshot", "-"]], "Step 1: `screenshot` in a batch needs a file's name."),
        ([["wait"]], "Step 1: `browser wait` is given nothing to wait for."),
        ([{"verb": "click", "words": ["@e1"], "more": 1}], "Step 1: It has an unknown field 'more'."),
        ([{"verb": "click", "words": "@e1"}], "Step 1: Its words are no array"),
        ([{"verb": "click", "words": [5]}], "Step 1: `browser click`: a word of it is no text."),
        ([{"verb": "click", "words": ["a"], "options": {"x": True}}], "Step 1: `click` has no option 'x'."),
        (
            [{"verb": "click", "words": ["a"], "options": {"new-tab": "y"}}],
            "Step 1: The option 'new-tab' of `click` is",
        ),
        ([{"verb": "click", "words": ["a"], "session": "a/b"}], "Step 1: Its session is no session's name"),
        ([{"verb": "click", "words": ["a"], "timeout_s": True}], "Step 1: Its timeout_s is no number"),
        ([{"words": []}], "Step 1: `browser batch` has no step 'None'."),
        ([["click", "@e1"]] * 1001, "A batch has 1000 steps at most, not 1001."),
    ],
)
def test_batch_when_a_step_cannot_be_right_then_none_is_done(
    cli: Cli, browser: FakeBrowser, steps: Any, message: str
) -> None:
    found = send(cli, browser, steps)
    assert found.code == 2
    assert found.err.startswith(f"cloudrouter: {message}"), found.err
    assert [path for _method, path, _body in browser.transport.asked if path.endswith("batch")] == []


def test_batch_when_from_stdin_then_is_read_there(
    cli: Cli, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.transport.answers[BATCH] = batch(answer())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'[["click","@e1"]]')))
    assert cli("browser", "batch", "x").code == 0
    assert asked(browser)["steps"] == [step("click", "@e1")]


def test_batch_when_there_is_nothing_to_read_then_says_so(
    cli: Cli, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert browser
    assert "missing.json cannot be read: no such file" in cli("browser", "batch", "x", "missing.json").err
    monkeypatch.setattr(sys, "stdin", None)
    assert "needs its steps" in cli("browser", "batch", "x").err


def test_batch_when_done_then_tells_each_step_and_repeats_no_secret(cli: Cli, browser: FakeBrowser) -> None:
    steps = [["open", "http://a/"], ["fill", "#pw", "s3cret"], ["find", "label", "Pin", "fill", "4711"],
             ["get-text", "h1"], ["cookies-set", "sid", "hush"]]  # fmt: skip
    said = batch(
        answer("open", {"url": "http://a/"}), answer("fill"), answer("find", {"filled": "x"}),
        answer("get-text", {"text": "Hi\nyou"}), answer("cookies-set", {"set": True}),
    )  # fmt: skip
    found = send(cli, browser, steps, said=said)
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines() == [
        "1  open http://a/", "http://a/",
        "2  fill #pw  done",
        "3  find label Pin fill", "done",
        "4  get-text h1", "Hi", "you",
        "5  cookies-set sid  done",
    ]  # fmt: skip


def test_batch_when_a_step_fails_then_says_which_and_shows_the_page(cli: Cli, browser: FakeBrowser) -> None:
    found = send(cli, browser, STEPS, said=FAILED)
    assert found.code == 1
    assert found.out.splitlines() == [
        "1  open http://a/", "http://a/",
        "2  click @e9  failed: Unknown ref: e9\\x1b[2J",
        "", '- button "Save" [ref=e1]\\x07',
    ]  # fmt: skip
    assert found.err.splitlines() == [
        "Its picture is in batch-failure.png.",
        "cloudrouter: Step 2, click @e9: Unknown ref: e9\\x1b[2J 1 behind it was not begun.",
        "Fix:  Refs end when the page changes. Take a new snapshot.",
        "Next: cloudrouter browser snapshot -i x",
    ]
    assert (Path("batch-failure.png").read_bytes(), browser.fetched) == (PNG, ["/run/out/2/failed.png"])
    assert send(cli, browser, STEPS, said=FAILED).code == 1  # and the next failure replaces the picture


@pytest.mark.flag("browser batch --json")
def test_batch_when_as_json_then_stdout_is_the_answer_alone(cli: Cli, browser: FakeBrowser) -> None:
    found = send(cli, browser, STEPS, "--json", said=FAILED)
    assert found.code == 1
    told = found.json
    assert told.pop("error")["message"].startswith("Step 2, click @e9: ")
    assert told == {**FAILED, "saved_screenshot": "batch-failure.png"}
    assert found.err.startswith("cloudrouter: Step 2, click @e9:")
    assert send(cli, browser, [["click", "a"]], "--json", said=batch(answer())).json["failed"] is None
    assert "error" not in send(cli, browser, [["click", "a"]], "--json", said=batch(answer())).json


@pytest.mark.flag("browser batch --screenshot")
def test_batch_when_a_place_for_the_picture_is_named_then_it_goes_there(cli: Cli, browser: FakeBrowser) -> None:
    assert send(cli, browser, STEPS, "--screenshot", "failed.png", said=FAILED).code == 1
    assert os.listdir() == ["failed.png"]
    Path("notes").write_text("mine")
    browser.transport.asked.clear()
    assert send(cli, browser, STEPS, "--screenshot", "notes", said=FAILED).code == 1
    assert (Path("notes").read_text(), browser.transport.asked) == ("mine", [])


@pytest.mark.flag("browser batch --keep-going")
def test_batch_when_it_is_to_go_on_then_counts_what_failed(cli: Cli, browser: FakeBrowser) -> None:
    said = batch(
        broken("click", "timed_out", "Not in time."), answer("click"), broken("click", "stale_ref", "Old."),
        done=1, failed=0,
    )  # fmt: skip
    found = send(cli, browser, STEPS, "--keep-going", said=said)
    assert (found.code, asked(browser)["keep_going"]) == (124, True)
    assert "cloudrouter: Step 1, open http://a/: Not in time. 1 more failed." in found.err


@pytest.mark.flag("browser batch --session")
def test_batch_when_a_session_is_named_then_it_is_that_of_steps_without_one(cli: Cli, browser: FakeBrowser) -> None:
    steps = [["click", "@e1"], ["click", "@e2", "--session", "other"]]
    assert send(cli, browser, steps, "--session", "two", said=batch(answer(), answer())).code == 0
    assert asked(browser)["session"] == "two"
    assert [one["session"] for one in asked(browser)["steps"]] == [None, "other"]


@pytest.mark.flag("browser batch --timeout")
def test_batch_when_a_timeout_is_given_then_it_is_that_of_steps_without_one(cli: Cli, browser: FakeBrowser) -> None:
    steps = [["click", "@e1"], ["wait", "--text", "a", "--timeout", "1m"], {"verb": "back", "timeout_s": 2}]
    assert send(cli, browser, steps, "--timeout", "9s", said=batch(answer(), answer(), answer())).code == 0
    assert [one["timeout_s"] for one in asked(browser)["steps"]] == [9.0, 60.0, 2.0]


@pytest.mark.flag("browser batch --force")
def test_batch_when_a_file_is_there_then_only_force_lets_a_step_replace_it(cli: Cli, browser: FakeBrowser) -> None:
    Path("state.json").write_text("mine")
    made = answer("state-save", file={"path": "/run/out/1/made", "size": 9, "name": "made"})
    steps = [["state-save", "state.json"]]
    assert send(cli, browser, steps, said=batch(made)).code == 1
    assert Path("state.json").read_text() == "mine"
    assert send(cli, browser, steps, "--force", said=batch(made)).code == 0
    assert Path("state.json").read_bytes() == PNG
    Path("state.json").write_text("mine")
    assert send(cli, browser, [["state-save", "--force", "state.json"]], said=batch(made)).code == 0


def test_batch_when_steps_need_and_make_files_then_they_come_and_go(cli: Cli, browser: FakeBrowser) -> None:
    Path("mine.txt").write_bytes(b"one")
    made = {"path": "/run/out/1/made", "size": 9, "name": "made"}
    steps = [["upload", "@e1", "mine.txt"], ["screenshot", "a.jpg"], ["download", "@e2", "b.csv"],
             ["pdf", "--in-machine", "c.pdf"]]  # fmt: skip
    said = batch(answer("upload"), *(answer(verb, file=made) for verb in ("screenshot", "download", "pdf")))
    found = send(cli, browser, steps, said=said)
    assert found.code == 0, found.err
    first, second, third, fourth = asked(browser)["steps"]
    assert browser.sent == {first["words"][1]: b"one"}
    assert (second["words"], second["options"], third["words"]) == ([], {"format": "jpeg"}, ["@e2"])
    assert fourth["words"] == ["/home/user/workspace/c.pdf"]
    assert sorted(os.listdir()) == ["a.jpg", "b.csv", "mine.txt"]
    assert found.out.splitlines()[1:] == [
        "2  screenshot a.jpg  done", "3  download @e2 b.csv  done", "4  pdf c.pdf  /run/out/1/made",
    ]  # fmt: skip


def test_batch_when_a_dialog_opened_then_that_is_told(cli: Cli, browser: FakeBrowser) -> None:
    said = batch(answer(dialog={"type": "confirm", "message": "sure?", "default": None}))
    assert "cloudrouter browser dialog-accept x" in send(cli, browser, [["click", "@e1"]], said=said).err


@pytest.mark.parametrize("said", [[], {}, {"answers": None}, {"answers": [5]}, {"answers": [{"data": 5}]}])
def test_batch_when_the_router_answers_nonsense_then_that_is_said(cli: Cli, browser: FakeBrowser, said: Any) -> None:
    found = send(cli, browser, [["click", "@e1"]], said=said)
    assert found.code == 1
    assert "no answer" in found.err
