"""Which machines have streams open now, and when each was last used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cloudrouter.providers.base import Clock


class Traffic:
    """Kept in memory only: nothing is written while a command runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._last: dict[str, float] = {}

    @contextmanager
    def stream(self, machine_id: str) -> Iterator[None]:
        """Counts one stream while it is open."""
        self._open[machine_id] += 1
        try:
            yield
        finally:
            self._open[machine_id] -= 1
            if self._open[machine_id] <= 0:
                del self._open[machine_id]
            self._last[machine_id] = self._clock()

    def last_seen(self, machine_id: str) -> float:
        """When the machine was last used: now while a stream is open, 0 when never since the router started."""
        if self._open[machine_id]:
            return self._clock()
        return self._last.get(machine_id, 0.0)
