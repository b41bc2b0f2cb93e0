"""`ssh --detach-on-disconnect`: a foreground command that is a job from its start, so that nothing is lost with us."""

from __future__ import annotations

import sys
import time

from cloudrouter.cli import execution, jobs, output
from cloudrouter.cli.connection import connect_router

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloudrouter.client.transport import Transport


def run(machine: str, request: dict[str, Any], *, json: bool, no_stdin: bool) -> int:
    """Run it with our streams to its end; returns its exit status. A second Ctrl-C ends it by TERM."""
    from cloudrouter.client import following

    transport, sinks, started = connect_router(), jobs.Sinks(json=False), time.monotonic()
    out, err = (execution.Capture(), execution.Capture()) if json else (sinks.out, sinks.err)
    output.flush()
    try:
        end = following.follow(
            transport,
            machine,
            request,
            on_stdout=out,
            on_stderr=err,
            stdin_fd=None if no_stdin or sys.stdin is None else 0,
            signals=True,
            progress=sinks.progress,
            on_started=lambda: _tell(machine, sinks.progress.job, quiet=json),
        )
    except KeyboardInterrupt:
        _end(transport, machine, sinks.progress.job)
        raise
    if end.get("ended_here"):
        _end(transport, machine, sinks.progress.job)
    code = int(end["code"]) if end.get("ended_here") else jobs.status_of(machine, end)
    if json:
        job = {key: end.get(key) for key in ("state", "code", "signal")}
        duration_ms = round((time.monotonic() - started) * 1000)
        output.say_json(execution.result(code, out, err, duration_ms, {"id": sinks.progress.job, **job}))
    return code


def _tell(machine: str, job: str | None, *, quiet: bool) -> None:
    """For a person: what to do when the connection is lost for good."""
    if not quiet and output.is_terminal(sys.stderr):
        job = output.escape(job)
        output.note(f"cloudrouter: runs as {job}; after a disconnect:  cloudrouter attach {machine} {job}")


def _end(transport: Transport, machine: str, job: str | None) -> None:
    """End the command as a foreground command ends when its reader or its person has gone for good."""
    from cloudrouter.client import commands, following
    from cloudrouter.wire.errors import CloudRouterError

    if job is None:
        return
    request = {"op": "job.kill", "job": job, "signal": "TERM"}
    try:
        commands.ask(following.open_stream(transport, machine), request)
    except CloudRouterError as error:
        output.show_error(error)
