"""Writes docs/cli.md from the parsers themselves: `python -m cloudrouter.cli.reference [FILE]`."""

from __future__ import annotations

import argparse
import os
import sys

from cloudrouter.cli.parsing import Parser, all_parsers
from cloudrouter.cli.table import PRODUCT, VERBS, aliases_of, load_verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudrouter.cli.verb import Verb

DEFAULT_FILE = "docs/cli.md"

HEAD = """\
# The command line

This page is generated from the program's own help (`make docs`); change that instead.

The result of a verb goes to stdout, progress and everything else for people to stderr. Every verb takes `--json`.
An `ID` is a machine's id, its name, or at least four letters of its id; `delete` wants the whole id or the name.
Durations are written `600`, `90s`, `15m`, `1h`; amounts of memory `512m`, `8g`, a bare number is MiB.

Errors are three lines on stderr: what happened, `Fix:` what to do about it, `Next:` the command that comes next.
With `--json` the same is on stdout as `{"error": {"code", "message", "fix", "next"}}`.

| status | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | the words on the command line cannot be right |
| 3 | credentials refused |
| 4 | not found, or not clear which one is meant |
| 5 | no capacity, or more than may be had |
| 6 | not running |
| 124 | not done in time |
| 130 | Ctrl-C |

`ssh`, `exec` and `run` return the status of the command itself; 255 is then a failure of CloudRouter, and stderr
begins with `cloudrouter:`.
"""


def reference() -> str:
    """The whole page."""
    return HEAD + "\n" + "\n".join(_sections()).rstrip() + "\n"


def by_group() -> dict[str, list[tuple[str, str]]]:
    """Group -> (verb, one-line help) in the order of the table."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, (_module, summary, group) in VERBS.items():
        groups.setdefault(group, []).append((name, summary))
    return groups


def _sections() -> Iterator[str]:
    parsers = all_parsers()
    for group, rows in by_group().items():
        yield f"## {group}\n"
        for name, summary in rows:
            verb = load_verb(name)
            yield from _section("###", name, summary, verb, parsers[name])
            if any(inner.group for inner in verb.inner.values()):
                yield from _grouped(name, verb, parsers)
                continue
            for inner_name, inner in verb.inner.items():
                whole = f"{name} {inner_name}"
                yield from _section("####", whole, "", inner, parsers[whole])


def _grouped(name: str, verb: Verb, parsers: dict[str, Parser]) -> Iterator[str]:
    """Very many verbs below one: a table for each group, the flags that nearly all have once, and an example each."""
    whole = {inner: parsers[f"{name} {inner}"] for inner in verb.inner}
    common = _common_flags(whole)
    yield f"Of the {len(whole)} verbs below, these flags are on all but a few:\n"
    yield "| flag | meaning |\n|---|---|\n" + "\n".join(_row(action) for action in common.values()) + "\n"
    for group in dict.fromkeys(inner.group for inner in verb.inner.values()):
        members = {inner: one for inner, one in verb.inner.items() if one.group == group}
        yield f"#### {name}: {group}\n"
        rows = [_verb_row(inner, one, whole[inner], common) for inner, one in members.items()]
        yield "| verb | what it does | flags of its own |\n|---|---|---|\n" + "\n".join(rows) + "\n"
        width = max(len(one.examples[0][0]) for one in members.values())
        shown = [f"    {one.examples[0][0]:<{width}}  # {one.examples[0][1]}" for one in members.values()]
        yield "\n".join(shown) + "\n"


def _common_flags(parsers: dict[str, Parser]) -> dict[str, argparse.Action]:
    """The flags, by how they are written, that more than nine in ten of these parsers have."""
    found: dict[str, list[argparse.Action]] = {}
    for parser in parsers.values():
        for action in _own(parser):
            if action.option_strings:
                found.setdefault(", ".join(action.option_strings), []).append(action)
    return {word: actions[0] for word, actions in found.items() if len(actions) * 10 > len(parsers) * 9}


def _verb_row(name: str, verb: Verb, parser: Parser, common: dict[str, argparse.Action]) -> str:
    flags = []
    for action in _own(parser):
        written = ", ".join(action.option_strings)
        if written and written not in common:
            value = "" if action.nargs == 0 else f" {action.metavar}"
            flags.append(f"`{written}{value}` {action.help or ''}")
    cells = (f"`{name} {verb.usage.replace('[flags] ', '')}`", verb.summary, "; ".join(flags))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _own(parser: Parser) -> list[argparse.Action]:
    return [action for action in parser._actions if action not in parser.common]  # noqa: SLF001 - no other way to ask


def _section(level: str, name: str, summary: str, verb: Verb, parser: Parser) -> Iterator[str]:
    yield f"{level} {PRODUCT} {name}{f': {summary}' if summary else ''}\n"
    yield f"    {PRODUCT} {name} {verb.usage}".rstrip() + "\n"
    yield f"{verb.description}\n"
    other = aliases_of(name)
    if other:
        yield f"Also written: {', '.join(f'`{one}`' for one in other)}.\n"
    rows = list(map(_row, _own(parser)))
    if rows:
        yield "| word or flag | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"
    examples = [f"    # {meaning}\n    {command}" for command, meaning in verb.examples]
    yield "\n".join(examples) + "\n"


def _row(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    written = ", ".join(action.option_strings) + value if action.option_strings else str(action.metavar)
    meaning = (action.help or "").replace("|", "\\|")
    return f"| `{written.strip()}` | {meaning} |"


def main(argv: list[str]) -> int:
    """Write the page to the file named, or to docs/cli.md."""
    path = argv[0] if argv else DEFAULT_FILE
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(reference())
    print(f"{path} is written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
