"""`extend`: move machines' deadlines."""

from __future__ import annotations

from cloudrouter.cli import batch
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.output import escape
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.values import seconds
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes, states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

DEFAULT_S = 3600.0
EXTENDABLE = tuple(sorted(set(states.NEXT) - {states.DELETING, states.GONE, states.POOLED}))


def configure(parser: ArgumentParser) -> None:
    """The words of `extend`."""
    batch.add_words(parser)
    parser.add_argument(
        "--seconds",
        metavar="TIME",
        type=seconds,
        default=DEFAULT_S,
        help="how long from now: 90s, 15m, 1h, 2d; a bare number is seconds (default: 1h)",
    )
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Set each deadline to exactly now + TIME."""
    batch.check_words(args, "extend")
    transport = connect_own_version()

    def extend(ref: str) -> dict[str, Any]:
        machine: dict[str, Any] = transport.call("POST", routes.machine(ref, "extend"), {"seconds": args.seconds})
        return machine

    def line(machine: dict[str, Any]) -> str:
        from cloudrouter.cli.times import clock_time
        from cloudrouter.wire.durations import format_duration

        until = clock_time(machine["expires_at"])
        return f"{escape(machine['id'])}  lives until {until}, {format_duration(args.seconds)} from now"

    refs = batch.choose(args, transport, verb="extend", states=EXTENDABLE)
    return 1 if refs is None else batch.run_each(args, extend, refs, line=line)


VERBS = {
    "extend": Verb(
        "[flags] ID...",
        description="Set machines' deadlines to exactly TIME from now, sooner or later than they were.",
        examples=(
            ("cloudrouter extend my-project", "one hour from now"),
            ("cloudrouter extend cr_7k2m9xqd --seconds 2h --json", "two hours from now, for programs"),
            ("cloudrouter extend --all --label agent=me --seconds 1d --yes", "a day more for all of yours"),
        ),
        configure=configure,
        run=run,
    )
}
