"""`record`: a film of a machine's desktop."""

from __future__ import annotations

import os
import time

from cloudrouter.cli import jobs, output, placing, serving
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Conflict, Internal, NotFound, TimedOut, UsageError
from cloudrouter.wire.sizes import format_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport

ACTIONS = ("start", "stop", "status")
FOLDER = "/tmp"  # noqa: S108 - in the machine, under a name nobody else can know
PREFIX, ENDING = "cloudrouter-recording-", ".mp4"
END_S = 30.0
"""How long the recorder may take to finish its file."""


def configure(parser: ArgumentParser) -> None:
    """The words of `record`."""
    jobs.add_machine(parser)
    parser.add_argument("action", metavar="ACTION", choices=ACTIONS, help=", ".join(ACTIONS))
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="of stop: where the film goes, a new file (default: NAME-TIME.mp4)"
    )
    parser.add_argument("--force", action="store_true", help="of stop: replace a file that is there")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Begin, end, or look."""
    if args.action != "stop" and (args.file is not None or args.force):
        raise UsageError(
            f"`record ID {args.action}` takes no file: the film comes here with stop.",
            next=f"cloudrouter record {args.machine} stop out.mp4",
        )
    if args.file is not None:
        placing.check_free(args.file, force=args.force)
    transport = connect_own_version()
    return {"start": _start, "stop": _stop, "status": _status}[args.action](args, transport)


def _start(args: Namespace, transport: Transport) -> int:
    from cloudrouter.client import answers, pictures

    running = _recording(transport, args.machine)
    if running is not None and running["state"] == "running":
        raise Conflict(
            f"The desktop of {args.machine} is being recorded already ({running['id']}).",
            fix="End that one first, or let it go on.",
            next=f"cloudrouter record {args.machine} stop",
        )
    serving.start_app(transport, args.machine, "desktop")
    path = f"{FOLDER}/{PREFIX}{os.urandom(6).hex()}{ENDING}"
    request = {"op": "job.start", "argv": [pictures.RECORD, path]}
    job = answers.read_job(_ask_once(transport, args.machine, request))
    if args.json:
        output.say_json(_facts(job, path, None))
    else:
        output.say(job["id"])
        output.note(f"Recording. End it and fetch the film:  cloudrouter record {args.machine} stop")
    return 0


def _status(args: Namespace, transport: Transport) -> int:
    from cloudrouter.cli.times import age

    job = _recording(transport, args.machine)
    path = "" if job is None else _path(job)
    size = None if job is None else _size(transport, args.machine, path)
    if args.json:
        output.say_json(_facts(job, path, size))
    elif job is None or (size is None and job["state"] != "running"):
        output.say("not recording")
    else:
        word = "recording" if job["state"] == "running" else "ended by itself, not fetched yet"
        parts = (word, age(job.get("started_at")), format_bytes(size or 0), job["id"])
        output.say("  ".join(parts))
    return 0


def _stop(args: Namespace, transport: Transport) -> int:
    job = _recording(transport, args.machine)
    if job is None:
        raise NotFound(
            f"The desktop of {args.machine} is not being recorded.", next=f"cloudrouter record {args.machine} start"
        )
    local = args.file
    if local is None:
        local = placing.default_name(transport.call("GET", routes.machine(args.machine)), ENDING, time.time())
        placing.check_free(local, force=args.force)
    if job["state"] == "running":
        _end(transport, args.machine, job["id"])
    size = _fetch(transport, args.machine, _path(job), local, force=args.force)
    _remove(transport, args.machine, _path(job))
    if args.json:
        output.say_json({"path": local, "bytes": size, "job": job["id"]})
    else:
        output.say(output.escape(local))
        output.note(format_bytes(size))
    return 0


def _end(transport: Transport, machine: str, job_id: str) -> None:
    """Let the recorder finish its file, and wait for it."""
    jobs.ask(transport, machine, {"op": "job.kill", "job": job_id, "signal": "INT"})
    answer = jobs.ask(transport, machine, {"op": "job.wait", "job": job_id, "timeout_s": END_S}, timeout=END_S)
    if answer.get("job", {}).get("state") == "running":
        raise TimedOut(
            f"The recorder did not finish its file within {END_S:g} s.",
            fix="See what it says.",
            next=f"cloudrouter logs {machine} {job_id}",
        )


def _fetch(transport: Transport, machine: str, remote: str, local: str, *, force: bool) -> int:
    """Bring the film here, whole or not at all; its size."""
    from cloudrouter.cli.progress import TransferProgress
    from cloudrouter.client import transfer

    beside = f"{local}.{os.urandom(4).hex()}.part"
    progress = TransferProgress("fetching")
    try:
        report = transfer.download(transport, machine, remote, beside, kind="file", progress=progress)
        if not report["bytes"]:
            raise Internal("The film is empty.", fix="See what the recorder says.", next=f"cloudrouter logs {machine}")
        placing.put(beside, local, force=force)
    finally:
        progress.line.clear()
        if os.path.lexists(beside):
            os.unlink(beside)
    return int(report["bytes"])


def _remove(transport: Transport, machine: str, remote: str) -> None:
    from cloudrouter.client import commands

    stream = transport.stream(routes.machine(machine, "stream"))
    end = commands.run(
        stream, {"op": "exec", "argv": ["rm", "-f", remote]}, stdin_fd=None, on_stdout=len, on_stderr=len, signals=False
    )
    if end.get("code") != 0:
        output.note(f"cloudrouter: the film stays in the machine as well: {remote}")


def _recording(transport: Transport, machine: str) -> dict[str, Any] | None:
    """The recording that runs; else the last one whose film is still there; None where neither is."""
    from cloudrouter.client import answers

    found = answers.read_jobs(jobs.ask(transport, machine, {"op": "job.list"}))
    ours = [job for job in found if _path(job)]
    running = next((job for job in ours if job["state"] == "running"), None)
    if running is not None or not ours:
        return running
    last = ours[-1]
    return None if _size(transport, machine, _path(last)) is None else last


def _path(job: dict[str, Any]) -> str:
    """Where a recording's film is in its machine; empty for a job that is no recording."""
    from cloudrouter.client import pictures

    program, _, path = str(job.get("command", "")).partition(" ")
    name = path.removeprefix(f"{FOLDER}/{PREFIX}").removesuffix(ENDING)
    well_made = len(name) == 12 and all(c in "0123456789abcdef" for c in name)
    return path if program == pictures.RECORD and well_made else ""


