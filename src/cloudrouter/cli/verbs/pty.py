"""`pty` and `pty-list`: a shell on a terminal in a machine, and who has one there now."""

from __future__ import annotations

import sys

from cloudrouter.cli import execution, jobs, output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def configure(parser: ArgumentParser) -> None:
    """The words of `pty`; `command` is split off before argparse sees it."""
    jobs.add_machine(parser)
    parser.add_argument(
        "command", metavar="CMD", nargs="*", default=[], help="what runs on the terminal (default: a login shell)"
    )
    parser.add_argument("--cwd", metavar="DIR", help="run it in this folder (default: the workspace)")
    parser.add_argument("--json", action="store_true", help="refused: what a terminal shows is no JSON; see ssh --json")


def run(args: Namespace) -> int:
    """A terminal until its program ends; returns the program's status."""
    if args.json or not output.is_terminal(sys.stdin):
        raise UsageError(
            "`pty` is for people at a terminal."
            if args.json
            else "`pty` needs a terminal on stdin, and there is none.",
            fix="Programs run commands with ssh.",
            next=f"cloudrouter ssh {args.machine} CMD",
        )
    args.timeout = None
    request = execution.build_request(args, env={})
    return execution.attach(connect_router(), args.machine, request, tty=True)


def configure_list(parser: ArgumentParser) -> None:
    """The words of `pty-list`."""
    jobs.add_machine(parser)
    add_json_flag(parser)


def run_list(args: Namespace) -> int:
    """Print the foreground commands that have a terminal."""
    from cloudrouter.cli.times import age
    from cloudrouter.client import answers

    answer = jobs.ask(connect_router(), args.machine, {"op": "exec.list"})
    found = [one for one in answers.read_execs(answer) if one.get("tty") is True]
    if args.json:
        output.say_json({"execs": found})
    elif found:
        rows = [[str(one.get(key, "")) for key in ("id", "command", "cwd")] for one in found]
        lines = output.table(
            ("ID", "AGE", "COMMAND", "FOLDER"),
            [(row[0], age(one.get("started_at")), *row[1:]) for row, one in zip(rows, found, strict=True)],
            shrink=(2, 3),
        )
        output.say("\n".join(lines))
    else:
        output.note(f"Nobody has a terminal there. Open one:  cloudrouter pty {args.machine}")
    return 0


VERBS = {
    "pty": Verb(
        "[flags] ID [CMD...]",
        description="Open a shell on a terminal in a machine; the same as `ssh -t`. It ends when the connection does.",
        examples=(
            ("cloudrouter pty my-project", "a login shell"),
            ("cloudrouter pty --cwd src my-project htop", "one program on a terminal"),
        ),
        configure=configure,
        run=run,
        before_command=1,
        own_failure=execution.OWN_FAILURE,
    ),
    "pty-list": Verb(
        "[flags] ID",
        description="List who has a terminal in a machine now: the shells of `ssh`, `ssh -t` and `pty`.",
        examples=(
            ("cloudrouter pty-list my-project", "their programs and folders"),
            ("cloudrouter pty-list --json my-project", "for programs"),
        ),
        configure=configure_list,
        run=run_list,
    ),
}
