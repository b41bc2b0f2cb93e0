"""Writes what is generated in the pages: docs/cli.md, the marked tables, and the copy of SKILL.md that ships.

    scripts/pages.py            write them
    scripts/pages.py --check    change nothing; status 1 when a page is stale

A table is marked in its page, and everything between the marks is replaced:

    <!-- generated: verbs -->
    <!-- end -->
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cloudrouter.cli.reference import by_group, reference
from cloudrouter.cli.table import INSIDE, MACHINES, load_verb
from cloudrouter.wire import errors

ROOT = Path(__file__).resolve().parent.parent
SKILL = ROOT / "skills" / "cloudrouter" / "SKILL.md"
SHIPPED = ROOT / "src" / "cloudrouter" / "cli" / "skills" / "SKILL.md"
CLI_PAGE = ROOT / "docs" / "cli.md"
_BLOCK = re.compile(r"<!-- generated: ([a-z-]+) -->\n.*?<!-- end -->", re.S)


def verbs() -> Iterator[str]:
    """Every verb with what it does and its first example, by group."""
    for group, rows in by_group().items():
        yield f"\n**{group}**\n\n| verb | what it does | for example |\n|---|---|---|"
        for name, summary in rows:
            yield f"| `{name}` | {summary} | `{_example(name)}` |"
    yield ""


SELDOM = frozenset(
    ("attach", "code", "events", "exec", "inspect", "jupyter", "pty", "pty-list", "record", "rename", "templates")
)
"""Verbs that agents seldom need."""
SHOWN = frozenset(("cp", "forward", "kill", "ps", "run", "screenshot", "ssh-config"))
"""Verbs that the hand-written part of their manual shows; it is to stay short."""


def commands() -> Iterator[str]:
    """What an agent calls: the first example of most verbs about machines, and its summary."""
    yield "| command | what it does |\n|---|---|"
    groups = by_group()
    for name, summary in [*groups[MACHINES], *groups[INSIDE]]:
        if name not in SELDOM | SHOWN:
            yield f"| `{_example(name)}` | {summary} |"


def _example(name: str) -> str:
    """The first example of a verb; one that only has verbs below it shows that of its first."""
    verb = load_verb(name)
    shown = verb if verb.run or not verb.inner else next(iter(verb.inner.values()))
    return shown.examples[0][0].replace("|", "\\|")


def error_codes() -> Iterator[str]:
    """Every code of the error tree: its exit status, its HTTP status, whether trying again helps, its meaning."""
    yield "| code | exit | HTTP | again? | meaning |\n|---|--:|--:|---|---|"
    for code, kind in sorted(errors.CODES.items()):
        meaning = " ".join((kind.__doc__ or "").split()).replace("|", "\\|")
        again = "yes" if kind.retry else ""
        yield f"| [`{code}`](#{code}) | {kind.exit_code} | {kind.http_status} | {again} | {meaning} |"


BLOCKS: dict[str, Callable[[], Iterator[str]]] = {"verbs": verbs, "commands": commands, "error-codes": error_codes}


def pages() -> list[Path]:
    """Every page that may hold a mark."""
    return [ROOT / "README.md", SKILL, *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """The page with its marked tables written again; KeyError for a mark that nothing fills."""
    return _BLOCK.sub(lambda mark: _fill(mark.group(1)), text)


def _fill(name: str) -> str:
    return f"<!-- generated: {name} -->\n" + "\n".join(BLOCKS[name]()) + "\n<!-- end -->"


def wanted() -> dict[Path, str]:
    """path -> what has to stand there."""
    found = {path: filled(path.read_text()) for path in pages() if path != CLI_PAGE}
    found[CLI_PAGE] = reference()
    found[SHIPPED] = found[SKILL]
    return found


def stale() -> list[Path]:
    """The pages that are not what they have to be."""
    return [path for path, text in wanted().items() if not path.exists() or path.read_text() != text]


def main(argv: list[str]) -> int:
    """Write stale pages, or only name them."""
    found = stale()
    for path in found:
        print(path.relative_to(ROOT), "is stale" if "--check" in argv else "is written")
    if "--check" in argv:
        return 1 if found else 0
    for path in found:
        path.write_text(wanted()[path])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
