"""What a local machine uses: the sum over its processes, as /proc counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from cloudrouter.providers.base import Measurement
from cloudrouter.providers.memory.processes import Process

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def measure(processes: Iterable[Process]) -> Measurement:
    """Cpu time (ended children included), resident memory and threads; pages that processes share count for each."""
    ticks = pages = threads = 0
    for process in processes:
        try:
            with open(f"/proc/{process.pid}/stat", "rb") as file:
                text = file.read()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended since it was found
        fields = text[text.rindex(b")") + 2 :].split()
        ticks += sum(int(field) for field in fields[11:15])
        threads += int(fields[17])
        pages += int(fields[21])
    return Measurement(cpu_seconds=ticks / _TICKS, memory_bytes=pages * _PAGE, processes=threads)
