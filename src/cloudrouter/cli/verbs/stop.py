"""`stop`: end the processes of machines, keep their disks."""

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
    """The words of `stop`."""
    parser.add_argument("machines", metavar="ID", nargs="+", help="ids, names, or at least 4 letters of an id")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Stop each machine."""
    transport = connect_own_version()
    return for_each(
        args.machines,
        lambda ref: transport.call("POST", routes.machine(ref, "stop")),
        as_json=args.json,
        told=machine_line,
    )


VERBS = {
    "stop": Verb(
        "[flags] ID...",
        description="End everything that runs in machines and keep their files. `resume` boots them again.",
        examples=(
            ("cloudrouter stop my-project", "its processes end, its files stay"),
            ("cloudrouter stop cr_7k2m9xqd cr_4hq2wn8t --json", "several at once, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
