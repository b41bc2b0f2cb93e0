"""`ls`: your machines in a table."""

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

HEADERS = ("ID", "NAME", "STATE", "AGE", "LEFT", "SIZE", "IMAGE")


def configure(parser: ArgumentParser) -> None:
    """The flags of `ls`."""
    parser.add_argument("-a", "--all", action="store_true", help="show deleted and pooled machines too")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Print the machines, or a hint when there are none."""
    answer = connect_router().call("GET", routes.MACHINES + ("?all=true" if args.all else ""))
    for doubt in answer.get("errors", ()):
        output.note(f"cloudrouter: {output.escape(doubt['message'])}")
        output.note(f"Next: {output.escape(doubt['next'])}")
    if args.json:
        output.say_json(answer)
        return 0
    machines = answer["machines"]
    if not machines:
        output.note("No machines. Make one from a folder:  cloudrouter start ./my-project")
        return 0
    _show(machines)
    return 0


def _show(machines: list[dict[str, Any]]) -> None:
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
        )
        for one in machines
    ]
    styles = {2: lambda cell: output.paint_state(cell, sys.stdout)}
    for line in output.table(HEADERS, rows, shrink=(1, 5, 6), styles=styles):
        output.say(line)


VERBS = {
    "ls": Verb(
        "[flags]",
        description="List your machines, oldest first. LEFT is the time until a machine's deadline.",
        examples=(
            ("cloudrouter ls", "machines that exist now"),
            ("cloudrouter ls --all --json", "deleted ones too, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
