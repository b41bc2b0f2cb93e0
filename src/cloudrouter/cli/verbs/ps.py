"""`ps`: a machine's background commands, and with --all those in the foreground."""

from __future__ import annotations

import sys

from cloudrouter.cli import jobs, output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `ps`."""
    jobs.add_machine(parser)
    parser.add_argument("-a", "--all", action="store_true", help="also the commands that run in the foreground")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Print the machine's commands."""
    from cloudrouter.client import answers

    transport = connect_router()
    found = answers.read_jobs(jobs.ask(transport, args.machine, {"op": "job.list"}))
    execs = answers.read_execs(jobs.ask(transport, args.machine, {"op": "exec.list"})) if args.all else []
    if args.json:
        output.say_json({"jobs": found, **({"execs": execs} if args.all else {})})
    elif found or execs:
        _show(found, execs)
    else:
        output.note(f'No background commands. Start one:  cloudrouter ssh {args.machine} --bg "npm run dev"')
    return 0


def _show(found: list[dict[str, Any]], execs: list[dict[str, Any]]) -> None:
    from cloudrouter.cli.times import age

    rows = [(str(job["id"]), jobs.job_state(job), age(job.get("started_at")), _command(job)) for job in found]
    rows += [(str(one["id"]), "foreground", age(one.get("started_at")), _command(one)) for one in execs]
    styles = {1: lambda cell: output.paint(cell, "green", sys.stdout) if cell.startswith("running") else cell}
    for line in output.table(("JOB", "STATE", "AGE", "COMMAND"), rows, shrink=(3,), styles=styles):
        output.say(line)


def _command(job: dict[str, Any]) -> str:
    command = job.get("command")
    return " ".join(str(word) for word in command) if isinstance(command, list) else str(command or "")


VERBS = {
    "ps": Verb(
        "[flags] ID",
        description="List a machine's background commands, those that `ssh --bg` has started.",
        examples=(
            ("cloudrouter ps my-project", "jobs with their state and exit status"),
            ("cloudrouter ps --all my-project", "and what somebody runs there with `ssh` just now"),
            ("cloudrouter ps cr_7k2m9xqd --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
