"""Ways of others to a machine's browser: an address for programs, and one for people who look."""

from __future__ import annotations

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def cdp(args: Namespace) -> int:
    """Print the address for programs."""
    transport = connect_own_version()
    path = routes.machine(args.machine, "browser", "cdp")
    answer = transport.call("POST", path, {"ttl_s": args.ttl}, timeout=600.0)
    if not isinstance(answer, dict) or not all(isinstance(answer.get(key), str) for key in ("url", "expires_at")):
        raise Internal("The router answered with something that is no address.")
    if args.json:
        output.say_json(answer)
        return 0
    from cloudrouter.cli.times import clock_second

    output.say(output.escape(answer["url"]))
    output.note(f"Lets programs in until {clock_second(answer['expires_at'])}. Whoever has it controls the browser.")
    return 0


def watch(args: Namespace) -> int:
    """Print the address for people: `vnc --view-only`."""
    from cloudrouter.cli.verbs import open as doors

    args.view_only = True
    return doors.run_desktop(args)
