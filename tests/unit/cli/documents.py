"""Every command of ours that a page shows, found as a shell would find it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cloudrouter.cli.parsing import parse_words
from cloudrouter.cli.table import ALIASES, VERBS, load_verb
from cloudrouter.wire.errors import UsageError

ROOT = Path(__file__).parents[3]
CLI_PAGE = ROOT / "docs" / "cli.md"
PROGRAMS = ("cloudrouter", "cr")
ANY_VERB = "VERB"
"""What pages write where every verb is meant."""
_FENCE = re.compile(r"^( *)```(\S*).*?\n(.*?)^\1```", re.S | re.M)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_SHELLS = {"", "sh", "bash", "console", "shell", "text"}
_START = re.compile(r"(?:^|[\s(;&|`])(?:cloudrouter|cr)\s")


class Shown(NamedTuple):
    """One command and where it stands."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def pages() -> list[Path]:
    """Every page for people or agents, but for generated ones of other generators."""
    found = [ROOT / name for name in ("README.md", "AGENTS.md", "CHANGELOG.md", "bench/README.md")]
    return [*found, *sorted((ROOT / "skills").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def commands_of(path: Path) -> list[Shown]:
    """All commands of a page, each once."""
    usages = _usages() if path == CLI_PAGE else set()
    lines = [line for line in _lines(path.read_text()) if line not in usages]
    name = str(path.relative_to(ROOT))
    return list(dict.fromkeys(Shown(name, words) for line in lines for words in commands_in(line)))


def _usages() -> set[str]:
    """The usage lines of the generated page: made from the parsers themselves, and no commands."""
    found = set()
    for name in VERBS:
        verb = load_verb(name)
        found.add(f"cloudrouter {name} {verb.usage}".rstrip())
        found |= {f"cloudrouter {name} {inner} {one.usage}".rstrip() for inner, one in verb.inner.items()}
    return found


def _lines(text: str) -> Iterator[str]:
    """Lines of code blocks (fenced or indented) and spans that hold a command."""
    for _indent, language, block in _FENCE.findall(text):
        if language in _SHELLS:
            yield from _joined(block)
    rest = _FENCE.sub("", text)
    yield from _joined("\n".join(line for line in rest.splitlines() if re.match(r" {4}\S", line)))
    for span in _SPAN.findall(rest):
        if span.startswith(tuple(f"{program} " for program in PROGRAMS)):
            yield span.replace("\\|", "|")


def _joined(block: str) -> list[str]:
    """The lines of a block; one that ends in a backslash goes on in the next."""
    lines = [line.strip().removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if _START.search(line)]


def commands_in(line: str) -> Iterator[tuple[str, ...]]:
    """The calls of our program in one line of shell: behind `|`, `&&`, `$(`, in loops, without redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    lexer.wordchars += "$@:,+%^!{}[]"
    call: list[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if set(word) <= set("();&|"):
            yield from _call(call)
            call, redirected = [], False
        elif set(word) <= set("<>&") or redirected:
            redirected = not redirected
            if redirected and call and call[-1].isdecimal():
                call.pop()  # the 2 of 2>
        else:
            call.append(word)


def _call(words: list[str]) -> Iterator[tuple[str, ...]]:
    for at, word in enumerate(words):
        if word in PROGRAMS:
            yield tuple(words[at:])
            return
        if word not in ("do", "then", "while", "until", "if", "time", "!", "exec", "$") and "=" not in word:
            return


def understand(words: tuple[str, ...]) -> None:
    """Read a command with the real parser; raises UsageError as the program itself would."""
    rest = list(words[1:])
    if not rest or rest[0] in ("--help", "--version", "help", ANY_VERB):
        return
    name = ALIASES.get(rest[0], rest[0])
    if name not in VERBS:
        raise UsageError(f"there is no verb {rest[0]}")
    verb, rest = load_verb(name), rest[1:]
    if verb.inner:
        if rest[:1] == ["help"]:
            rest = [*rest[1:], "--help"]
        if not rest or rest[0] in ("--help", ANY_VERB):
            return
        if rest[0] not in verb.inner:
            raise UsageError(f"{name} has no verb {rest[0]}")
        name, verb, rest = f"{name} {rest[0]}", verb.inner[rest[0]], rest[1:]
    if "--help" not in rest:
        parse_words(name, verb, rest)
