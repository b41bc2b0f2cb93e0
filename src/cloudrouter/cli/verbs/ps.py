"""`ps`: a machine's background commands."""

from __future__ import annotations

import sys

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `ps`."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Print the machine's jobs."""
    from cloudrouter.client import commands

    stream = connect_router().stream(routes.machine(args.machine, "stream"))
    jobs = commands.ask(stream, {"op": "job.list"})["jobs"]
    if args.json:
        output.say_json({"jobs": jobs})
    elif jobs:
        _show(jobs)
    else:
        output.note(f'No background commands. Start one:  cloudrouter ssh {args.machine} --bg "npm run dev"')
    return 0


def _show(jobs: list[dict[str, Any]]) -> None:
    from cloudrouter.cli.times import age

    rows = [(str(job["id"]), job_state(job), age(job.get("started_at")), _command(job)) for job in jobs]
    styles = {1: lambda cell: output.paint(cell, "green", sys.stdout) if cell.startswith("running") else cell}
    for line in output.table(("JOB", "STATE", "AGE", "COMMAND"), rows, shrink=(3,), styles=styles):
        output.say(line)


def job_state(job: dict[str, Any]) -> str:
    """`running`, `exited 0`, `lost`: a code is shown only where one is known."""
    state, code = str(job.get("state")), job.get("code")
    return state if code is None else f"{state} {code}"


def _command(job: dict[str, Any]) -> str:
    command = job.get("command")
    return " ".join(str(word) for word in command) if isinstance(command, list) else str(command or "")


VERBS = {
    "ps": Verb(
        "[flags] ID",
        description="List a machine's background commands, those that `ssh --bg` has started.",
        examples=(
            ("cloudrouter ps my-project", "jobs with their state and exit status"),
            ("cloudrouter ps cr_7k2m9xqd --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
