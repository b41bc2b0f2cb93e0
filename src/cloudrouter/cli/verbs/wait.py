"""`wait`: until background commands have ended, or until a server in the machine is up."""

from __future__ import annotations

import time

from cloudrouter.cli import execution, jobs, output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.values import count, seconds
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import CloudRouterError, NotRunning, TimedOut, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

READY_TIMEOUT_S = 60.0


def configure(parser: ArgumentParser) -> None:
    """The words of `wait`."""
    jobs.add_machine(parser)
    parser.add_argument("jobs", metavar="JOB", nargs="*", help="job ids; with --port or --url the one that serves")
    parser.add_argument("--port", metavar="N", type=count, help="until this port of the machine accepts connections")
    parser.add_argument(
        "--url",
        metavar="URL",
        help="until a GET of it answers below 400: a path with --port, or http://localhost:N/...",
    )
    parser.add_argument(
        "--timeout", metavar="TIME", type=seconds, help="give up after this time with status 124 (server: 60s)"
    )
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Wait; returns the status of the first job that failed, 124 when the time is over."""
    if args.port is not None or args.url is not None:
        return _wait_ready(args)
    if not args.jobs:
        raise UsageError(
            "`wait` needs a JOB, --port or --url.",
            fix=f"cloudrouter wait {args.machine} JOB, or cloudrouter wait {args.machine} --port 3000",
            next=f"cloudrouter ps {args.machine}",
        )
    return _wait_jobs(args)


def _wait_jobs(args: Namespace) -> int:
    from cloudrouter.client import answers

    transport = connect_router()
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    found, status = [], 0
    for job_id in args.jobs:
        request: dict[str, Any] = {"op": "job.wait", "job": job_id}
        left = None if deadline is None else max(0.001, deadline - time.monotonic())
        if left is not None:
            request["timeout_s"] = left
        job = answers.read_job(_ask_patiently(transport, args.machine, request, left))
        found.append(job)
        if not args.json:
            output.say(f"{job['id']}  {jobs.job_state(job)}")
            output.flush()
        code = _status(args, job)
        status = status or code
    if args.json:
        output.say_json({"jobs": found, "timed_out": any(job["state"] == "running" for job in found)})
    return status


def _ask_patiently(transport: Any, machine: str, request: dict[str, Any], left: float | None) -> Any:
    """Without a timeout the machine may be silent for as long as the job runs."""
    from cloudrouter.client import following

    if left is None:
        return following.ask(transport, machine, request, timeout=None)
    return jobs.ask(transport, machine, request, left)


def _status(args: Namespace, job: dict[str, Any]) -> int:
    if job["state"] != "running":
        return jobs.status_of(args.machine, job)
    shown = f"{args.timeout:g} s"
    output.show_error(
        TimedOut(
            f"{job['id']} still runs after {shown}; it goes on.", next=f"cloudrouter logs {args.machine} {job['id']}"
        )
    )
    return TimedOut.exit_code


def _wait_ready(args: Namespace) -> int:
    from cloudrouter.client import answers
    from cloudrouter.wire.targets import read_target

    if len(args.jobs) > 1:
        raise UsageError("--port and --url take one JOB, the one that serves.", next="cloudrouter wait --help")
    port, path = read_target(args.port, args.url)
    timeout = READY_TIMEOUT_S if args.timeout is None else args.timeout
    request = {"op": "ready", "port": port, "path": path, "job": (*args.jobs, None)[0], "timeout_s": timeout}
    what = f"port {port}" if path is None else f"http://localhost:{port}{path}"
    answer = jobs.ask(connect_router(), args.machine, request, timeout)
    try:
        ready = answers.read_ready(answer, what, timeout, args.machine)
    except TimedOut as error:
        _tell(args, error)
        return error.exit_code
    except NotRunning as error:
        log = str(error.details.get("log", ""))
        for line in log.splitlines():
            output.note(f"  {output.escape(line)}")
        raise
    if args.json:
        output.say_json(
            {"ready": True, "port": port, "path": path, "last": ready["last"], "waited_ms": ready["waited_ms"]}
        )
    else:
        output.say(f"{what} is ready ({output.escape(ready['last'])})")
    return 0


def _tell(args: Namespace, error: CloudRouterError) -> None:
    """An error with a status of its own, which is not that of our failures."""
    if args.json:
        output.say_json({"error": error.to_json()})
    output.show_error(error)


VERBS = {
    "wait": Verb(
        "[flags] ID [JOB...]",
        description="Wait until background commands have ended: the status is the first failing one's own, 0 when all "
        "succeeded, 255 for one that is lost. Or wait until a server in the machine is up; with JOB it is given up as "
        "soon as that job ends. 124 when the time is over; nothing is ended by that.",
        examples=(
            ("cloudrouter wait my-project job_4tq8w2", "its exit status is ours"),
            ("cloudrouter wait --timeout 10m my-project job_4tq8w2 job_9f3k7m", "both, for ten minutes at most"),
            ("cloudrouter wait my-project --port 3000", "until somebody listens there"),
            ("cloudrouter wait my-project job_4tq8w2 --port 3000 --url /health", "until it answers, or the job ends"),
        ),
        configure=configure,
        run=run,
        own_failure=execution.OWN_FAILURE,
    )
}
