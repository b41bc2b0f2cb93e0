"""Background commands of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from cloudrouter.client import answers, commands, following, requests
from cloudrouter.client.attaching import Attachment
from cloudrouter.client.execution import Output
from cloudrouter.client.facts import JobFacts
from cloudrouter.wire.errors import NotFound, TimedOut

if TYPE_CHECKING:
    from cloudrouter.client.machines import Machine


class Job(JobFacts):
    """A command that runs on by itself; it outlives this program, the router and the machine's guest."""

    def __init__(self, machine: Machine, facts: Any) -> None:
        super().__init__(facts)
        self.machine = machine

    def refresh(self) -> Self:
        """Ask the machine how the job is; raises NotFound when it has no record of it."""
        for job in self.machine.jobs():
            if job.id == self.id:
                self._facts = job.facts
                return self
        raise NotFound(f"{self.machine.id} knows no job {self.id}.", next=f"cloudrouter ps {self.machine.id}")

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        timestamps: bool = False,
    ) -> Iterator[Output]:
        """What it printed, piece by piece; with follow until it ends, every byte once whatever breaks meanwhile.

        tail: the last so many lines only. since: only what was printed in so many last seconds. timestamps: the
        time in RFC 3339 before each line.
        """
        request = requests.logs_request(self.id, follow=follow, tail=tail, since=since, timestamps=timestamps)
        with self._attachment(request) as attachment:
            yield from attachment

    def attach(self, *, stdin: bool = False) -> Attachment:
        """Iterate over its whole output, as it comes, to its end; `send_signal` reaches it as Ctrl-C would.

        stdin: it can be written to, where the job was started with an input. Closing it leaves the job alone.
        """
        return self._attachment(requests.attach_request(self.id, stdin=stdin))

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended; its exit code, None when it is lost. TimedOut after so many seconds: it goes on."""
        answer = following.ask(
            self.machine.transport,
            self.machine.id,
            requests.wait_request(self.id, timeout),
            timeout=None if timeout is None else timeout + commands.ASK_TIMEOUT_S,
        )
        self._facts = answers.read_job(answer)
        if self.state == "running":
            raise TimedOut(f"{self.id} still runs after {timeout:g} s.", next=f"cloudrouter logs {self.machine.id}")
        return self.exit_code

    def kill(self, signal: str = "TERM") -> int:
        """Send a signal to all its processes; returns how many got it. `wait` tells when it has ended."""
        answer = commands.ask(self.machine.open_stream(), requests.kill_request(self.id, signal))
        self._facts = answers.read_job(answer)
        return answers.read_signalled(answer)

    def _attachment(self, request: dict[str, Any]) -> Attachment:
        return Attachment(self.machine.transport, self.machine.id, request, f"logs of {self.id}")


def start(machine: Machine, request: dict[str, Any]) -> Job:
    """Start a background command; the Job once it really runs."""
    answer = commands.ask(machine.open_stream(), {**request, "op": "job.start"})
    return Job(machine, answers.read_job(answer))


def list_jobs(machine: Machine) -> list[Job]:
    """All background commands that the machine remembers, oldest first."""
    return [Job(machine, facts) for facts in answers.read_jobs(commands.ask(machine.open_stream(), {"op": "job.list"}))]
