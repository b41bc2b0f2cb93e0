"""From words to an exit status: overview, errors in three lines, JSON errors, interruptions."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from cloudrouter import __version__
from cloudrouter.cli import main
from cloudrouter.cli.table import VERBS
from cloudrouter.wire.errors import NotFound, Unreachable

from .conftest import MACHINE, Cli, FakeTransport


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_overview_when_asked_for_then_names_every_verb(cli: Cli, words: list[str]) -> None:
    found = cli(*words)
    assert (found.code, found.err) == (0, "")
    for name, (_module, summary, group) in VERBS.items():
        assert f"  {name:<12}{summary}\n" in found.out
        assert f"{group}\n" in found.out
    assert all(len(line) <= 90 for line in found.out.splitlines())


@pytest.mark.parametrize("words", [["ls", "--help"], ["help", "ls"], ["list", "-h"]])
def test_help_of_a_verb_when_asked_for_then_shows_flags_and_examples(cli: Cli, words: list[str]) -> None:
    found = cli(*words)
    assert found.code == 0
    assert found.out.startswith("Usage: cloudrouter ls [flags]\n")
    assert "--json" in found.out
    assert found.out.count("  cloudrouter ls") >= 2


@pytest.mark.parametrize("words", [["server"], ["server", "--help"], ["help", "server"]])
def test_help_of_a_group_when_asked_for_then_lists_its_verbs(cli: Cli, words: list[str]) -> None:
    found = cli(*words)
    assert found.code == 0
    assert all(f"  {name}" in found.out for name in ("run", "start", "status", "stop", "logs"))


def test_version_when_printed_then_is_ours(cli: Cli) -> None:
    assert cli("version") == (0, f"cloudrouter {__version__}\n", "")


@pytest.mark.usefixtures("no_router")
def test_version_as_json_when_no_router_runs_then_starts_none(cli: Cli) -> None:
    assert cli("version", "--json").json["router_version"] is None


@pytest.mark.parametrize(
    ("words", "message", "fix", "following"),
    [
        ("strat", "There is no verb 'strat' in cloudrouter.", "Did you mean start?", "--help"),
        ("destroy cr_x", "There is no verb 'destroy' in cloudrouter.", "`delete` does that.", "delete cr_x"),
        ("destroy", "There is no verb 'destroy' in cloudrouter.", "`delete` does that.", "delete ID"),
        ("ls --alll", "`ls` has no flag --alll.", "Did you mean --all?", "ls --help"),
        ("config sho", "`config` has no verb 'sho'.", "Did you mean show?", "config --help"),
        (
            "--all ls",
            "cloudrouter has no flag --all before the verb.",
            "Before the verb there may be --json, -v and -t TEAM; all other flags stand after it.",
            "--help",
        ),
    ],
)
def test_bad_words_when_given_then_three_lines_and_status_2(
    cli: Cli, words: str, message: str, fix: str, following: str
) -> None:
    found = cli(*words.split())
    assert (found.code, found.out) == (2, "")
    assert found.err.splitlines() == [f"cloudrouter: {message}", f"Fix:  {fix}", f"Next: cloudrouter {following}"]


def test_unknown_verb_when_hostile_then_is_escaped(cli: Cli) -> None:
    assert "\x1b" not in cli("st\x1b[2J").err


def test_error_when_json_is_wanted_then_is_on_stdout_too(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/machines/cr_x"] = NotFound("There is no machine 'cr_x'.", fix="Did you mean cr_y?")
    found = cli("status", "cr_x", "--json")
    assert found.code == 4
    assert found.json == {
        "error": {
            "code": "not_found",
            "message": "There is no machine 'cr_x'.",
            "fix": "Did you mean cr_y?",
            "next": "",
        }
    }
    assert found.err == "cloudrouter: There is no machine 'cr_x'.\nFix:  Did you mean cr_y?\n"


def test_bad_words_when_json_is_wanted_then_are_json_too(cli: Cli) -> None:
    found = cli("ls", "--json", "--bogus")
    assert (found.code, found.json["error"]["code"]) == (2, "usage")


def test_bad_words_of_ssh_when_the_command_has_json_then_it_is_not_ours(cli: Cli) -> None:
    found = cli("ssh", "--bogus", "cr_x", "tool", "--json")
    assert (found.code, found.out) == (255, "")
    assert found.err.startswith("cloudrouter: `ssh` has no flag --bogus.\n")


def test_hostile_error_text_when_shown_then_is_escaped(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/machines"] = Unreachable("bad \x1b]0;title\x07", fix="a\nb", next="c\rd")
    found = cli("ls")
    assert found.err == "cloudrouter: bad \\x1b]0;title\\x07\nFix:  a\\nb\nNext: c\\rd\n"


@pytest.mark.parametrize(("failure", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 141)])
def test_ending_when_somebody_else_ends_us_then_is_quiet(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int
) -> None:
    monkeypatch.setattr(main, "_forget_stdout", lambda: None)
    transport.answers["GET", "/v1/machines"] = failure
    assert cli("ls") == (code, "", "")


def test_defect_when_met_then_one_line_and_where_to_look(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/machines"] = {"unexpected": 1}
    found = cli("ls")
    assert found.code == 1
    assert found.err.splitlines() == [
        "cloudrouter: Something unforeseen happened: KeyError: 'machines'",
        "Fix:  Run it again with CLOUDROUTER_DEBUG=1 to see where.",
        "Next: cloudrouter server logs",
    ]


def test_defect_when_debugging_then_shows_the_traceback(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDROUTER_DEBUG", "1")
    transport.answers["GET", "/v1/machines"] = {"unexpected": 1}
    assert "Traceback (most recent call last)" in cli("ls").err


RUN = "import sys; from cloudrouter.cli.main import run_process; run_process(sys.argv[1:])"


def spawn(*words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", RUN, *words], check=False, timeout=60, **more)


def test_process_when_its_reader_is_gone_then_ends_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = spawn("--help", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_process_when_the_disk_is_full_then_says_so() -> None:
    with open("/dev/full", "wb") as full:
        done = spawn("--help", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith(b"cloudrouter: Reading or writing failed: No space left on device.\n")


def test_process_when_stdout_is_closed_then_does_not_fail() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" version >&-', sys.executable, RUN],
        check=False, timeout=60, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def test_process_when_the_locale_cannot_spell_a_character_then_escapes_it() -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = spawn("nö", env=env, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"'n\\xf6'" in done.stderr


def test_machine_fixture_when_compared_with_the_wire_then_has_its_fields() -> None:
    from dataclasses import fields

    from cloudrouter.wire.machines import Machine

    assert {field.name for field in fields(Machine)} == set(MACHINE)
