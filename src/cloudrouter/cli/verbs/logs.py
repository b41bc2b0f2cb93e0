"""`logs`: what a background command wrote, so far or as it comes."""

from __future__ import annotations

from cloudrouter.cli import jobs, output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.values import count, seconds
from cloudrouter.cli.verb import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `logs`."""
    jobs.add_machine(parser)
    parser.add_argument("job", metavar="JOB", nargs="?", help="job id from `ssh --bg` or `ps` (default: the newest)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job ends")
    parser.add_argument("--tail", metavar="N", type=count, help="only the last N lines of what is there")
    parser.add_argument("--since", metavar="TIME", type=seconds, help="only what was written in this time: 30s, 10m")
    parser.add_argument("--timestamps", action="store_true", help="put the time (RFC 3339, UTC) before each line")
    parser.add_argument(
        "--json",
        action="store_true",
        help='print one object a line: {"stream", "text"}, {"gone": bytes}, at last {"end": {job, state, code}}',
    )


def run(args: Namespace) -> int:
    """Print the log; stdout and stderr of the job go to ours."""
    from cloudrouter.client import following

    if args.tail is not None and args.since is not None:
        from cloudrouter.wire.errors import UsageError

        raise UsageError("--tail and --since exclude each other.", fix="Give one.", next="cloudrouter logs --help")
    request: dict[str, Any] = {"op": "job.logs", "job": args.job, "follow": args.follow}
    given = {"tail": args.tail, "since_s": args.since, "timestamps": args.timestamps or None}
    request.update({key: value for key, value in given.items() if value is not None})
    sinks = jobs.Sinks(json=args.json)
    output.flush()
    end = following.follow(
        connect_router(), args.machine, request, on_stdout=sinks.out, on_stderr=sinks.err, progress=sinks.progress
    )
    sinks.finish(end)
    return 0


VERBS = {
    "logs": Verb(
        "[flags] ID [JOB]",
        description="Show what a background command wrote. Its stdout and stderr come on ours. A machine keeps the "
        "last 112 to 128 MiB of each job; where older output was dropped, stderr says how much.",
        examples=(
            ("cloudrouter logs my-project", "the newest job, so far"),
            ("cloudrouter logs -f --tail 20 my-project job_4tq8w2", "the last lines, and on until it ends"),
            ("cloudrouter logs --since 10m --timestamps my-project", "the last ten minutes, with times"),
            ("cloudrouter logs my-project --json", "one JSON object a line"),
        ),
        configure=configure,
        run=run,
    )
}
