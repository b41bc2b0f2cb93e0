"""`login`: there is nothing to log in to, and that is said truthfully."""

from __future__ import annotations

import os

from cloudrouter.cli import output
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.cli.verbs.whoami import user_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def run(args: Namespace) -> int:
    """Say that the router on this host is the person's own; a remote one is refused."""
    return tell(args, "No login is needed: the router on this host belongs to you ({user}) and to nobody else.")


def tell(args: Namespace, sentence: str) -> int:
    """The answer of `login` and `logout`, after the refusal of a router that is not this host's."""
    from cloudrouter.cli.connection import find_router

    find_router()  # Refuses CLOUDROUTER_URL, and a socket that is somebody else's.
    user = user_name(os.getuid())
    if args.json:
        output.say_json({"user": user, "account": None, "login_needed": False})
    else:
        output.say(sentence.format(user=output.escape(user)))
    return 0


VERBS = {
    "login": Verb(
        "[flags]",
        description="Nothing to do: the router on this host is your own, runs as you, and asks for no account. Kept "
        "for scripts that call it.",
        examples=(
            ("cloudrouter login", "says so; status 0"),
            ("cloudrouter login --json", "for programs"),
        ),
        configure=add_json_flag,
        run=run,
    )
}
