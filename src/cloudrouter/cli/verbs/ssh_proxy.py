"""`ssh-proxy`: the connection that plain ssh needs to a machine, as its ProxyCommand."""

from __future__ import annotations

import sys

from cloudrouter.cli import output
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def configure(parser: ArgumentParser) -> None:
    """The words of `ssh-proxy`."""
    parser.add_argument("host", metavar="HOST", help="as ssh was given it: cr_7k2m9xqd, or my-project.cr")
    parser.add_argument("--json", action="store_true", help="tell a failure as JSON on stdout")


def run(args: Namespace) -> int:
    """Be the connection until it ends."""
    if output.is_terminal(sys.stdin) or output.is_terminal(sys.stdout):
        raise UsageError(
            "`ssh-proxy` speaks SSH, and there is a terminal.",
            fix="ssh runs it by itself; to see a shell, ask ssh.",
            next=f"cloudrouter ssh {output.escape(args.host)}",
        )
    from cloudrouter.cli import sshproxy

    return sshproxy.proxy(args.host)


VERBS = {
    "ssh-proxy": Verb(
        "HOST",
        description="Carry an SSH connection to a machine: what a ProxyCommand runs. `ssh-config` writes a faster "
        "form of it; this one is for a configuration of your own, and for programs that bring their own SSH.",
        examples=(
            ("cloudrouter ssh-proxy my-project.cr", "as in: ProxyCommand cloudrouter ssh-proxy %n"),
            ("cloudrouter ssh-proxy cr_7k2m9xqd", "by id"),
        ),
        configure=configure,
        run=run,
        own_failure=255,
    )
}
