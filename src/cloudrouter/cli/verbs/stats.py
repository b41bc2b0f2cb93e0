"""`stats`: what machines use, once or live."""

from __future__ import annotations

import json
import sys

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.values import seconds
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

HEADERS = ("ID", "NAME", "CPU", "MEMORY", "MEM %", "DISK", "NET IN", "NET OUT", "PIDS")
DEFAULT_INTERVAL_S = 2.0


def configure(parser: ArgumentParser) -> None:
    """The words of `stats`."""
    parser.add_argument("machines", metavar="ID", nargs="*", help="only these machines (default: all)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on: a live table, or lines with --json")
    parser.add_argument(
        "--interval",
        metavar="TIME",
        type=seconds,
        help="with --follow: measure this often, 0.5 s at least (default: 2s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON; with --follow one object a line")


def run(args: Namespace) -> int:
    """Print one measurement, or with --follow one after the other until Ctrl-C."""
    if args.interval is not None and not args.follow:
        from cloudrouter.wire.errors import UsageError

        raise UsageError("--interval goes with --follow.", fix="Say -f too.", next="cloudrouter stats --help")
    transport = connect_own_version()
    pairs = [("machine", one) for one in args.machines]
    if not args.follow:
        answer = transport.call("GET", routes.query(routes.STATS, pairs))
        if args.json:
            output.say_json(answer)
        elif not answer["stats"]:
            output.note("No machines. Make one from a folder:  cloudrouter start ./my-project")
        else:
            _say_lines(_table(answer["stats"]))
        return 0
    interval = DEFAULT_INTERVAL_S if args.interval is None else args.interval
    pairs.append(("interval", repr(interval)))
    answers = transport.lines("GET", routes.query(routes.STATS_FOLLOW, pairs))
    if args.json:
        for answer in answers:
            output.say(json.dumps(answer))
            output.flush()
    elif output.is_terminal(sys.stdout):
        from cloudrouter.cli.screen import Screen

        with Screen(sys.stdout) as screen:
            for answer in answers:
                screen.draw(_table(answer["stats"]) if answer["stats"] else ["No machines."])
    else:
        for answer in answers:
            _say_lines([*_table(answer["stats"]), ""])
            output.flush()
    # The answers end only when the router does.
    output.note("cloudrouter: the router has ended.")
    return 1


def _say_lines(lines: list[str]) -> None:
    for line in lines:
        output.say(line)


def _table(usages: list[dict[str, Any]]) -> list[str]:
    from cloudrouter.wire.sizes import format_bytes

    def amount(count: int | None) -> str:
        return "-" if count is None else format_bytes(count)

    rows = []
    for one in usages:
        memory, limit = one["memory_bytes"], one["memory_limit_bytes"]
        rows.append(
            (
                one["id"],
                one["name"] or "-",
                "-" if one["cpu"] is None else f"{one['cpu'] * 100:.1f}% of {one['cpu_limit'] * 100:.0f}%",
                "-" if memory is None else f"{format_bytes(memory)} / {format_bytes(limit)}",
                "-" if memory is None or not limit else f"{memory * 100 / limit:.1f}%",
                amount(one["disk_bytes"]),
                amount(one["network_received_bytes"]),
                amount(one["network_sent_bytes"]),
                "-" if one["processes"] is None else str(one["processes"]),
            )
        )
    return output.table(HEADERS, rows, shrink=(1,))


VERBS = {
    "stats": Verb(
        "[flags] [ID...]",
        description="Show what machines use now: cpu (100% is one cpu), memory without what the kernel can take back, "
        "written disk, network since their boot, processes and threads. Machines that do not run show dashes.",
        examples=(
            ("cloudrouter stats", "all of them, once"),
            ("cloudrouter stats my-project -f", "one, live"),
            ("cloudrouter stats -f --interval 10s --json", "as lines for programs"),
        ),
        configure=configure,
        run=run,
    )
}
