"""Every flag of every `browser` verb: what it changes in what the router is asked, or in what is printed."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.cli.browsersteps import CHOICES, takes_stdin
from cloudrouter.cli.table import load_verb
from cloudrouter.wire.browsing import STEPS, Option, Step

from .browser_router import FakeBrowser, browser, words_for
from .conftest import Cli

__all__ = ["browser"]
FOLLOWED = ("console", "errors", "network")
ALIASES = {"network": "network-requests"}
"""Verbs that are another step's with more flags."""
WITH_FILES = [name for name in STEPS if STEPS[name].gives or STEPS[name].takes]
VERBS = [*STEPS, *ALIASES]
ASKED = [*VERBS, "close", "sessions"]


def step_of(verb: str) -> Step:
    return STEPS[ALIASES.get(verb, verb)]


def marked(verbs: Any, flag: str) -> list[Any]:
    return [pytest.param(verb, marks=pytest.mark.flag(f"browser {verb} --{flag}"), id=verb) for verb in verbs]


def options() -> Iterator[Any]:
    for verb in VERBS:
        for option in step_of(verb).options:
            mark = pytest.mark.flag(f"browser {verb} --{option.name}")
            yield pytest.param(verb, option, marks=mark, id=f"{verb} --{option.name}")


def call(cli: Cli, verb: str, *flags: str) -> Any:
    """Call a verb with the words that it needs, flags in front; files it makes or needs are in the working folder."""
    step = STEPS.get(verb)
    words = [] if verb == "wait" and any(flag in ("--text", "--url", "--load", "--fn") for flag in flags) else None
    if step is not None and step.takes:
        Path("file").write_bytes(b"mine")
    return cli("browser", verb, *flags, "x", *(words_for(verb) if words is None else words))


@pytest.mark.parametrize(("verb", "option"), list(options()))
def test_flag_when_given_then_the_router_is_asked_for_it(
    cli: Cli, browser: FakeBrowser, verb: str, option: Option
) -> None:
    value = CHOICES.get(option.name, ("7",))[-1]
    found = call(cli, verb, f"--{option.name}", *([value] if option.value else []))
    assert found.code == 0, found.err
    assert browser.step["options"] == {option.name: value if option.value else True}


@pytest.mark.parametrize(("verb", "option"), [one for one in options() if one.values[1].short])
def test_flag_when_written_short_then_means_the_same(cli: Cli, browser: FakeBrowser, verb: str, option: Option) -> None:
    assert call(cli, verb, f"-{option.short}", *(["7"] if option.value else [])).code == 0
    assert browser.step["options"] == {option.name: "7" if option.value else True}


@pytest.mark.parametrize("verb", marked(ASKED, "session"))
def test_session_when_named_then_it_is_meant_and_else_main(cli: Cli, browser: FakeBrowser, verb: str) -> None:
    assert call(cli, verb, "--session", "two").code == 0
    assert call(cli, verb, "--force" if verb in STEPS and STEPS[verb].gives else "--verbose").code == 0
    assert [step["session"] for step in browser.steps] == ["two", "main"]


@pytest.mark.parametrize("verb", marked(ASKED, "timeout"))
def test_timeout_when_given_then_the_step_may_take_so_long(cli: Cli, browser: FakeBrowser, verb: str) -> None:
    assert call(cli, verb, "--timeout", "2m").code == 0
    assert browser.step["timeout_s"] == 120.0


@pytest.mark.parametrize("verb", marked(ASKED, "json"))
def test_json_when_wanted_then_the_answer_is_printed(cli: Cli, browser: FakeBrowser, verb: str) -> None:
    found = call(cli, verb, "--json")
    assert found.json == ({} if verb == "sessions" else {**found.json, "duration_ms": 5, "recovered": False})
    assert browser.step["verb"] == ALIASES.get(verb, verb)


