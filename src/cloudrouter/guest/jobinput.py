"""The input of jobs that were started with one: held open over a short absence of who writes it, then ended."""

from __future__ import annotations

import asyncio
import os

from cloudrouter.guest.pipes import feed, give, make_pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.stream import Input

GRACE_S = 30.0
"""So long an input stays open for a client whose stream broke, and who may come again."""


class JobInput:
    """The writing end of one job's input, and how much has gone in by it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.written = 0
        self.users = 0
        self.ended = False
        self.timer: Optional[asyncio.TimerHandle] = None


class JobInputs:
    """All inputs that are open now. They end with the guest: a command then reads the end of its input."""

    def __init__(self) -> None:
        self._open: dict[str, JobInput] = {}

    def make(self, job_id: str, account: Account) -> int:
        """Make a job's input and keep its writing end; returns the reading end, for the command alone."""
        ((reading, writing),) = make_pipes(1)
        self._open[job_id] = JobInput(writing)
        give(account, reading)
        return reading

    def take(self, job_id: str) -> Optional[JobInput]:
        """The input for one more writer, who then calls `begin`; None when it has ended."""
        found = self._open.get(job_id)
        if found is not None:
            found.users += 1
            if found.timer is not None:
                found.timer.cancel()
                found.timer = None
        return found

    def close(self, job_id: str) -> None:
        """End a job's input now; one that is closed already stays so."""
        found = self._open.pop(job_id, None)
        if found is not None:
            if found.timer is not None:
                found.timer.cancel()
            os.close(found.fd)

    def end(self, job_id: str) -> None:
        """The job has ended: nobody reads its input any more, so the last who writes it closes it, or we now."""
        found = self._open.get(job_id)
        if found is not None:
            found.ended = True
            if not found.users:
                self.close(job_id)

    def begin(self, job_id: str, given: JobInput, source: Input) -> asyncio.Future[None]:
        """Begin to write a stream's input to the job, for one who took it; the end of the input ends the job's.

        When this is cancelled, because the stream broke, the input stays open for the grace. Of several writers the
        last one ends it.
        """
        carrying = asyncio.ensure_future(self._carry(given, source))
        carrying.add_done_callback(lambda _: self._release(job_id, given))  # also when it is cancelled before it began
        return carrying

    async def _carry(self, given: JobInput, source: Input) -> None:
        def count(written: int) -> None:
            given.written += written

        await feed(source, given.fd, count)
        given.ended = True

    def _release(self, job_id: str, given: JobInput) -> None:
        given.users -= 1
        if given.users:
            return
        if given.ended:
            self.close(job_id)
        else:
            given.timer = asyncio.get_running_loop().call_later(GRACE_S, self.close, job_id)
