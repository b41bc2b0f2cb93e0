"""`kill`: send a signal to a background command, with everything it has started."""

from __future__ import annotations

import time

from cloudrouter.cli import jobs, output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.values import seconds
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import TimedOut, UsageError
from cloudrouter.wire.streams import SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport

PATIENCE_S = 5.0
ENDING = ("TERM", "INT", "QUIT", "KILL")
"""Signals that are sent to end something; the others are words to a program that goes on."""


def configure(parser: ArgumentParser) -> None:
    """The words of `kill`."""
    jobs.add_machine(parser)
    parser.add_argument("jobs", metavar="JOB", nargs="*", help="job ids from `ssh --bg` or `ps`")
    parser.add_argument(
        "-s", "--signal", metavar="SIG", type=_signal, default="TERM", help="TERM (default), INT, KILL, HUP, USR1 ..."
    )
    parser.add_argument("--wait", action="store_true", help="wait until they have ended, however long that takes")
    parser.add_argument(
        "--timeout", metavar="TIME", type=seconds, help="wait for their end so long (default: 5s); then status 124"
    )
    add_json_flag(parser)


def _signal(text: str) -> str:
    from argparse import ArgumentTypeError

    word = text.upper().removeprefix("SIG")
    if word not in SIGNALS:
        raise ArgumentTypeError(f"{text!r} is not a signal; one of {', '.join(SIGNALS)}")
    return word


def run(args: Namespace) -> int:
    """Signal them all, then wait for them."""
    if not args.jobs:
        raise UsageError(
            "`kill` ends a background command, and needs its JOB.",
            fix=f"cloudrouter kill {args.machine} JOB, or for the whole machine cloudrouter delete {args.machine}",
            next=f"cloudrouter ps {args.machine}",
        )
    if args.wait and args.timeout is not None:
        raise UsageError("--wait and --timeout exclude each other.", fix="Give one.", next="cloudrouter kill --help")
    transport, patience = connect_router(), _patience(args)
    sent = [_send(transport, args.machine, job_id, args.signal) for job_id in args.jobs]
    deadline = None if patience is None else time.monotonic() + patience
    found = [_wait(transport, args.machine, job, deadline) if patience != 0 else job for job in sent]
    running = [job["id"] for job in found if job["state"] == "running"]
    if args.json:
        output.say_json({"jobs": found})
    else:
        for job in found:
            output.say(_sentence(job, args.signal))
    return _tell_running(args, running, patience) if running and patience else 0


def _patience(args: Namespace) -> float | None:
    """How long to wait for the end: None for as long as it takes, 0 where no end is to be expected."""
    if args.wait:
        return None
    if args.timeout is not None:
        return float(args.timeout)
    return PATIENCE_S if args.signal in ENDING else 0.0


def _send(transport: Transport, machine: str, job_id: str, signal: str) -> dict[str, Any]:
    from cloudrouter.client import answers, commands
    from cloudrouter.client.following import open_stream

    # Asked once: a signal that was sent twice could mean something else than one.
    answer = commands.ask(open_stream(transport, machine), {"op": "job.kill", "job": job_id, "signal": signal})
    answers.read_signalled(answer)
    return answers.read_job(answer)


def _wait(transport: Transport, machine: str, job: dict[str, Any], deadline: float | None) -> dict[str, Any]:
    from cloudrouter.client import answers, following

    if job["state"] != "running":
        return job
    request: dict[str, Any] = {"op": "job.wait", "job": job["id"]}
    if deadline is None:
        answer = following.ask(transport, machine, request, timeout=None)
    else:
        left = max(0.001, deadline - time.monotonic())
        answer = jobs.ask(transport, machine, {**request, "timeout_s": left}, left)
    return {**answers.read_job(answer), "signalled": job["signalled"]}


def _sentence(job: dict[str, Any], signal: str) -> str:
    count, state = job["signalled"], jobs.job_state(job)
    if not count:
        return f"{job['id']}  had ended already: {state}"
    return f"{job['id']}  {signal} to {count} {'process' if count == 1 else 'processes'}, {state}"


def _tell_running(args: Namespace, running: list[str], patience: float) -> int:
    stronger = "KILL" if args.signal != "KILL" else "KILL --wait"
    output.show_error(
        TimedOut(
            f"{', '.join(running)} still {'runs' if len(running) == 1 else 'run'} after {patience:g} s.",
            fix="A program may take its time to end, or ignore the signal; KILL cannot be ignored.",
            next=f"cloudrouter kill -s {stronger} {args.machine} {' '.join(running)}",
        )
    )
    return TimedOut.exit_code


VERBS = {
    "kill": Verb(
        "[flags] ID JOB...",
        description="Send a signal to every process of background commands, also to those in the background of these. "
        "Waits up to 5 s for the end, where the signal is one that ends (TERM, INT, QUIT, KILL); status 124 when one "
        "still runs then. A job that has ended already is no failure. `delete` removes a machine.",
        examples=(
            ("cloudrouter kill my-project job_4tq8w2", "TERM, as Ctrl-C for servers"),
            ("cloudrouter kill -s KILL my-project job_4tq8w2 job_9f3k7m", "what does not listen"),
            ("cloudrouter kill -s HUP my-project job_4tq8w2", "read your configuration again"),
            ("cloudrouter kill --timeout 1m my-project job_4tq8w2", "let it take its time to end"),
        ),
        configure=configure,
        run=run,
    )
}
