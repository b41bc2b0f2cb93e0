"""`ports`: what listens inside a machine."""

from __future__ import annotations

from cloudrouter.cli import jobs, output, serving
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def configure(parser: ArgumentParser) -> None:
    """The words of `ports`."""
    jobs.add_machine(parser)
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Print the ports."""
    from cloudrouter.client import served

    found = served.read_ports(serving.ask(connect_own_version(), args.machine, "GET", "ports"))
    if args.json:
        output.say_json({"ports": found})
        return 0
    if not found:
        output.note(f'Nothing listens there. Start a server:  cloudrouter ssh {args.machine} --bg "npm run dev"')
        return 0
    rows = [
        (str(one["port"]), str(one.get("process") or "-"), str(one.get("app") or "-"), str(one.get("url") or "-"))
        for one in found
    ]
    for line in output.table(("PORT", "PROCESS", "APP", "ADDRESS"), rows, shrink=(1,)):
        output.say(line)
    output.note(f"Sign in with:  cloudrouter open {args.machine} PORT")
    return 0


VERBS = {
    "ports": Verb(
        "[flags] ID",
        description="List the TCP ports that something listens on inside a machine, also on its 127.0.0.1 only, with "
        "the program behind each and the address at which a browser that `open` has let in finds it.",
        examples=(
            ("cloudrouter ports my-project", "a table"),
            ("cloudrouter ports my-project --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
