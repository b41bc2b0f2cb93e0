"""Reading words: whose flag is whose, examples that are true, errors that help."""

from __future__ import annotations

import os
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.cli.parsing import all_parsers, build_parser, parse_words
from cloudrouter.cli.table import ALIASES, NOT_HERE, VERBS, load_verb
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError


def find(name: str) -> Verb:
    outer, _, inner = name.partition(" ")
    verb = load_verb(outer)
    return verb.inner[inner] if inner else verb


NAMES = sorted(all_parsers())
LEAVES = [name for name in NAMES if find(name).run is not None]


@pytest.mark.parametrize("name", NAMES)
def test_every_example_when_read_by_the_real_parser_then_is_understood(name: str) -> None:
    examples = find(name).examples
    assert len(examples) >= 2
    for command, meaning in examples:
        product, *words = shlex.split(command)
        assert product == "cloudrouter"
        assert meaning
        assert " ".join(words).startswith(name) or " " not in name
        verb_name = words[0]
        verb, rest = load_verb(verb_name), words[1:]
        if verb.alone and not rest:
            verb_name, verb = f"{verb_name} {verb.alone}", verb.inner[verb.alone]
        elif verb.inner:
            verb_name, verb, rest = f"{verb_name} {rest[0]}", verb.inner[rest[0]], rest[1:]
        parse_words(verb_name, verb, rest)


@pytest.mark.parametrize("name", LEAVES)
def test_every_verb_when_listed_then_takes_json_and_explains_each_flag(name: str) -> None:
    parser = build_parser(name, find(name))
    assert "--json" in parser.flags()
    assert all(action.help for action in parser._actions)


@pytest.mark.parametrize("name", NAMES)
def test_help_when_printed_then_fits_80_columns_up_to_its_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = build_parser(name, find(name)).format_help()
    before = text.partition("\nVerbs:\n")[0].partition("\nExamples:\n")[0]
    assert all(len(line) <= 80 for line in before.splitlines()), before


def test_aliases_and_refused_words_when_looked_up_then_lead_to_verbs() -> None:
    assert set(ALIASES.values()) <= set(VERBS)
    assert set(NOT_HERE.values()) <= set(VERBS)
    assert not set(ALIASES) & set(VERBS)


def words_of(name: str, line: str) -> tuple[list[str], bool]:
    args = parse_words(name, load_verb(name), shlex.split(line))
    return args.command, args.as_argv


@pytest.mark.parametrize(
    ("line", "command", "as_argv"),
    [
        ("cr_x ls -la --json", ["ls", "-la", "--json"], False),
        ("--json cr_x ls", ["ls"], False),
        ("cr_x --bg 'npm run dev'", ["npm run dev"], False),
        ("cr_x -- ls -la", ["ls", "-la"], True),
        ("cr_x -- -x --", ["-x", "--"], True),
        ("cr_x echo -- hi", ["echo", "--", "hi"], False),
        ("--cwd /tmp cr_x pwd", ["pwd"], False),
        ("--cwd=/tmp cr_x pwd", ["pwd"], False),
        ("cr_x --timeout 5 sleep 9", ["sleep", "9"], False),
        ("cr_x", [], False),
        ("cr_x -tn --env A=1 --env B sh -c 'a b'", ["sh", "-c", "a b"], False),
    ],
)
def test_ssh_words_when_split_then_our_flags_end_at_the_command(line: str, command: list[str], as_argv: bool) -> None:
    assert words_of("ssh", line) == (command, as_argv)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_ssh_words_after_dashes_when_split_then_arrive_untouched(command: list[str]) -> None:
    args = parse_words("ssh", load_verb("ssh"), ["--json", "cr_x", "--", *command])
    assert (args.command, args.as_argv, args.json, args.machine) == (command, True, True, "cr_x")


@given(st.lists(st.text(), max_size=4))
def test_ssh_words_after_a_plain_word_when_split_then_arrive_untouched(rest: list[str]) -> None:
    args = parse_words("ssh", load_verb("ssh"), ["cr_x", "prog", *rest])
    assert (args.command, args.as_argv) == (["prog", *rest], False)


