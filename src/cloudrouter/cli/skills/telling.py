"""What the verbs of `skills` say of copies: one row each for programs, a line or a diff for people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cloudrouter import __version__
from cloudrouter.cli import output
from cloudrouter.cli.skills import text

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable
    from typing import Any

    from cloudrouter.cli.skills.copies import Copy
    from cloudrouter.wire.errors import CloudRouterError

REFUSED = 1
"""The status when something was asked for that a place refuses, as of any conflict."""


def facts(copy: Copy) -> dict[str, Any]:
    """What is known of a copy: `path`, `state`, `version` or None, and for the state `refused` its `reason`."""
    return {
        "path": copy.place.path,
        "state": copy.state,
        "version": copy.version or None,
        "reason": copy.refusal.message if copy.refusal else None,
    }


def row(copy: Copy, action: str, backup: str | None = None) -> dict[str, Any]:
    """The facts, and what was done; `finish` takes `_names` out again."""
    names = ", ".join(agent.name for agent in copy.place.agents)
    keys = [agent.key for agent in copy.place.agents]
    return {"agents": keys, **facts(copy), "action": action, "backup": backup, "_names": names}


def refused(copy: Copy, error: CloudRouterError) -> dict[str, Any]:
    """The row of a copy that could not be written or removed, told on stderr."""
    output.show_error(error)
    return {**row(copy, "refused"), "reason": error.message}


_ACTIONS = {
    "unchanged": "up to date",
    "installed": "installed",
    "updated": "updated",
    "removed": "removed",
    "skipped": "left as it is",
    "left": "left: it is not from CloudRouter",
    "absent": "not there",
    "refused": "refused",
}


def finish(args: Namespace, rows: list[dict[str, Any]]) -> int:
    """Tell what was done; the status is 1 when one was refused."""
    names = [row.pop("_names") for row in rows]
    status = REFUSED if any(row["action"] == "refused" for row in rows) else 0
    if args.json:
        output.say_json({"version": __version__, "skills": rows})
        return status
    shown = [(name, row) for name, row in zip(names, rows, strict=True) if row["action"] != "absent"]
    for name, row in shown:
        left = row["action"] == "left" and row["state"] == text.REFUSED
        output.say(f"{_ACTIONS['skipped' if left else row['action']]}  {output.escape(row['path'])}  ({name})")
        if left:
            output.say(f"  {output.escape(row['reason'])}")
        if row["backup"]:
            output.say(f"  the old one is {output.escape(row['backup'])}")
    if not shown:
        output.say("Nothing is installed.")
    return status


def tell_refused(copies: Iterable[Copy]) -> None:
    """On stderr, why places are not read; one that several agents share once."""
    for reason in dict.fromkeys(copy.refusal.message for copy in copies if copy.refusal):
        output.note(f"cloudrouter: {output.escape(reason)}")


def tell_difference(copy: Copy) -> None:
    """On stderr, in what way a copy differs and its diff."""
    words = {
        "older": f"is from version {copy.version}",
        "newer": f"is from version {copy.version}, newer than this one",
        "edited": "was edited after it was installed",
        "foreign": "is not from CloudRouter",
    }[copy.state]
    output.note(f"\n{output.escape(copy.place.path)} {words}:")
    show_diff(copy, output.note, sys.stderr)


def show_diff(copy: Copy, tell: Any, stream: Any) -> None:
    """The diff through `tell`, in colours where the stream wants them."""
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in copy.diff():
        style = styles.get(line[:1])
        shown = output.escape(line)
        tell(output.paint(shown, style, stream) if style else shown)


def state_words(state: str, version: str) -> str:
    """The state as the table of `skills ls` has it."""
    if state == text.ABSENT:
        return "-"
    if state == text.REFUSED:
        return state
    if state == text.FOREIGN:
        return "not ours"
    return f"{version} ({state})"
