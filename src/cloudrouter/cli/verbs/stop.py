"""`stop`: end a machine's processes, keep its disk."""

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
    """The words of `stop`."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Stop the machine."""
    machine = connect_own_version().call("POST", routes.machine(args.machine, "stop"))
    if args.json:
        say_json(machine)
    else:
        say(machine_line(machine))
    return 0


VERBS = {
    "stop": Verb(
        "[flags] ID",
        description="End everything that runs in a machine and keep its files. `resume` boots it again.",
        examples=(
            ("cloudrouter stop my-project", "its processes end, its files stay"),
            ("cloudrouter stop cr_7k2m9xqd --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
