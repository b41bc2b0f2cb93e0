"""`forward`: ports of this host that lead into a machine."""

from __future__ import annotations

from cloudrouter.cli import jobs, output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def configure(parser: ArgumentParser) -> None:
    """The words of `forward`."""
    jobs.add_machine(parser)
    parser.add_argument(
        "targets",
        metavar="PORT[:LOCAL]",
        nargs="*",
        default=[],
        help="a port inside, or an app of `apps`, and the port here (default: the same one, or the next free one)",
    )
    parser.add_argument(
        "-a", "--all", action="store_true", help="every port that something listens on, also those that come later"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help='print one object a line: {"event": "forward", "target", "local_port", "url"}, closed, failed, state',
    )


def run(args: Namespace) -> int:
    """Forward until Ctrl-C, or until the machine is gone."""
    if args.all and args.targets:
        raise UsageError("--all and single ports exclude each other.", next="cloudrouter forward --help")
    if not args.all and not args.targets:
        raise UsageError(
            "`forward` needs a port, an app, or --all.",
            fix="See what listens.",
            next=f"cloudrouter ports {args.machine}",
        )
    from cloudrouter.cli import forwarding

    wanted = [forwarding.read_wanted(word) for word in args.targets]
    transport = connect_own_version()
    output.flush()
    forwarding.run(transport, args.machine, wanted, everything=args.all, tell=forwarding.Teller(json=args.json))
    return 0


VERBS = {
    "forward": Verb(
        "[flags] ID PORT[:LOCAL]...",
        description="Let ports of this host lead into a machine, to ports on which something listens inside, also on "
        "127.0.0.1 only, and to apps. It goes on until Ctrl-C, also when the router is restarted. The ports here are "
        "on 127.0.0.1: every user of this host can connect to them, without signing in.",
        examples=(
            ("cloudrouter forward my-project 3000", "http://127.0.0.1:3000 here"),
            ("cloudrouter forward my-project 3000:8080 5432", "two, one of them under another number"),
            ("cloudrouter forward my-project --all", "whatever listens, now and later"),
            ("cloudrouter forward my-project vscode:8081", "an app"),
        ),
        configure=configure,
        run=run,
    )
}
