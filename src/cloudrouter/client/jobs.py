"""Background commands of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cloudrouter.client import commands
from cloudrouter.client.execution import Execution, Output
from cloudrouter.wire.errors import Internal, NotFound

if TYPE_CHECKING:
    from cloudrouter.client.machines import Machine


class Job:
    """A command that runs on by itself; it outlives this program and the router."""

    def __init__(self, machine: Machine, facts: dict[str, Any]) -> None:
        self.machine = machine
        self._facts = facts

    @property
    def id(self) -> str:
        """Such as `job_4tq8w2`."""
        return str(self._facts["id"])

    @property
    def command(self) -> str:
        """What it runs."""
        return str(self._facts.get("command", ""))

    @property
    def state(self) -> str:
        """`running`, `exited`, or `lost` when nobody saw it end; as of the last refresh."""
        return str(self._facts.get("state", ""))

    @property
    def exit_code(self) -> int | None:
        """Its exit code once exited, as of the last refresh."""
        code = self._facts.get("code")
        return code if isinstance(code, int) else None

    def refresh(self) -> Job:
        """Ask the machine how the job is; raises NotFound when it has no record of it."""
        for job in self.machine.jobs():
            if job.id == self.id:
                self._facts = job._facts  # noqa: SLF001 - of the same class
                return self
        raise NotFound(f"{self.machine.id} knows no job {self.id}.", next=f"cloudrouter ps {self.machine.id}")

    def logs(self, *, follow: bool = False, tail: int | None = None) -> Iterator[Output]:
        """What it printed, piece by piece; the last `tail` lines only; with follow until it ends."""
        request: dict[str, Any] = {"op": "job.logs", "job": self.id, "follow": follow}
        if tail is not None:
            request["tail"] = tail
        with Execution(self.machine.open_stream(), request, f"logs of {self.id}") as execution:
            yield from execution

    def wait(self) -> int | None:
        """Wait until it has ended; its exit code, None when it is lost."""
        for _ in self.logs(follow=True, tail=0):
            pass
        return self.refresh().exit_code

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.state} {self.command!r}>"


def start(machine: Machine, request: dict[str, Any]) -> Job:
    """Start a background command; the Job once it really runs."""
    answer = commands.ask(machine.open_stream(), {"op": "job.start", **request})
    return Job(machine, _facts(answer.get("job")))


def list_jobs(machine: Machine) -> list[Job]:
    """All background commands that the machine remembers, oldest first."""
    answer = commands.ask(machine.open_stream(), {"op": "job.list"})
    found = answer.get("jobs")
    if not isinstance(found, list):
        raise Internal("The machine did not list its jobs.")
    return [Job(machine, _facts(one)) for one in found]


def _facts(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise Internal("The machine described a job in a way that cannot be read.")
    return value
