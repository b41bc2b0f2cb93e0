"""`resume`: boot stopped machines again."""

from __future__ import annotations

from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.machines import for_each, machine_line
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def configure(parser: ArgumentParser) -> None:
    """The words of `resume`."""
    parser.add_argument("machines", metavar="ID", nargs="+", help="ids, names, or at least 4 letters of an id")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Resume each machine; a line is printed once its guest answers."""
    transport = connect_own_version()
    return for_each(
        args.machines,
        lambda ref: transport.call("POST", routes.machine(ref, "resume")),
        as_json=args.json,
        told=machine_line,
    )


VERBS = {
    "resume": Verb(
        "[flags] ID...",
        description="Boot stopped machines again, with the files they had. Returns once they answer.",
        examples=(
            ("cloudrouter resume my-project", "ready when the command returns"),
            ("cloudrouter resume cr_7k2m9xqd --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
