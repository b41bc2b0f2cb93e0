"""`resume`: boot a stopped machine again."""

from __future__ import annotations

from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.machines import machine_line
from cloudrouter.cli.output import say, say_json
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def configure(parser: ArgumentParser) -> None:
    """The words of `resume`."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Resume the machine; returns once its guest answers."""
    machine = connect_own_version().call("POST", routes.machine(args.machine, "resume"))
    if args.json:
        say_json(machine)
    else:
        say(machine_line(machine))
    return 0


VERBS = {
    "resume": Verb(
        "[flags] ID",
        description="Boot a stopped machine again, with the files it had. Returns once it answers.",
        examples=(
            ("cloudrouter resume my-project", "ready when the command returns"),
            ("cloudrouter resume cr_7k2m9xqd --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
