"""`status`: all there is to say about one machine."""

from __future__ import annotations

import sys

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `status`."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Print one machine."""
    machine = connect_router().call("GET", routes.machine(args.machine))
    failure = _failed_start(machine)
    if args.json:
        output.say_json({**machine, "reason": failure} if failure else machine)
        return 0
    _show(machine, failure)
    return 0


def _failed_start(machine: dict[str, Any]) -> str:
    """Why the background start of this machine failed, if it did; the router itself does not know."""
    if machine["state"] == "running":
        return ""
    from cloudrouter.cli.background import failure_of

    return failure_of(machine["id"])


def _show(machine: dict[str, Any], failure: str) -> None:
    from cloudrouter.cli.machines import limits_text, machine_line, size_text
    from cloudrouter.cli.times import age, clock_time, left

    output.say(machine_line(machine))
    reason = failure or machine["reason"]
    size = limits_text(machine) if machine["size"] == "custom" else f"{size_text(machine)} ({limits_text(machine)})"
    rows = [
        ("reason", output.escape(reason)) if reason else None,
        ("size", output.escape(size)),
        ("disk", "limited" if machine["disk_enforced"] else "shared with the host, no limit"),
        ("image", output.escape(machine["image"])),
        ("provider", output.escape(machine["provider"])),
        ("workspace", output.escape(machine["workspace"])) if machine["workspace"] else None,
        ("made", f"{clock_time(machine['created_at'])} ({age(machine['created_at'])} ago)"),
        ("boot", f"{machine['ready_ms'] / 1000:.2f} s") if machine["ready_ms"] is not None else None,
        ("deadline", _deadline(clock_time(machine["expires_at"]), left(machine["expires_at"]))),
        *((f"url {output.escape(app)}", output.escape(url)) for app, url in machine["urls"].items()),
        *(("label", f"{output.escape(key)}={output.escape(value)}") for key, value in machine["labels"].items()),
    ]
    for line in output.pairs([row for row in rows if row], stream=sys.stdout):
        output.say(line)


def _deadline(at: str, remaining: str) -> str:
    if remaining == "-":
        return "none"
    return f"{at} (over)" if remaining == "over" else f"{at} ({remaining} left)"


VERBS = {
    "status": Verb(
        "[flags] ID",
        description="Show one machine: its state and why, its size, image, deadline and labels.",
        examples=(
            ("cloudrouter status my-project", "by name"),
            ("cloudrouter status cr_7k2m9xqd --json", "by id, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
