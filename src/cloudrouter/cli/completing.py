"""What could stand at the cursor: called by the completion scripts at every TAB, so it asks only a router that runs."""

from __future__ import annotations

import sys

from cloudrouter.cli.output import escape
from cloudrouter.cli.table import ALIASES, VERBS, aliases_of, load_verb
from cloudrouter.wire.errors import CloudRouterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from cloudrouter.cli.parsing import Parser
    from cloudrouter.cli.verb import Verb

    Items = Iterable[tuple[str, str]]

WORDS, FILES, FOLDERS = "words", "files", "folders"
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,:/@=+")
"""What every shell takes as it is; a candidate with anything else in it could run or become something else."""
LEADING = (
    ("--json", "print JSON on stdout"),
    ("--verbose", "say what is asked"),
    ("--team", "no effect"),
    ("--version", "print the version"),
    ("--help", "show every verb"),
)


class Found:
    """The answer: candidates with a word on each, and what of the file system may stand there too."""

    def __init__(self, items: Items = (), kind: str = WORDS, *, joins: bool = False) -> None:
        self.items = list(items)
        self.kind = kind
        self.joins = joins
        """Whether something follows a candidate without a blank."""


def complete(words: list[str]) -> int:
    """Print the candidates for a shell; `words` are the shell's name, then the line or its words up to the cursor."""
    shell, rest = words[0] if words else "", words[1:]
    if shell in ("bash", "tcsh"):
        rest = split_line(rest[0] if rest else "")[1:]
    typed, current = rest[:-1], rest[-1] if rest else ""
    try:
        found = candidates(typed, current)
    except CloudRouterError:
        found = Found()  # Somebody is typing: a broken configuration or a router that is busy is told later.
    matching = [(word, meaning) for word, meaning in found.items if word.startswith(current)]
    sys.stdout.write("".join(line + "\n" for line in _written(shell, found, matching, current)))
    return 0


def _written(shell: str, found: Found, items: list[tuple[str, str]], current: str) -> list[str]:
    """In the form that the shell's script reads: a head line, then one candidate a line."""
    clean = [(word, escape(" ".join(meaning.split()))) for word, meaning in items if word and PLAIN.issuperset(word)]
    if shell == "tcsh":
        return [word for word, _ in clean]
    head = f"{found.kind} {'joins' if found.joins else 'ends'}"
    if shell == "bash":
        # bash breaks words at : and =, and replaces only what stands behind the last of them.
        done = max(current.rfind(":"), current.rfind("=")) + 1
        return [head, *(word[done:] for word, _ in clean)]
    if shell == "zsh":
        return [head, *(f"{_zsh(word)}:{meaning}" for word, meaning in clean)]
    return [head, *(f"{word}\t{meaning}" for word, meaning in clean)]


def _zsh(word: str) -> str:
    return word.replace("\\", "\\\\").replace(":", "\\:")


def split_line(line: str) -> list[str]:
    """The words of a line that is being typed, quotes and backslashes read; the last one is at the cursor."""
    words, word, quote, at = [], "", "", 0
    while at < len(line):
        char = line[at]
        if char == "\\" and quote != "'" and at + 1 < len(line):
            word += line[at + 1]
            at += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif not quote and char in " \t":
            if word or (at and line[at - 1] in "'\""):
                words.append(word)
            word = ""
        else:
            word += char
        at += 1
    return [*words, word]


def candidates(typed: list[str], current: str) -> Found:
    """What could be the word `current`, after those words behind the program's name."""
    from cloudrouter.cli.main import split_leading

    _, typed = split_leading(typed)
    if not typed:
        return Found(LEADING) if current.startswith("-") else Found(_verbs(current))
    if typed[0] == "help":
        return _after_help(typed[1:], current)
    name = ALIASES.get(typed[0], typed[0])
    if name not in VERBS:
        return Found()
    verb, rest = load_verb(name), typed[1:]
    if verb.inner:
        if not rest and not current.startswith("-"):
            return Found(_inner(verb))
        if rest == ["help"]:
            return Found(_inner(verb))
        chosen = rest[0] if rest and rest[0] in verb.inner else verb.alone
        if chosen:
            name, rest = f"{name} {chosen}", rest[1:] if rest and rest[0] == chosen else rest
            verb = verb.inner[chosen]
    from cloudrouter.cli.parsing import build_parser

    return _in_verb(name, build_parser(name, verb), rest, current)


def _verbs(current: str) -> Items:
    """Every verb; another name of one only when it is being typed."""
    for name, (_module, summary, _group) in VERBS.items():
        yield name, summary
        if current:
            yield from ((alias, summary) for alias in aliases_of(name))


def _inner(verb: Verb) -> Items:
    return [(name, one.summary.partition(". ")[0]) for name, one in verb.inner.items()]


def _after_help(typed: list[str], current: str) -> Found:
    if not typed:
        return Found(_verbs(current))
    name = ALIASES.get(typed[0], typed[0])
    return Found(_inner(load_verb(name)) if name in VERBS and len(typed) == 1 else ())


def _in_verb(name: str, parser: Parser, typed: list[str], current: str) -> Found:
    """Behind a verb: a flag, a flag's value, a word of the verb's own, or anything in a command."""
    from cloudrouter.cli import candidates as sources
    from cloudrouter.cli.parsing import Words

    split = Words(parser.flags(), typed, parser.verb.before_command, texts=parser.verb.texts)
    if split.command or split.as_argv:
        return Found(kind=FILES)
    if split.waiting is not None:
        return sources.for_action(name, split.waiting, split.positionals)
    if current.startswith("--") and "=" in current:
        flag = current.partition("=")[0]
        action = parser.flags().get(flag)
        found = sources.for_action(name, action, split.positionals) if action is not None else Found()
        return Found(((f"{flag}={word}", meaning) for word, meaning in found.items), found.kind)
    if current.startswith("-") and current != "-":
        return Found(_flags(parser, current))
    action = _positional(parser, len(split.positionals))
    return Found(kind=FILES) if action is None else sources.for_action(name, action, split.positionals)


def _flags(parser: Parser, current: str) -> Items:
    """The long flags; short ones when a single dash is typed."""
    for written, action in parser.flags().items():
        if written.startswith("--") or not current.startswith("--"):
            yield written, action.help or ""


def _positional(parser: Parser, at: int) -> argparse.Action | None:
    """The word of the verb that stands at this place; None where none does."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if action.option_strings or action.dest == "command":
            continue
        if at == 0 or action.nargs in ("*", "+"):
            return action
        at -= 1
    return None
