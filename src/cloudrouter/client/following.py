"""Staying with a job over broken streams: router and guest may be killed and started again, the job goes on."""

from __future__ import annotations

import time

from cloudrouter.client import commands, router
from cloudrouter.client.progress import Progress
from cloudrouter.client.transport import NotListening
from cloudrouter.client.websocket import NoAnswer
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from cloudrouter.client.commands import Write
    from cloudrouter.client.transport import Transport
    from cloudrouter.client.websocket import Stream

    T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a broken connection is tried again before it counts as lost."""
PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0)


def follow(
    transport: Transport,
    machine: str,
    request: Mapping[str, Any],
    *,
    on_stdout: Write,
    on_stderr: Write,
    stdin_fd: int | None = None,
    signals: bool = False,
    progress: Progress | None = None,
    on_started: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Run `job.logs` or `job.attach` to its end, over as many streams as it takes; returns what the end says.

    No byte of output comes twice, and none is missing that the machine still had: what it dropped is told to
    `progress` with its size. Input that did not arrive is sent again. With signals Ctrl-C goes to the job.
    on_started: called once, when the machine has told which job it is.
    Raises what commands.run raises, Unreachable when the connection does not come back.
    """
    known = progress or Progress()

    def told(_started: dict[str, Any]) -> None:
        if not known.resumed:
            on_started()

    def once() -> dict[str, Any]:
        return commands.run(
            open_stream(transport, machine),
            known.request(dict(request)),
            stdin_fd=stdin_fd,
            on_stdout=on_stdout,
            on_stderr=on_stderr,
            signals=signals,
            progress=known,
            on_started=told,
        )

    # A command that a broken stream was to start may run already: only a job that is known is sought again.
    starts = "line" in request or "argv" in request
    return persist(
        transport, once, moved=lambda: (known.job, known.position), may=lambda: not starts or bool(known.job)
    )


def ask(transport: Transport, machine: str, request: Mapping[str, Any], *, timeout: float | None) -> dict[str, Any]:
    """One question that may be repeated, such as `job.wait`, asked again while its stream breaks."""
    return persist(transport, lambda: commands.ask(open_stream(transport, machine), request, timeout=timeout))


def open_stream(transport: Transport, machine: str) -> Stream:
    """A stream to the machine; a router that is gone is started again."""
    try:
        return transport.stream(routes.machine(machine, "stream"))
    except NotListening:
        router.revive(transport)
        return transport.stream(routes.machine(machine, "stream"))


def persist(
    transport: Transport,
    once: Callable[[], T],
    *,
    moved: Callable[[], object] = lambda: None,
    may: Callable[[], bool] = lambda: True,
    patience: Patience | None = None,
) -> T:
    """Do it until it ends well, by an error of its own, or until it has been broken for PATIENCE_S without a move.

    moved: how far it has come. may: whether it may be tried again. patience: one that knows of earlier breaks.
    """
    patience = patience or Patience(time.monotonic)
    while True:
        patience.begin()
        try:
            return once()
        except Unreachable as error:
            if not may():
                raise
            rest(transport, patience, error, moved())


def rest(transport: Transport, patience: Patience, error: Unreachable, at: object = None) -> None:
    """After a break: return when it is time for the next try; raises the error when it was tried long enough."""
    time.sleep(patience.pause(error, at))  # noqa: TID251 - between two tries there is nothing to wait for
    revive(transport)


class Patience:
    """How often and how long something that breaks is tried again; the clock is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._broken_since: float | None = None
        self._tries = 0
        self._at: object = None

    def begin(self) -> None:
        """A try begins."""
        self._began = self._clock()

    def forget(self) -> None:
        """It has moved on: what broke before does not count any more."""
        self._broken_since, self._tries = None, 0

    def pause(self, error: Unreachable, at: object = None) -> float:
        """Seconds until the next try, after the present one broke; raises the error when it is enough.

        at: how far it has come; when that is another place than at the last break, that one does not count any more.
        A try that lasted was connected. A machine that is connected and silent is not asked again.
        """
        now = self._clock()
        if now - self._began > PATIENCE_S or at != self._at:
            self.forget()
        self._at = at
        self._broken_since = now if self._broken_since is None else self._broken_since
        if isinstance(error, NoAnswer) or now - self._broken_since > PATIENCE_S:
            raise error
        self._tries += 1
        return PAUSES_S[min(self._tries, len(PAUSES_S)) - 1]


def revive(transport: Transport) -> None:
    """Make sure that a router listens again, where that is for us to do."""
    try:
        router.revive(transport)
    except NotListening:
        return  # not the user's own router: it is for others to start, and it is tried again
