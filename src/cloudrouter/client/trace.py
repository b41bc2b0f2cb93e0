"""Tells whoever listens what the client does: methods, paths, statuses and times; never bodies or headers."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_listener: Callable[[str], object] | None = None


def listen(listener: Callable[[str], object] | None) -> None:
    """Call this for each step from now on; None: nobody listens any more."""
    global _listener
    _listener = listener


def tell(step: str) -> None:
    """One step, a short line."""
    if _listener is not None:
        _listener(step)


def since(began: float) -> str:
    """`3.1 ms` since a reading of time.monotonic()."""
    return f"{(time.monotonic() - began) * 1000:.1f} ms"
