"""Background commands of a machine, for programs that await."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Self

from cloudrouter.client import answers, commands, requests
from cloudrouter.client.aio.attaching import AsyncAttachment
from cloudrouter.client.aio.execution import ask
from cloudrouter.client.aio.following import ask_again
from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.opening import Opening
from cloudrouter.client.execution import Output
from cloudrouter.client.facts import JobFacts
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotFound, TimedOut

if TYPE_CHECKING:
    from cloudrouter.client.aio.machines import AsyncMachine


class AsyncJob(JobFacts):
    """A command that runs on by itself; it outlives this program, the router and the machine's guest."""

    def __init__(self, machine: AsyncMachine, link: Link, facts: Any) -> None:
        super().__init__(facts)
        self.machine = machine
        self._link = link

    async def refresh(self) -> Self:
        """Ask the machine how the job is; raises NotFound when it has no record of it."""
        for job in await self.machine.jobs():
            if job.id == self.id:
                self._facts = job.facts
                return self
        raise NotFound(f"{self.machine.id} knows no job {self.id}.", next=f"cloudrouter ps {self.machine.id}")

    async def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        timestamps: bool = False,
    ) -> AsyncGenerator[Output, None]:
        """What it printed, piece by piece; with follow until it ends, every byte once whatever breaks meanwhile.

        tail: the last so many lines only. since: only what was printed in so many last seconds. timestamps: the
        time in RFC 3339 before each line.
        """
        request = requests.logs_request(self.id, follow=follow, tail=tail, since=since, timestamps=timestamps)
        async with await self._attach(request) as attachment:
            async for piece in attachment:
                yield piece

    def attach(self, *, stdin: bool = False) -> Opening[AsyncAttachment]:
        """Iterate over its whole output, as it comes, to its end; `send_signal` reaches it as Ctrl-C would.

        stdin: it can be written to, where the job was started with an input. Closing it leaves the job alone.
        """
        return Opening(self._attach(requests.attach_request(self.id, stdin=stdin)))

    async def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended; its exit code, None when it is lost. TimedOut after so many seconds: it goes on."""
        answer = await ask_again(
            self._link,
            self.machine.id,
            requests.wait_request(self.id, timeout),
            timeout=None if timeout is None else timeout + commands.ASK_TIMEOUT_S,
        )
        self._facts = answers.read_job(answer)
        if self.state == "running":
            raise TimedOut(f"{self.id} still runs after {timeout:g} s.", next=f"cloudrouter logs {self.machine.id}")
        return self.exit_code

    async def kill(self, signal: str = "TERM") -> int:
        """Send a signal to all its processes; returns how many got it. `wait` tells when it has ended."""
        answer = await _ask(self._link, self.machine.id, requests.kill_request(self.id, signal))
        self._facts = answers.read_job(answer)
        return answers.read_signalled(answer)

    async def _attach(self, request: dict[str, Any]) -> AsyncAttachment:
        return await AsyncAttachment.begin_at(self._link, self.machine.id, request, f"logs of {self.id}")


async def start(machine: AsyncMachine, link: Link, request: dict[str, Any]) -> AsyncJob:
    """Start a background command; the job once it really runs."""
    answer = await _ask(link, machine.id, {**request, "op": "job.start"})
    return AsyncJob(machine, link, answers.read_job(answer))


async def list_jobs(machine: AsyncMachine, link: Link) -> list[AsyncJob]:
    """All background commands that the machine remembers, oldest first."""
    found = answers.read_jobs(await _ask(link, machine.id, {"op": "job.list"}))
    return [AsyncJob(machine, link, facts) for facts in found]


async def _ask(link: Link, machine_id: str, request: dict[str, Any]) -> dict[str, Any]:
    return await ask(await link.stream(routes.machine(machine_id, "stream"), brief=True), request)
