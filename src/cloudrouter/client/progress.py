"""How far a job's output and input have come: what a client needs to go on after a broken stream."""

from __future__ import annotations

from cloudrouter.wire.errors import Internal
from cloudrouter.wire.streams import CHUNK, WINDOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Progress:
    """Kept over all streams to one job. Whatever the machine says, the position only grows."""

    def __init__(self, on_gone: Callable[[int], object] = lambda _count: None) -> None:
        self.job: str | None = None
        """The job's id, once the machine has told it."""
        self.position: int | None = None
        """Bytes of the log that were shown or told as gone; None before the first."""
        self.input_ended = False
        self._on_gone = on_gone
        self._next: int | None = None
        self.resumed = False
        """Whether the present stream goes on where another one broke."""
        self._kept: list[bytes] = []
        self._base = 0
        """Bytes of input that the machine has certainly got; those in `_kept` come behind them."""

    def request(self, first: dict[str, Any]) -> dict[str, Any]:
        """What to ask for now: the first request, or the same from where the last stream has come to."""
        self.resumed = self.job is not None
        if self.job is None:
            return dict(first)
        again: dict[str, Any] = {key: first[key] for key in ("op", "follow", "timestamps", "stdin") if key in first}
        if self.position is None:
            # Nothing was shown yet, so what was wanted at first is wanted still.
            again.update({key: first[key] for key in ("tail", "since_s", "from") if key in first})
            return {**again, "job": self.job}
        return {**again, "job": self.job, "from": self.position}

    def begin(self, started: dict[str, Any]) -> None:
        """The machine's first words."""
        job = started.get("job")
        if not isinstance(job, str) or (self.job is not None and job != self.job):
            raise Internal("The machine did not say which job this is.")
        if self.resumed and self.position is not None and started.get("position") != self.position:
            raise Internal("The machine's program is too old to go on where the stream broke.")
        self.job, self._next = job, None

    def obey(self, message: dict[str, Any]) -> None:
        """Words between the pieces of output."""
        gone = message.get("gone")
        if "position" in message:
            self._next = self._checked(message["position"])
        elif isinstance(gone, dict):
            self.position = self._checked(gone.get("position"))
            count = gone.get("bytes")
            if isinstance(count, int) and not isinstance(count, bool) and count > 0:
                self._on_gone(count)

    def shown(self) -> None:
        """A piece of output is where it belongs."""
        if self._next is not None:
            self.position, self._next = self._next, None

    def _checked(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not (self.position or 0) <= value < 1 << 63:
            raise Internal("The machine told a position in the log that cannot be.")
        return value

    # -- input --------------------------------------------------------------------------------------------------

    def sent(self, piece: bytes) -> None:
        """Input is on its way; it is kept until the machine has it, which is a window at most."""
        self._kept.append(piece)

    def taken(self, count: int) -> None:
        """The machine has taken so many bytes more."""
        self._base += count
        while count and self._kept:
            piece = self._kept[0]
            if len(piece) > count:
                self._kept[0] = piece[count:]
                return
            count -= len(piece)
            del self._kept[0]

    def unsent(self, got: object) -> list[bytes]:
        """The input that the machine did not get, when it has got so much; at most a window of it."""
        count = got - self._base if isinstance(got, int) and not isinstance(got, bool) else 0
        self.taken(max(0, count))
        rest = b"".join(self._kept)[:WINDOW]
        self._kept = [rest[at : at + CHUNK] for at in range(0, len(rest), CHUNK)]
        return list(self._kept)
