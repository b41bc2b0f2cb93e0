"""`logout`: no credentials are kept, so none are removed, and that is said truthfully."""

from __future__ import annotations

from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.cli.verbs.login import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def run(args: Namespace) -> int:
    """Say that nothing was kept; machines and the router stay."""
    return tell(args, "Nothing to log out of: no credentials are kept. Your machines and the router stay ({user}).")


VERBS = {
    "logout": Verb(
        "[flags]",
        description="Nothing to do: no credentials are kept, so none are removed. Machines stay; `delete` removes "
        "them, `server stop` ends the router.",
        examples=(
            ("cloudrouter logout", "says so; status 0"),
            ("cloudrouter logout --json", "for programs"),
        ),
        configure=add_json_flag,
        run=run,
    )
}
