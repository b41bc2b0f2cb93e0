"""`whoami`: who the person is to the router, which router that is, and where it keeps its things."""

from __future__ import annotations

import os
import sys

from cloudrouter import __version__
from cloudrouter.cli import output
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

NO_ACCOUNT = "none needed"


def run(args: Namespace) -> int:
    """Print it; no router is started for it."""
    facts = describe()
    if args.json:
        output.say_json(facts)
        return 0
    rows = [
        ("user", f"{output.escape(facts['user'])} (uid {facts['uid']})"),
        ("account", f"{NO_ACCOUNT}: the router on this host is yours alone"),
        ("router", _router_text(facts["router"])),
        ("socket", output.escape(facts["socket"])),
        ("state", output.escape(facts["state_dir"])),
        ("version", output.escape(facts["version"])),
    ]
    for line in output.pairs(rows, stream=sys.stdout):
        output.say(line)
    return 0


def describe() -> dict[str, Any]:
    """`{user, uid, account, router, socket, state_dir, version}`; router is None while none runs.

    Raises Unsupported where CLOUDROUTER_URL asks for a router that is not this host's.
    """
    from cloudrouter.cli.connection import find_router
    from cloudrouter.wire import routes

    transport = find_router()
    router = None
    if transport is not None:
        facts = transport.call("GET", routes.SERVER)
        router = {key: facts[key] for key in ("pid", "version", "router_id", "started_at")}
    uid = os.getuid()
    return {
        "user": user_name(uid),
        "uid": uid,
        "account": None,
        "router": router,
        "socket": places.socket_path(os.environ, uid),
        "state_dir": places.state_dir(os.environ),
        "version": __version__,
    }


def user_name(uid: int) -> str:
    """The account's name on this host; its number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _router_text(router: dict[str, Any] | None) -> str:
    if router is None:
        return "not running; the next verb that needs it starts it"
    return output.escape(f"running, version {router['version']}, pid {router['pid']}, id {router['router_id']}")


VERBS = {
    "whoami": Verb(
        "[flags]",
        description="Show who you are to the router, which router that is, and where its socket and its state are. "
        "Nothing is started.",
        examples=(
            ("cloudrouter whoami", "user, router, socket, state folder, version"),
            ("cloudrouter whoami --json", "for programs"),
        ),
        configure=add_json_flag,
        run=run,
    )
}
