"""`events`: what happened to machines, and what happens."""

from __future__ import annotations

import json
import select
import sys

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.values import count, seconds
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Unreachable, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport

DEFAULT_TAIL = 100
PAGE = 1000
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 2.0


def configure(parser: ArgumentParser) -> None:
    """The words of `events`."""
    parser.add_argument("machine", metavar="ID", nargs="?", help="only about this machine (default: about all)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("--tail", metavar="N", type=count, help="the last N (default: 100; with -f none)")
    parser.add_argument("--since", metavar="TIME", type=seconds, help="those of the last 10m, 2h, 1d")
    parser.add_argument(
        "--after", metavar="SEQ", type=count, help="those behind this number: go on where an earlier call ended"
    )
    parser.add_argument("--kind", metavar="GLOB", help="only kinds that fit a pattern: 'machine.*'")
    parser.add_argument("--json", action="store_true", help="print NDJSON: one event a line, with its number as seq")


def run(args: Namespace) -> int:
    """Print the events that are kept, and with --follow those that come."""
    if args.tail is not None and (args.since is not None or args.after is not None):
        raise UsageError("--tail does not go with --since or --after.", fix="Leave one of them out.")
    if (args.tail or 0) > PAGE:
        raise UsageError(f"--tail is at most {PAGE}.", fix="Use --since or --after for more.")
    transport = connect_own_version()
    if args.machine is not None:
        # Names move from machine to machine; the one that has it now is meant, also after it was renamed or deleted.
        args.machine = transport.call("GET", routes.machine(args.machine))["id"]
    last = _print_kept(args, transport)
    output.flush()
    if args.follow:
        _follow(args, transport, last)
    return 0


def _print_kept(args: Namespace, transport: Transport) -> int:
    """Print what is in the log already; the number behind which the following begins."""
    wanted = _pairs(args)
    if args.since is None and args.after is None:
        tail = args.tail if args.tail is not None else 0 if args.follow else DEFAULT_TAIL
        answer = transport.call("GET", routes.query(routes.EVENTS, [*wanted, ("tail", str(tail))]))
        _print(args, answer["events"])
        return int(answer["last"])
    if args.since is not None:
        wanted.append(("since", repr(args.since)))
    after = args.after or 0
    while True:
        answer = transport.call("GET", routes.query(routes.EVENTS, [*wanted, ("after", str(after))]))
        _print(args, answer["events"])
        if len(answer["events"]) < PAGE:
            # A number from the future, of another router's log perhaps, is taken at its word.
            return max(after, int(answer["last"]))
        after = int(answer["events"][-1]["seq"])


def _follow(args: Namespace, transport: Transport, last: int) -> None:
    """Print what comes, for ever; a router that goes away is waited for, and nothing is lost or told twice."""
    pause = FIRST_RETRY_S
    told = False
    while True:
        try:
            for event in transport.lines("GET", routes.query(routes.EVENTS_FOLLOW, _follow_pairs(args, last))):
                _print(args, [event])
                output.flush()
                last, pause, told = int(event["seq"]), FIRST_RETRY_S, False
        except Unreachable:
            transport.close()
        if not told:
            output.note("cloudrouter: the router went away; waiting for it.")
            told = True
        select.select([], [], [], pause)
        pause = min(pause * 2, LAST_RETRY_S)


def _pairs(args: Namespace) -> list[tuple[str, str]]:
    pairs = [("machine", args.machine)] if args.machine is not None else []
    return pairs + ([("kind", args.kind)] if args.kind is not None else [])


def _follow_pairs(args: Namespace, last: int) -> list[tuple[str, str]]:
    return [*_pairs(args), ("after", str(last))]


def _print(args: Namespace, events: list[dict[str, Any]]) -> None:
    for event in events:
        output.say(json.dumps(event) if args.json else _line(event))


def _line(event: dict[str, Any]) -> str:
    """`12:00:01  machine.running  cr_7k2m9xqd is running`."""
    from cloudrouter.cli.times import clock_second

    at = output.paint(clock_second(event["at"]), "dim", sys.stdout)
    kind = output.escape(event["kind"])
    return f"{at}  {output.paint(f'{kind:<18}', 'cyan', sys.stdout)}  {output.escape(event['message'])}"


VERBS = {
    "events": Verb(
        "[flags] [ID]",
        description="Show what happened to machines, oldest first: started, stopped, expired, renamed, deleted. With "
        "--follow each event once and in order, also over a restart of the router.",
        examples=(
            ("cloudrouter events", "the last hundred"),
            ("cloudrouter events my-project --since 10m", "what happened to one machine in the last ten minutes"),
            ("cloudrouter events -f --kind 'machine.*' --json", "as it comes, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
