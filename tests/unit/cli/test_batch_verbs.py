"""Verbs on several machines: --all with its question, labels that narrow, one line and one JSON entry each."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from cloudrouter.cli import output
from cloudrouter.wire import states
from cloudrouter.wire.errors import NotFound, NotRunning

from .conftest import MACHINE, Cli, FakeTransport

ONE = {**MACHINE, "id": "cr_aaaaaaaa", "name": "one"}
TWO = {**MACHINE, "id": "cr_bbbbbbbb", "name": ""}
STATES = {
    "stop": {"resuming", "running", "starting", "stopping"},
    "resume": {"paused", "stopped"},
    "extend": set(states.NEXT) - {"deleting", "gone", "pooled"},
    "delete": set(states.NEXT) - {"gone", "pooled"},
}
CHANGING = sorted(STATES)


def act_of(verb: str, machine: dict[str, Any]) -> tuple[str, str]:
    path = f"/v1/machines/{machine['id']}"
    return ("DELETE", path) if verb == "delete" else ("POST", f"{path}/{verb}")


class Answers(dict[tuple[str, str], Any]):
    """Lists ONE and TWO, whatever the query, and lets every verb succeed."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    def __missing__(self, key: tuple[str, str]) -> Any:
        method, path = key
        if method == "GET" and path.partition("?")[0] == "/v1/machines":
            self.queries.append(path.partition("?")[2])
            return {"machines": [ONE, TWO]}
        for machine in (ONE, TWO):
            if path.startswith(f"/v1/machines/{machine['id']}"):
                return {**machine, "expires_at": "2026-07-31T12:00:00.000Z"}
        raise KeyError(key)


@pytest.fixture
def answers(transport: FakeTransport) -> Answers:
    transport.answers = made = Answers()
    return made


