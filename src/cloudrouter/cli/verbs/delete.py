"""`delete`: remove machines and everything in them."""

from __future__ import annotations

from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.machines import for_each
from cloudrouter.cli.output import escape
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `delete`."""
    parser.add_argument("machines", metavar="ID", nargs="+", help="whole ids or names; a beginning is refused")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Delete each machine; nothing is asked."""
    transport = connect_own_version()
    return for_each(
        args.machines,
        lambda ref: transport.call("DELETE", routes.machine(ref)),
        as_json=args.json,
        told=_told,
    )


def _told(machine: dict[str, Any]) -> str:
    name = f"  {escape(machine['name'])}" if machine.get("name") else ""
    return f"{escape(machine['id'])}{name}  deleted"


VERBS = {
    "delete": Verb(
        "[flags] ID...",
        description="Remove machines with everything in them, at once and for good. Nothing is asked.",
        examples=(
            ("cloudrouter delete my-project", "by its whole name"),
            ("cloudrouter delete cr_7k2m9xqd cr_4hq2wn8t --json", "several at once, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
