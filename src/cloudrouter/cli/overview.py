"""What `cloudrouter` alone prints: every verb on one calm page."""

from __future__ import annotations

import sys

from cloudrouter.cli.output import paint
from cloudrouter.cli.table import VERBS

FIRST_STEPS = (
    ("cloudrouter start ./my-project", "a machine with this folder in it"),
    ('cloudrouter ssh ID "npm ci && npm test"', "run something there"),
    ("cloudrouter delete ID", "throw it away"),
)


def overview() -> str:
    """The page, in colours where stdout is a terminal."""
    out = sys.stdout
    lines = [
        f"{paint('cloudrouter', 'bold', out)} gives you and your coding agents machines of their own.",
        "",
        f"  {paint('Usage:', 'dim', out)} cloudrouter VERB [flags] ...    (short: cr)",
        "",
    ]
    width = max(len(command) for command, _ in FIRST_STEPS)
    lines += [f"  {command:<{width}}  {paint(meaning, 'dim', out)}" for command, meaning in FIRST_STEPS]
    group = ""
    for name, (_module, summary, its_group) in VERBS.items():
        if its_group != group:
            group = its_group
            lines += ["", paint(group, "bold", out)]
        lines.append(f"  {name:<12}{summary}")
    lines += [
        "",
        "`cloudrouter VERB --help` has the flags and examples of a verb; every verb takes --json.",
    ]
    return "\n".join(lines)