@pytest.mark.parametrize("verb", marked([name for name in STEPS if takes_stdin(STEPS[name])], "stdin"))
def test_stdin_when_wanted_then_is_the_last_word(
    cli: Cli, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    said = io.TextIOWrapper(io.BytesIO("s3cret ü\nmore\n".encode()))
    monkeypatch.setattr(sys, "stdin", said)
    needed = [word for word in STEPS[verb].words if not word.startswith("[")]
    words = words_for(verb)[: len(needed) - (STEPS[verb].words[-1] in needed)]
    assert cli("browser", verb, "x", *words, "--stdin").code == 0
    assert browser.step["words"] == [*words, "s3cret ü\nmore"]


@pytest.mark.parametrize("verb", marked([name for name in STEPS if STEPS[name].gives], "force"))
def test_force_when_given_then_a_file_of_another_kind_is_replaced(cli: Cli, browser: FakeBrowser, verb: str) -> None:
    Path("file").write_text("mine")
    words = [*words_for(verb)[:-1], "file"] if words_for(verb) else ["file"]
    refused = cli("browser", verb, "x", *words)
    assert (refused.code, Path("file").read_text(), browser.steps) == (1, "mine", [])
    assert cli("browser", verb, "--force", "x", *words).code == 0
    assert Path("file").read_bytes() == browser.content


@pytest.mark.parametrize(
    "verb", marked([name for name in STEPS if STEPS[name].gives or STEPS[name].takes], "in-machine")
)
def test_in_machine_when_given_then_no_file_comes_or_goes(cli: Cli, browser: FakeBrowser, verb: str) -> None:
    words = [*words_for(verb)[:-1], "a/file"] if words_for(verb) else ["a/file"]
    assert cli("browser", verb, "--in-machine", "x", *words).code == 0
    assert browser.step["words"][-1] == "/home/user/workspace/a/file"
    assert (browser.fetched, browser.sent) == ([], {})


def test_every_flag_of_every_verb_when_counted_then_has_its_test_here() -> None:
    own = {"--json", "--session", "--timeout", "--stdin", "--force", "--in-machine", "--follow", "--team", "--verbose"}
    own |= {"--help", "--keep-going", "--screenshot", "--ttl", "--open"}
    from cloudrouter.cli.parsing import build_parser

    for name, verb in load_verb("browser").inner.items():
        known = {f"--{option.name}" for option in step_of(name).options} if name in VERBS else set()
        long = {flag for flag in build_parser(f"browser {name}", verb).flags() if flag.startswith("--")}
        assert long <= known | own, name


# -- what follows ---------------------------------------------------------------------------------------------------


class FakeStream:
    """A stream of the machine that tells two items and ends."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.said = [{"started": {}}, *({"item": item} for item in items), {"end": {}}]
        self.asked: list[dict[str, Any]] = []
        self.closed = False

    def send_text(self, text: str) -> None:
        self.asked.append(json.loads(text))

    def receive(self, *, timeout: float | None) -> tuple[str, bytes]:
        assert timeout is None
        return "text", json.dumps(self.said.pop(0)).encode()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def follower(monkeypatch: pytest.MonkeyPatch) -> FakeStream:
    stream = FakeStream(
        [
            {"time": "2026-07-31T12:00:00.000Z", "tab": "t1", "url": "u", "type": "log", "text": "one\nmore"},
            {"time": "2026-07-31T12:00:01.000Z", "tab": "t1", "url": "http://x/", "type": "error", "text": "\x1b[2J"},
        ]
    )
    from cloudrouter.client import following

    monkeypatch.setattr(following, "open_stream", lambda _transport, _machine: stream)
    return stream


@pytest.mark.parametrize("verb", marked(FOLLOWED, "follow"))
def test_follow_when_wanted_then_prints_what_comes(
    cli: Cli, browser: FakeBrowser, follower: FakeStream, verb: str
) -> None:
    found = cli("browser", verb, "x", "-f")
    assert (found.code, browser.steps, follower.closed) == (0, [], True)
    assert follower.asked == [{"op": "browser.follow", "kind": verb, "session": None, "since_now": False}]
    first, second, third = found.out.splitlines()
    assert first.endswith("log       one")
    assert second.strip() == "more"
    assert third.endswith("error     \\x1b[2J")


def test_follow_when_as_json_then_one_object_a_line(cli: Cli, browser: FakeBrowser, follower: FakeStream) -> None:
    assert browser
    found = cli("browser", "console", "-f", "--json", "--session", "two", "x")
    assert [json.loads(line)["type"] for line in found.out.splitlines()] == ["log", "error"]
    assert follower.asked[0]["session"] == "two"


@pytest.mark.parametrize("flags", [["--clear"], ["--timeout", "5s"], ["--filter", "x"]])
def test_follow_when_another_flag_has_no_meaning_then_is_refused(
    cli: Cli, browser: FakeBrowser, flags: list[str]
) -> None:
    found = cli("browser", "network", "-f", "x", *flags)
    assert (found.code, browser.steps) == (2, [])
    assert f"-f goes without {flags[0]}." in found.err
