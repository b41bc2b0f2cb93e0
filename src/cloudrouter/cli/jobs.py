"""Background commands for the verbs about them: what is asked, how a job is shown, how its output gets out."""

from __future__ import annotations

import codecs
import sys

from cloudrouter.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Mapping
    from typing import Any

    from cloudrouter.client.transport import Transport
    from cloudrouter.wire.errors import CloudRouterError

LOST = 255
"""The status of a job whose ending nobody saw: it is a failure of ours that we do not know it."""


def add_machine(parser: ArgumentParser) -> None:
    """The machine, the first word of all these verbs."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")


def ask(transport: Transport, machine: str, request: Mapping[str, Any], timeout: float | None = None) -> Any:
    """One question to the machine, asked again when router or guest die over it; timeout: how long it may take."""
    from cloudrouter.client import commands, following

    patience = commands.ASK_TIMEOUT_S + (timeout or 0.0)
    return following.ask(transport, machine, request, timeout=patience)


def job_state(job: Mapping[str, Any]) -> str:
    """`running`, `exited 0`, `lost`: a code is shown only where one is known."""
    state, code = str(job.get("state")), job.get("code")
    return state if code is None else f"{state} {code}"


def lost_error(machine: str, job_id: str) -> CloudRouterError:
    """A job's process that watched over it is gone, and with it how the job ended."""
    from cloudrouter.wire.errors import Internal

    return Internal(
        f"{job_id} is lost: what watched over it was killed, so nobody knows how it ended.",
        fix="Its output up to then is kept.",
        next=f"cloudrouter logs {machine} {job_id}",
    )


def status_of(machine: str, job: Mapping[str, Any]) -> int:
    """The exit status that an ended job gives its verb; a lost one is told as the error it is."""
    if job.get("code") is None:
        output.show_error(lost_error(machine, str(job.get("id") or job.get("job"))))
        return LOST
    return int(job["code"])


class Sinks:
    """Where a job's output goes: byte by byte to our own streams, or as one JSON object for each piece."""

    def __init__(self, *, json: bool) -> None:
        from cloudrouter.client import commands
        from cloudrouter.client.progress import Progress

        self._json = json
        self.out: Any = _Lines("stdout") if json else commands.writer(1)
        self.err: Any = _Lines("stderr") if json else commands.writer(2)
        self.progress = Progress(self._tell_gone)

    def finish(self, end: Mapping[str, Any]) -> None:
        """The output is whole: as JSON say so, and for a person how the job is."""
        job = str(end.get("job") or self.progress.job or "the job")
        if self._json:
            self.out.finish()
            self.err.finish()
            say_line({"end": {"job": end.get("job"), "state": end.get("state"), "code": end.get("code")}})
        elif output.is_terminal(sys.stderr) and not end.get("ended_here"):
            output.note(f"cloudrouter: {output.escape(job)}: {output.escape(job_state(end))}")

    def _tell_gone(self, count: int) -> None:
        if self._json:
            say_line({"gone": count})
        else:
            output.note(f"cloudrouter: {count} bytes of older output are gone here")


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
            say_line({"stream": self._stream, "text": text})


def say_line(value: dict[str, Any]) -> None:
    """One object of an NDJSON result, at once."""
    import json

    output.say(json.dumps(value))
    output.flush()