def _size(transport: Transport, machine: str, path: str) -> int | None:
    """Bytes of a file in the machine; None where it is not there."""
    from cloudrouter.cli.execution import capture

    request = {"op": "exec", "argv": ["stat", "-c", "%s", path]}
    said = capture(transport, machine, request, no_stdin=True)["stdout"].strip()
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else None


def _ask_once(transport: Transport, machine: str, request: dict[str, Any]) -> Any:
    """A question that may not be repeated."""
    from cloudrouter.client import commands

    return commands.ask(transport.stream(routes.machine(machine, "stream")), request)


def _facts(job: dict[str, Any] | None, path: str, size: int | None) -> dict[str, Any]:
    return {
        "recording": job is not None and job["state"] == "running",
        "job": None if job is None else job["id"],
        "started_at": None if job is None else job.get("started_at"),
        "path": path or None,
        "bytes": size,
    }


VERBS = {
    "record": Verb(
        "[flags] ID start|stop|status [FILE]",
        description="Record the desktop of a machine as a film: `start` begins in the background, `stop` ends it, "
        "fetches the film and removes it from the machine, `status` tells how it is. The desktop is started when it is "
        "off. One recording at a time; it goes on when this host is asleep.",
        examples=(
            ("cloudrouter record my-project start", "prints its job id"),
            ("cloudrouter record my-project stop demo.mp4", "fetches the film"),
            ("cloudrouter record my-project status --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
