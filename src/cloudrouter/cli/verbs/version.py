"""`version`: ours, and the running router's with --json."""

from __future__ import annotations

import sys

from cloudrouter import __version__
from cloudrouter.cli.output import say, say_json
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def run(args: Namespace) -> int:
    """Print the version; no router is started for it."""
    if not args.json:
        say(f"cloudrouter {__version__}")
        return 0
    python = ".".join(str(part) for part in sys.version_info[:3])
    say_json({"version": __version__, "router_version": _router_version(), "python": python})
    return 0


def _router_version() -> str | None:
    """The version of the router that runs, or None when none does or it cannot be reached."""
    from cloudrouter.cli.connection import find_router
    from cloudrouter.wire import routes
    from cloudrouter.wire.errors import CloudRouterError

    try:
        transport = find_router()
        return None if transport is None else str(transport.call("GET", routes.SERVER)["version"])
    except CloudRouterError:
        return None


VERBS = {
    "version": Verb(
        "[flags]",
        description="Print the version of this command; with --json also the running router's.",
        examples=(
            ("cloudrouter version", "cloudrouter 0.1.0"),
            ("cloudrouter version --json", "with the router's version and Python's"),
        ),
        configure=add_json_flag,
        run=run,
    )
}
