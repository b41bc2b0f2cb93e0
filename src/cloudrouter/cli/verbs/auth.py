"""`auth`: login, logout and whoami, as scripts of other versions write them."""

from __future__ import annotations

from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.cli.verbs import login, logout, whoami

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable


def _verb(name: str, description: str, run: Callable[[Namespace], int]) -> Verb:
    return Verb(
        "[flags]",
        description=description,
        examples=(
            (f"cloudrouter auth {name}", f"the same as cloudrouter {name}"),
            (f"cloudrouter auth {name} --json", "for programs"),
        ),
        configure=add_json_flag,
        run=run,
    )


VERBS = {
    "auth": Verb(
        "VERB [flags]",
        description="The router on this host is your own and asks for no account, so there is little to do here.",
        examples=(
            ("cloudrouter auth whoami", "who you are to the router, and which one it is"),
            ("cloudrouter auth login", "says that none is needed; status 0"),
        ),
        inner={
            "login": _verb("login", "Nothing to do: the router on this host asks for no account.", login.run),
            "logout": _verb("logout", "Nothing to do: no credentials are kept.", logout.run),
            "whoami": _verb("whoami", "Show who you are to the router, and which router that is.", whoami.run),
        },
    )
}
