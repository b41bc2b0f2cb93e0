"""`ls`: your machines in a table."""

from __future__ import annotations

import sys

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version, connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

HEADERS = ("ID", "NAME", "STATE", "AGE", "LEFT", "SIZE", "IMAGE")
SORT_KEYS = ("created", "name", "state", "deadline", "cpu", "memory", "image")


def configure(parser: ArgumentParser) -> None:
    """The flags of `ls`."""
    parser.add_argument("-a", "--all", action="store_true", help="show deleted and pooled machines too")
    parser.add_argument(
        "-l",
        "--label",
        metavar="K[=V]",
        action="append",
        default=[],
        help="only machines with this label; may be repeated, then all must fit",
    )
    parser.add_argument(
        "--state", metavar="STATE", action="append", default=[], help="only in this state: running, or stopped,failed"
    )
    parser.add_argument("-p", "--provider", metavar="P", help="only machines of this provider")
    parser.add_argument("--name", metavar="GLOB", help="only names that fit a pattern: 'web-*'")
    parser.add_argument("--sort", metavar="KEY", choices=SORT_KEYS, help=f"{', '.join(SORT_KEYS)} (default: created)")
    parser.add_argument("-r", "--reverse", action="store_true", help="the other way round")
    parser.add_argument("-q", "--quiet", action="store_true", help="print ids alone, one a line")
    parser.add_argument("--labels", action="store_true", help="show the labels too")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Print the machines, or a hint when there are none."""
    if args.quiet and (args.json or args.labels):
        raise UsageError("--quiet prints ids alone, so it goes with neither --json nor --labels.", fix="Leave one out.")
    pairs = _query(args)
    # A router of before would take no notice of filters, and show what nobody asked for.
    transport = connect_own_version() if pairs else connect_router()
    answer = transport.call("GET", routes.query(routes.MACHINES, [*_all(args), *pairs]))
    for doubt in answer.get("errors", ()):
        output.note(f"cloudrouter: {output.escape(doubt['message'])}")
        output.note(f"Next: {output.escape(doubt['next'])}")
    machines = answer["machines"]
    if args.json:
        output.say_json(answer)
    elif args.quiet:
        for one in machines:
            output.say(output.escape(one["id"]))
    elif machines:
        _show(machines, labels=args.labels)
    elif pairs:
        output.note("No machine fits.")
    else:
        output.note("No machines. Make one from a folder:  cloudrouter start ./my-project")
    return 0


def _all(args: Namespace) -> list[tuple[str, str]]:
    return [("all", "true")] if args.all else []


def _query(args: Namespace) -> list[tuple[str, str]]:
    """What narrows or sorts, as the router takes it."""
    pairs = [("label", one) for one in args.label] + [("state", one) for one in args.state]
    for key in ("provider", "name", "sort"):
        value = getattr(args, key)
        if value is not None:
            pairs.append((key, value))
    if args.reverse:
        pairs.append(("reverse", "true"))
    return pairs


def _show(machines: list[dict[str, Any]], *, labels: bool) -> None:
    from cloudrouter.cli.machines import size_text
    from cloudrouter.cli.times import age, left

    rows = [
        (
            one["id"],
            one["name"] or "-",
            one["state"],
            age(one["created_at"]),
            left(one["expires_at"]),
            size_text(one),
            one["image"],
            *((_labels(one),) if labels else ()),
        )
        for one in machines
    ]
    styles = {2: lambda cell: output.paint_state(cell, sys.stdout)}
    headers, shrink = (HEADERS, (1, 5, 6)) if not labels else ((*HEADERS, "LABELS"), (1, 5, 6, 7))
    for line in output.table(headers, rows, shrink=shrink, styles=styles):
        output.say(line)


def _labels(machine: dict[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in machine["labels"].items()) or "-"


VERBS = {
    "ls": Verb(
        "[flags]",
        description="List your machines, oldest first. LEFT is the time until a machine's deadline.",
        examples=(
            ("cloudrouter ls", "machines that exist now"),
            ("cloudrouter ls --label agent=me --state running -q", "the ids of those that are yours and run"),
            ("cloudrouter ls --all --json", "deleted ones too, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
