"""What `cloudrouter` alone prints: every verb on one calm page."""

from __future__ import annotations

import sys

from cloudrouter.cli.output import cut, paint, terminal_width
from cloudrouter.cli.table import VERBS

FIRST_STEPS = (
    ("cloudrouter start ./my-project", "a machine with this folder in it"),
    ('cloudrouter ssh ID "npm ci && npm test"', "run something there"),
    ("cloudrouter delete ID", "throw it away"),
)


NARROW = 68
"""Columns that the first sentence needs."""


def overview() -> str:
    """The page, in colours where stdout is a terminal."""
    out = sys.stdout
    room = terminal_width(out)
    gap = " " if room > NARROW else "\n"
    lines = [
        f"{paint('cloudrouter', 'bold', out)} gives you and your coding agents{gap}machines of their own.",
        "",
        f"  {paint('Usage:', 'dim', out)} cloudrouter VERB [flags] ...    (short: cr)",
        "",
    ]
    width = max(len(command) for command, _ in FIRST_STEPS)
    steps = [(command, meaning if width + len(meaning) + 4 <= room else "") for command, meaning in FIRST_STEPS]
    lines += [f"  {command:<{width}}  {paint(meaning, 'dim', out)}".rstrip() for command, meaning in steps]
    group = ""
    for name, (_module, summary, its_group) in VERBS.items():
        if its_group != group:
            group = its_group
            lines += ["", paint(group, "bold", out)]
        lines.append(cut(f"  {name:<12}{summary}", room))
    lines += ["", "`cloudrouter VERB --help` shows its flags and examples.", "Every verb takes --json and -v."]
    return "\n".join(lines)
