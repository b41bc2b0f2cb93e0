"""`rename`: give a machine another name, or take its name away."""

from __future__ import annotations

from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.machines import machine_line
from cloudrouter.cli.output import say, say_json
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def configure(parser: ArgumentParser) -> None:
    """The words of `rename`."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the new name, such as web-2; an empty one takes it away"
    )
    parser.add_argument("--clear", action="store_true", help="take the name away; the id stays")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Rename the machine."""
    if args.clear is (args.name is not None):
        raise UsageError(
            "`rename` needs either a new name or --clear.",
            fix="Write: cloudrouter rename ID NAME",
            next="cloudrouter rename --help",
        )
    machine = connect_own_version().call("POST", routes.machine(args.machine, "rename"), {"name": args.name or ""})
    if args.json:
        say_json(machine)
    else:
        say(machine_line(machine))
    return 0


VERBS = {
    "rename": Verb(
        "[flags] ID NAME",
        description="Give a machine another name. Its id, its processes and its files stay what they are.",
        examples=(
            ("cloudrouter rename my-project web-2", "from now on it is called web-2"),
            ("cloudrouter rename cr_7k2m9xqd --clear --json", "without a name, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
