"""`extend`: move a machine's deadline."""

from __future__ import annotations

from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.output import escape, say, say_json
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.values import seconds
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

DEFAULT_S = 3600.0


def configure(parser: ArgumentParser) -> None:
    """The words of `extend`."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=seconds,
        default=DEFAULT_S,
        help="time from now: 600, 90s, 15m, 1h (default: 3600)",
    )
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Set the deadline to exactly now + N."""
    machine = connect_own_version().call("POST", routes.machine(args.machine, "extend"), {"seconds": args.seconds})
    if args.json:
        say_json(machine)
        return 0
    from cloudrouter.cli.times import clock_time
    from cloudrouter.wire.durations import format_duration

    until = clock_time(machine["expires_at"])
    say(f"{escape(machine['id'])}  lives until {until}, {format_duration(args.seconds)} from now")
    return 0


VERBS = {
    "extend": Verb(
        "[flags] ID",
        description="Set a machine's deadline to exactly N from now, sooner or later than it was.",
        examples=(
            ("cloudrouter extend my-project", "one hour from now"),
            ("cloudrouter extend cr_7k2m9xqd --seconds 2h --json", "two hours from now, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