def type_at_terminal(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda _stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def changed(transport: FakeTransport) -> list[tuple[str, str]]:
    return sorted((method, path) for method, path, _body in transport.asked if method != "GET")


@pytest.mark.flag("stop --all")
@pytest.mark.flag("resume --all")
@pytest.mark.flag("extend --all")
@pytest.mark.flag("delete --all")
@pytest.mark.flag("stop --yes")
@pytest.mark.flag("resume --yes")
@pytest.mark.flag("extend --yes")
@pytest.mark.flag("delete --yes")
@pytest.mark.parametrize("verb", CHANGING)
def test_all_when_yes_is_said_then_does_it_to_every_machine_in_a_fitting_state(
    cli: Cli, transport: FakeTransport, answers: Answers, verb: str
) -> None:
    found = cli(verb, "--all", "-y")
    assert found.code == 0
    assert changed(transport) == sorted([act_of(verb, ONE), act_of(verb, TWO)])
    assert [line.split()[0] for line in found.out.splitlines()] == ["cr_aaaaaaaa", "cr_bbbbbbbb"]
    (query,) = answers.queries
    assert {word.removeprefix("state=") for word in query.split("&")} == STATES[verb]
    assert transport.versions_checked == 1


@pytest.mark.flag("stop --label")
@pytest.mark.flag("resume --label")
@pytest.mark.flag("extend --label")
@pytest.mark.flag("delete --label")
@pytest.mark.flag("status --label")
@pytest.mark.flag("inspect --label")
@pytest.mark.flag("status --all")
@pytest.mark.flag("inspect --all")
@pytest.mark.parametrize("verb", [*CHANGING, "status", "inspect"])
def test_all_when_narrowed_by_labels_then_the_router_is_asked_for_these(
    cli: Cli, transport: FakeTransport, answers: Answers, verb: str
) -> None:
    yes = ["--yes"] if verb in CHANGING else []
    found = cli(verb, "--all", "-l", "agent=a b", "--label", "run", *yes, "--json")
    assert found.code == 0
    assert answers.queries[0].split("&")[:2] == ["label=agent%3Da%20b", "label=run"]
    assert [one["id"] for one in found.json["machines"]] == ["cr_aaaaaaaa", "cr_bbbbbbbb"]
    assert found.json["errors"] == []
    assert transport.versions_checked == 1  # one of before would take no notice of the label


@pytest.mark.parametrize("verb", CHANGING)
@pytest.mark.parametrize(
    ("typed", "goes_on"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_all_when_asked_at_a_terminal_then_only_yes_goes_on(
    cli: Cli,
    transport: FakeTransport,
    answers: Answers,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    typed: str,
    goes_on: bool,
) -> None:
    type_at_terminal(monkeypatch, typed)
    found = cli(verb, "--all")
    loss = " with everything in them" if verb == "delete" else ""
    assert f"{verb.capitalize()} 2 machines{loss}: cr_aaaaaaaa (one), cr_bbbbbbbb? [y/N] " in found.err
    assert found.code == (0 if goes_on else 1)
    assert bool(changed(transport)) is goes_on
    assert ("Nothing was done." in found.err) is not goes_on


@pytest.mark.parametrize("verb", CHANGING)
def test_all_when_nobody_can_be_asked_then_status_2_and_nothing_happens(
    cli: Cli, transport: FakeTransport, answers: Answers, verb: str
) -> None:
    found = cli(verb, "--all")
    assert found.code == 2
    assert "--yes" in found.err
    assert changed(transport) == []


def test_all_when_there_are_many_then_the_question_names_ten(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = [{**MACHINE, "id": f"cr_{number:08}", "name": ""} for number in range(12)]

    class Many(dict[Any, Any]):
        def __missing__(self, _key: Any) -> Any:
            return {"machines": machines}

    transport.answers = Many()
    type_at_terminal(monkeypatch, "n\n")
    assert "Delete 12 machines" in (told := cli("delete", "--all").err)
    assert "cr_00000009 and 2 more?" in told


@pytest.mark.parametrize("verb", CHANGING)
def test_all_when_there_is_none_then_is_success_without_a_question(
    cli: Cli, transport: FakeTransport, verb: str
) -> None:
    class Empty(dict[Any, Any]):
        def __missing__(self, _key: Any) -> Any:
            return {"machines": []}

    transport.answers = Empty()
    found = cli(verb, "--all", "--json")
    assert (found.code, found.json) == (0, {"machines": [], "errors": []})
    assert f"There is no machine to {verb}." in found.err


@pytest.mark.parametrize("verb", [*CHANGING, "status", "inspect"])
@pytest.mark.parametrize("words", [["--all", "x"], ["-l", "a=b"], ["-l", "a=b", "x"], []])
def test_words_when_they_contradict_or_name_nothing_then_status_2(
    cli: Cli, transport: FakeTransport, verb: str, words: list[str]
) -> None:
    assert cli(verb, *words).code == 2
    assert transport.asked == []


@pytest.mark.flag("stop --json")
@pytest.mark.flag("resume --json")
@pytest.mark.flag("extend --json")
@pytest.mark.flag("status --json")
@pytest.mark.parametrize("verb", ["stop", "resume", "extend", "status"])
def test_one_or_several_when_named_then_json_is_one_object_or_both_lists(
    cli: Cli, transport: FakeTransport, answers: Answers, verb: str
) -> None:
    assert cli(verb, "cr_aaaaaaaa", "--json").json["id"] == "cr_aaaaaaaa"
    key = ("GET", "/v1/machines/gone") if verb == "status" else ("POST", f"/v1/machines/gone/{verb}")
    answers[key] = NotRunning("gone is failed.", next="cloudrouter delete gone")
    found = cli(verb, "cr_aaaaaaaa", "gone", "cr_bbbbbbbb", "cr_aaaaaaaa", "--json")
    assert found.code == 6
    assert [one["id"] for one in found.json["machines"]] == ["cr_aaaaaaaa", "cr_bbbbbbbb"]
    assert [(one["ref"], one["code"], one["next"]) for one in found.json["errors"]] == [
        ("gone", "not_running", "cloudrouter delete gone")
    ]
    assert "cloudrouter: gone is failed." in found.err


def test_status_when_several_are_named_then_prints_each(cli: Cli, answers: Answers) -> None:
    lines = cli("status", "cr_aaaaaaaa", "cr_bbbbbbbb").out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "cr_aaaaaaaa  one  running",
        "cr_bbbbbbbb  running",
    ]


@pytest.mark.flag("extend --seconds")
def test_extend_when_written_as_ttl_then_each_gets_that_time(
    cli: Cli, transport: FakeTransport, answers: Answers
) -> None:
    found = cli("ttl", "cr_aaaaaaaa", "cr_bbbbbbbb", "--seconds", "1h30m")
    assert [body for _method, _path, body in transport.asked] == [{"seconds": 5400.0}] * 2
    assert all(line.endswith(", 1h 30m from now") for line in found.out.splitlines())
    assert "1h" in cli("extend", "--help").out


@pytest.mark.flag("inspect --json")
def test_inspect_when_printed_then_is_json_in_any_case(cli: Cli, transport: FakeTransport) -> None:
    whole = {**MACHINE, "spec": {}, "events": []}
    transport.answers["GET", "/v1/machines/a/inspect"] = whole
    transport.answers["GET", "/v1/machines/b/inspect"] = NotFound("There is no machine 'b'.")
    plain, compact = cli("inspect", "a"), cli("inspect", "a", "--json")
    assert plain.json == compact.json == whole
    assert (len(plain.out.splitlines()) > 10, len(compact.out.splitlines())) == (True, 1)
    both = cli("inspect", "a", "b")
    assert both.code == 4
    assert both.json["machines"] == [whole]
    assert both.json["errors"][0]["ref"] == "b"


@pytest.mark.flag("rename --clear")
@pytest.mark.flag("rename --json")
def test_rename_when_asked_then_sends_the_name_or_none(cli: Cli, transport: FakeTransport) -> None:
    renamed = {**MACHINE, "name": "web-2"}
    transport.answers["POST", "/v1/machines/a/rename"] = renamed
    assert cli("rename", "a", "web-2") == (0, "cr_7k2m9xqd  web-2  running\n", "")
    assert cli("rename", "a", "--clear", "--json").json == renamed
    assert cli("rename", "a", "").code == 0
    assert [body for _method, _path, body in transport.asked] == [{"name": "web-2"}, {"name": ""}, {"name": ""}]
    assert cli("rename", "a").code == cli("rename", "a", "b", "--clear").code == cli("rename").code == 2
