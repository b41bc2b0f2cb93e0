"""The guest's own log: one line an event on stderr, never contents, variables or tokens."""

from __future__ import annotations

import os
import sys
import time


def log(event: str) -> None:
    """Write one line."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} guest: {event}\n")
    sys.stderr.flush()


def describe(error: BaseException) -> str:
    """The kind of an error and the place where it was raised, without its text, which may hold contents."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
    return f"{type(error).__name__} at {place}"
