"""What a template does in a fresh machine: commands one after the other, then background commands."""

from __future__ import annotations

from cloudrouter.client import commands
from cloudrouter.client.transport import NotListening
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError, Internal, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cloudrouter.client.transport import Transport

    Progress = Callable[[dict[str, Any]], object]

TAIL_BYTES = 4096
"""So much of each command's output is kept: its end."""


class StepFailed(CloudRouterError):
    """A command of the start ended with another status than 0; `details` has command, exit_code and output_tail."""

    code = "command_failed"


class Steps:
    """The commands of one start. What has been done is remembered: no command is ever run a second time."""

    def __init__(self, lines: Iterable[str], background: Iterable[str], progress: Progress) -> None:
        self._lines = list(lines)
        self._background = list(background)
        self._progress = progress
        self._begun = False
        self.commands: list[dict[str, Any]] = []
        """`{"command", "exit_code", "duration_ms", "output_tail"}` of each that has ended."""
        self.jobs: list[dict[str, Any]] = []
        """`{"id", "command"}` of each background command."""

    def run(self, transport: Transport, machine_id: str) -> None:
        """Run them all in the machine's workspace; raises StepFailed at the first that fails.

        progress gets `{"phase": "command", "command", "at", "of"}`, any number of `{"phase": "output", "data":
        memoryview}` and `{"phase": "commanded", "command", "exit_code"}` for each.
        """
        if self._begun:
            return
        self._begun = True
        try:
            for at, line in enumerate(self._lines, 1):
                self._progress({"phase": "command", "command": line, "at": at, "of": len(self._lines)})
                self._run_one(transport, machine_id, line)
            for line in self._background:
                self.jobs.append(_start_job(transport, machine_id, line))
        except (ConnectionLost, NotListening) as error:
            # Not to be tried again from the first step, as a lost upload would be: a command may not bear it.
            raise Unreachable(
                f"The router went away while the start's commands ran: {error.message}",
                fix="Start it again.",
                next="cloudrouter server logs",
            ) from None

    def _run_one(self, transport: Transport, machine_id: str, line: str) -> None:
        tail = bytearray()

        def take(piece: memoryview) -> None:
            tail.extend(piece)
            del tail[:-TAIL_BYTES]
            self._progress({"phase": "output", "data": piece})

        ended = commands.run(
            transport.stream(routes.machine(machine_id, "stream")),
            {"op": "exec", "line": line},
            stdin_fd=None,
            on_stdout=take,
            on_stderr=take,
            signals=False,
        )
        code = ended.get("code")
        if not isinstance(code, int):
            raise Internal("The machine did not say how a command of the start ended.", next="cloudrouter ls")
        duration = ended.get("duration_ms")
        done = {
            "command": line,
            "exit_code": code,
            "duration_ms": duration if isinstance(duration, int) else 0,
            "output_tail": tail.decode("utf-8", "replace"),
        }
        self.commands.append(done)
        self._progress({"phase": "commanded", "command": line, "exit_code": code})
        if code != 0:
            raise StepFailed(
                f"{line!r} ended with status {code}.",
                fix="Correct it. To look into the machine: start --keep-on-failure, run --keep.",
                next="cloudrouter templates ls",
                **{key: done[key] for key in ("command", "exit_code", "output_tail")},
            )


def _start_job(transport: Transport, machine_id: str, line: str) -> dict[str, Any]:
    stream = transport.stream(routes.machine(machine_id, "stream"))
    job = commands.ask(stream, {"op": "job.start", "line": line}).get("job")
    if not isinstance(job, dict) or not isinstance(job.get("id"), str):
        raise Internal("The machine did not say which job it started.", next=f"cloudrouter ps {machine_id}")
    return {"id": job["id"], "command": line}
