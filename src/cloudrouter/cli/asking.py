"""The one question that verbs ask: whether the person means it. Without a terminal nobody can be asked."""

from __future__ import annotations

import sys

from cloudrouter.cli import output
from cloudrouter.wire.errors import UsageError


def confirm(question: str, *, yes: bool, verb: str) -> bool:
    """Whether to go on: `--yes`, or a `y` typed at the question. UsageError where there is no terminal to ask at."""
    if yes:
        return True
    if not output.is_terminal(sys.stdin) or not output.is_terminal(sys.stderr):
        raise UsageError(
            f"`{verb}` asks before it does this, and there is no terminal to ask at.",
            fix="Say --yes when you mean it.",
            next=f"cloudrouter {verb.partition(' ')[0]} --help",
        )
    output.flush()
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        output.note()  # Ctrl-D: what follows begins on a line of its own
    if answer.strip().lower() in ("y", "yes"):
        return True
    output.note("Nothing was done.")
    return False
