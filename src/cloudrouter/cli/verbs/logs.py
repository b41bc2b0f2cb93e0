"""`logs`: what a background command wrote, so far or as it comes."""

from __future__ import annotations

import codecs

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.verb import Verb
from cloudrouter.cli.verbs.ps import job_state
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `logs`."""
    from cloudrouter.cli.values import count

    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    parser.add_argument("job", metavar="JOB", nargs="?", help="job id from `ssh --bg` or `ps` (default: the newest)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job ends")
    parser.add_argument("--tail", metavar="N", type=count, help="only the last N lines of what is there")
    parser.add_argument(
        "--json", action="store_true", help='print one object a line: {"stream", "text"}, at last {"end": ...}'
    )


def run(args: Namespace) -> int:
    """Print the log; stdout and stderr of the job go to ours."""
    from cloudrouter.client import commands

    request: dict[str, Any] = {"op": "job.logs", "job": args.job, "follow": args.follow, "tail": args.tail}
    out: Any = _Lines("stdout") if args.json else commands.writer(1)
    err: Any = _Lines("stderr") if args.json else commands.writer(2)
    output.flush()
    end = commands.run(
        connect_router().stream(routes.machine(args.machine, "stream")),
        request,
        stdin_fd=None,
        on_stdout=out,
        on_stderr=err,
        signals=False,
    )
    if args.json:
        out.finish()
        err.finish()
        _say_line({"end": {"state": end.get("state"), "code": end.get("code")}})
    elif not end.get("ended_here"):
        output.note(f"cloudrouter: {args.job or 'the newest job'}: {output.escape(job_state(end))}")
    return 0


class _Lines:
    """One NDJSON line for each piece of output; a character cut in two waits for its rest."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self, piece: memoryview) -> None:
        self._say(self._decoder.decode(piece))

    def finish(self) -> None:
        """Say what waits still."""
        self._say(self._decoder.decode(b"", final=True))

    def _say(self, text: str) -> None:
        if text:
            _say_line({"stream": self._stream, "text": text})


def _say_line(value: dict[str, Any]) -> None:
    import json

    output.say(json.dumps(value))
    output.flush()


VERBS = {
    "logs": Verb(
        "[flags] ID [JOB]",
        description="Show what a background command wrote. Its stdout and stderr come on ours.",
        examples=(
            ("cloudrouter logs my-project", "the newest job, so far"),
            ("cloudrouter logs -f --tail 20 my-project job_4tq8w2", "the last lines, and on until it ends"),
            ("cloudrouter logs my-project --json", "one JSON object a line"),
        ),
        configure=configure,
        run=run,
    )
}
