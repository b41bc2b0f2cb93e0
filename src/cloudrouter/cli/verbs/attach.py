"""`attach`: be at a background command as if it had been started in the foreground."""

from __future__ import annotations

import sys

from cloudrouter.cli import execution, jobs, output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.verb import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `attach`."""
    jobs.add_machine(parser)
    parser.add_argument("job", metavar="JOB", nargs="?", help="job id from `ssh --bg` or `ps` (default: the newest)")
    parser.add_argument("-n", "--no-stdin", action="store_true", help="keep our input to ourselves")
    parser.add_argument(
        "--json",
        action="store_true",
        help='print one object a line: {"stream", "text"}, {"gone": bytes}, at last {"end": {job, state, code}}',
    )


def run(args: Namespace) -> int:
    """Show all it wrote and writes; returns its exit status."""
    request: dict[str, Any] = {"op": "job.attach", "job": args.job}
    return attach(args.machine, request, json=args.json, no_stdin=args.no_stdin)


def attach(machine: str, request: dict[str, Any], *, json: bool, no_stdin: bool) -> int:
    """Be at a job until it ends; a second Ctrl-C leaves it alone."""
    from cloudrouter.client import following

    sinks = jobs.Sinks(json=json)
    output.flush()
    try:
        end = following.follow(
            connect_router(),
            machine,
            request,
            on_stdout=sinks.out,
            on_stderr=sinks.err,
            stdin_fd=None if no_stdin or sys.stdin is None else 0,
            signals=True,
            progress=sinks.progress,
        )
    except KeyboardInterrupt:
        job = output.escape(sinks.progress.job or "the job")
        output.note(f"cloudrouter: left {job}; if it goes on:  cloudrouter kill {machine} {job}")
        raise
    sinks.finish(end)
    return int(end["code"]) if end.get("ended_here") else jobs.status_of(machine, end)


VERBS = {
    "attach": Verb(
        "[flags] ID [JOB]",
        description="Be at a background command as at one in the foreground: all that is kept of its output, then what "
        "it writes, every byte once. Ctrl-C goes to the job, a second one leaves it. Our input goes to it where it was "
        "started with one (ssh --detach-on-disconnect). The status is the job's own; 255 is a failure of ours.",
        examples=(
            ("cloudrouter attach my-project job_4tq8w2", "from its first byte, until it ends"),
            ("cloudrouter attach --no-stdin my-project", "the newest job, only to look"),
            ("cloudrouter attach --json my-project job_4tq8w2", "one JSON object a line"),
        ),
        configure=configure,
        run=run,
        own_failure=execution.OWN_FAILURE,
    )
}
