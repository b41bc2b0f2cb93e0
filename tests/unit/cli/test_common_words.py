"""What every verb takes: --team, --verbose and --json, before the verb and behind it; help as JSON."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator

import pytest

from cloudrouter.cli.parsing import all_parsers, build_parser
from cloudrouter.cli.table import NOT_HERE, NOT_YET, VERBS, load_verb
from cloudrouter.cli.verb import Verb
from cloudrouter.client import trace

from .conftest import MACHINE, Cli, FakeTransport

NO_TEAMS = "cloudrouter: --team acme has no effect: this router serves one user and has no teams.\n"


def find(name: str) -> Verb:
    outer, _, inner = name.partition(" ")
    verb = load_verb(outer)
    return verb.inner[inner] if inner else verb


LEAVES = [name for name in sorted(all_parsers()) if find(name).run is not None]
TTY = {"ssh", "exec", "run"}
"""Verbs whose -t means a terminal."""


def example_words(name: str) -> list[str]:
    """Words with which the verb can be called, from its own examples."""
    own = f"cloudrouter {name}"
    examples = [command for command, _ in find(name).examples if command == own or command.startswith(f"{own} ")]
    return shlex.split(min(examples, key=len))[1 + len(name.split()) :]


@pytest.fixture(autouse=True)
def nobody_listens() -> Iterator[None]:
    yield
    trace.listen(None)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[Namespace]:
    """Calls of the verb under test, which does nothing but tell one step."""
    found: list[Namespace] = []

    def run(args: Namespace) -> int:
        found.append(args)
        trace.tell("one step")
        return 0

    monkeypatch.setattr(find(request.getfixturevalue("name")), "run", run)
    return found


def marked(flag: str) -> list[object]:
    return [pytest.param(name, marks=pytest.mark.flag(f"{name} {flag}"), id=name) for name in LEAVES]


@pytest.mark.parametrize("name", marked("--team"))
def test_team_when_given_to_any_verb_then_says_that_it_has_no_effect(
    cli: Cli, name: str, seen: list[Namespace]
) -> None:
    found = cli(*name.split(), "--team", "acme", *example_words(name))
    assert (found.code, found.err) == (0, NO_TEAMS)
    assert len(seen) == 1


@pytest.mark.parametrize("name", marked("--verbose"))
def test_verbose_when_given_to_any_verb_then_tells_each_step(cli: Cli, name: str, seen: list[Namespace]) -> None:
    found = cli(*name.split(), "--verbose", *example_words(name))
    assert (found.code, found.err) == (0, "· one step\n")
    assert seen


@pytest.mark.parametrize("name", LEAVES)
def test_flags_before_the_verb_when_given_then_mean_the_same(cli: Cli, name: str, seen: list[Namespace]) -> None:
    found = cli("-v", "--json", "-t", "acme", *name.split(), *example_words(name))
    assert (found.code, found.err) == (0, f"{NO_TEAMS}· one step\n")
    assert seen[0].json is True


@pytest.mark.parametrize("name", LEAVES)
def test_short_team_when_the_verb_has_its_own_meaning_for_it_then_is_that(name: str) -> None:
    flags = build_parser(name, find(name)).flags()
    assert (flags["-t"].dest == "team") is (name not in TTY)


@pytest.mark.parametrize("words", [["-t", "acme", "ls"], ["ls", "-t", "acme"], ["--team=acme", "ls"]])
def test_team_when_written_in_any_way_then_the_result_stays_the_same(
    cli: Cli, transport: FakeTransport, words: list[str]
) -> None:
    transport.answers["GET", "/v1/machines"] = {"machines": [MACHINE], "errors": []}
    plain, found = cli("ls"), cli(*words)
    assert (found.code, found.out, found.err) == (0, plain.out, NO_TEAMS)


def test_team_when_hostile_then_is_escaped(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/machines"] = {"machines": [], "errors": []}
    assert "\x1b" not in cli("ls", "--team", "\x1b[2J").err


@pytest.mark.parametrize("name", ["start", "ls", "config set", "server"])
def test_help_as_json_when_asked_for_then_has_the_flags_and_examples(cli: Cli, name: str) -> None:
    pages = [
        cli(*name.split(), "--help", "--json"),
        cli("help", *name.split(), "--json"),
        cli("--json", "help", *name.split()),
    ]
    assert pages[0].json == pages[1].json == pages[2].json
    page = pages[0].json
    assert page["name"] == name
    assert {"names": ["-h", "--help"], "value": None, "help": "show this help", "choices": None} in page["flags"]
    assert all(set(example) == {"command", "meaning"} for example in page["examples"])


def test_help_as_json_when_of_a_group_then_lists_its_verbs(cli: Cli) -> None:
    page = cli("server", "--json").json
    assert [one["name"] for one in page["verbs"]] == ["run", "start", "status", "stop", "logs"]


def test_overview_as_json_when_asked_for_then_lists_every_verb(cli: Cli) -> None:
    for words in (["help", "--json"], ["--json"], ["--json", "help"]):
        found = cli(*words).json
        assert [one["name"] for one in found["verbs"]] == list(VERBS)


@pytest.mark.parametrize("words", [["strat", "--json"], ["--json", "strat"], ["server", "nope", "--json"]])
def test_unknown_verb_when_json_is_wanted_then_the_error_is_json(cli: Cli, words: list[str]) -> None:
    found = cli(*words)
    assert (found.code, found.json["error"]["code"]) == (2, "usage")
    assert found.err.startswith("cloudrouter: ")


@pytest.mark.parametrize("word", sorted(NOT_YET))
def test_word_of_another_version_when_not_there_yet_then_says_what_does_it_today(cli: Cli, word: str) -> None:
    missing, today, following = NOT_YET[word]
    found = cli(word, "cr_7k2m9xqd")
    assert (found.code, found.out) == (2, "")
    assert found.err.splitlines() == [
        f"cloudrouter: {missing}: there is no verb {word!r}.",
        f"Fix:  {today}",
        f"Next: cloudrouter {following}",
    ]
    assert following.split()[0] in (*VERBS, "--help")


@pytest.mark.parametrize("word", sorted(NOT_HERE))
def test_word_of_another_tool_when_tried_then_names_our_verb(cli: Cli, word: str) -> None:
    found = cli(word, "x")
    assert found.code == 2
    assert f"Fix:  `{NOT_HERE[word]}` does that.\n" in found.err
    assert word not in VERBS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("start --git https://x/y .", "`start` has no flag --git: cloning is not there yet."),
        ("start -o .", "`start` has no flag -o: it prints an id and opens nothing."),
        ("start -b main --git x", "`start` has no flag -b: cloning is not there yet."),
        ("start --git=x", "`start` has no flag --git: cloning is not there yet."),
        ("cp -r a x:b", "`cp` has no flag -r: folders are copied whole without it."),
    ],
)
def test_flag_of_another_version_when_given_then_is_refused_with_the_reason(cli: Cli, line: str, message: str) -> None:
    found = cli(*line.split())
    assert found.code in (2, 255)
    assert found.err.splitlines()[0] == f"cloudrouter: {message}"
    assert found.err.splitlines()[1].startswith("Fix:  ")


def test_overview_when_the_terminal_is_narrow_then_no_line_is_longer(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(len(line) for line in cli("help").out.splitlines()) <= 60
