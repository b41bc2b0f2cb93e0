"""`--verbose`: what the command line does, line by line on stderr; never what is in a request."""

from __future__ import annotations

import sys

from cloudrouter.cli import output


def begin() -> None:
    """From now on, tell each step that the client takes."""
    from cloudrouter.client import trace

    trace.listen(_tell)


def _tell(step: str) -> None:
    output.note(output.paint(f"· {output.escape(step)}", "dim", sys.stderr))
