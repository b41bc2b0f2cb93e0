"""The process's own log: one line an event on stderr, which the router keeps in a file; never headers or bodies."""

from __future__ import annotations

import sys
import time


def log(event: str) -> None:
    """Write one line."""
    shown = event if event.isprintable() else ascii(event)
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} packages: {shown[:1000]}\n")
    sys.stderr.flush()