@pytest.mark.parametrize(
    ("line", "folder", "command", "as_argv"),
    [
        (". pytest -q", ".", ["pytest", "-q"], False),
        ("here 'npm test'", "here", ["npm test"], False),
        ("pytest -q", None, ["pytest", "-q"], False),
        ("here --size small pytest", "here", ["pytest"], False),
        ("-- here --size small", None, ["here", "--size", "small"], True),
        ("here -- cmd -x", "here", ["cmd", "-x"], True),
        ("/usr/bin/env A=1", None, ["/usr/bin/env", "A=1"], False),
        ("/no/such/folder pytest", "/no/such/folder", ["pytest"], False),
        ("./missing pytest", "./missing", ["pytest"], False),
        ("'./run.sh --fast'", None, ["./run.sh --fast"], False),
        ("pytest here", None, ["pytest", "here"], False),
        (". here", ".", ["here"], False),
    ],
)
def test_run_words_when_split_then_the_first_is_a_folder_only_if_it_looks_like_one(
    line: str, folder: str | None, command: list[str], as_argv: bool, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    os.mkdir("here")
    args = parse_words("run", load_verb("run"), shlex.split(line))
    assert (args.folder, args.command, args.as_argv) == (folder, command, as_argv)


@pytest.mark.parametrize(
    "line",
    [
        "cr_x -r data ./data",
        "-r data cr_x ./data",
        "cr_x ./data -r data",
        "cr_x ./data --remote=data",
        "-rdata cr_x ./data",
    ],
)
def test_upload_words_when_flags_stand_anywhere_then_mean_the_same(line: str) -> None:
    args = parse_words("upload", load_verb("upload"), shlex.split(line))
    assert (args.machine, args.local, args.remote, args.remote_word) == ("cr_x", "./data", "data", None)


def test_upload_words_when_behind_dashes_then_may_begin_with_one() -> None:
    args = parse_words("upload", load_verb("upload"), ["cr_x", "--json", "--", "-odd"])
    assert (args.local, args.json) == ("-odd", True)


@pytest.mark.parametrize(
    ("name", "words", "message", "fix"),
    [
        ("ls", ["--jsn"], "`ls` has no flag --jsn.", "Did you mean --json?"),
        ("ls", ["extra"], "`ls` does not take 'extra'.", "Usage: cloudrouter ls [flags]"),
        ("ls", ["--js"], "`ls` has no flag --js.", "Did you mean --json?"),
        ("upload", [], "`upload` needs ID.", "Usage: cloudrouter upload [flags] ID [LOCAL] [REMOTE]"),
        ("ssh", [], "`ssh` needs ID.", "Usage: cloudrouter ssh [flags] ID [CMD...]"),
        ("start", ["--size", "huge"], "--size cannot be 'huge'.", "Choose from small, medium, large, xlarge."),
        ("start", ["--cpu", "many"], "--cpu: 'many' is not a number of cpus.", "Write 2 or 0.5."),
        ("start", ["--memory", "lots"], "--memory: 'lots' is not an amount of memory.", "Write 512m"),
        ("start", ["--timeout", "0"], "--timeout: '0' is no time at all.", "Write 600"),
        ("start", ["--name"], "--name needs a value.", "Usage: cloudrouter start"),
        ("logs", ["cr_x", "--tail", "-3"], "--tail: '-3' is not a whole number.", "Usage:"),
        ("version", ["c d"], "`version` does not take 'c d'.", "Usage:"),
        ("logs", ["cr_x", "--tail", "x\x1b[2J"], "--tail: 'x\\x1b[2J' is not a whole number.", "Usage:"),
    ],
)
def test_bad_words_when_parsed_then_raise_a_sentence_and_a_remedy(
    name: str, words: list[str], message: str, fix: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_words(name, load_verb(name), words)
    assert caught.value.message == message
    assert caught.value.fix.startswith(fix)
    assert caught.value.next == f"cloudrouter {name} --help"


@given(st.lists(st.text(max_size=8), max_size=6), st.sampled_from(LEAVES))
def test_any_words_when_parsed_then_only_usage_errors_come(words: list[str], name: str) -> None:
    verb = find(name)
    if {"-h", "--help"} & set(words) or any(word.startswith("-") and "h" in word for word in words):
        return
    told = None
    try:
        parse_words(name, verb, words)
    except UsageError as error:
        told = error
    assert told is None or (told.message.isprintable() and told.next)
