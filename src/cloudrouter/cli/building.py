"""Following an image build: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys

from cloudrouter.cli import output
from cloudrouter.cli.progress import step_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Message = Mapping[str, Any]


def follow_build(messages: Iterable[Message]) -> dict[str, Any]:
    """Show each progress message until the image is there, and return it; raises the error that ends the build."""
    from cloudrouter.wire.errors import Unreachable, from_json

    show = _show_live if output.is_terminal(sys.stderr) else _show_plainly
    for message in show(messages):
        if "error" in message:
            raise from_json(message["error"])
        if "image" in message:
            image: dict[str, Any] = message["image"]
            return image
    raise Unreachable("The router went away in the middle of the build.", next="cloudrouter image build")


def _show_plainly(messages: Iterable[Message]) -> Iterable[Message]:
    """Each step once; passes on what is no progress."""
    said = ""
    for message in messages:
        step = message.get("progress")
        if not isinstance(step, dict):
            yield message
            continue
        text = step_text(step)
        if text and text != said:
            said = text
            output.note(output.escape(text))


def _show_live(messages: Iterable[Message]) -> Iterable[Message]:
    """A bar of the steps, and below it the last line the build wrote; passes on what is no progress."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    bar = Progress(
        BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"), console=console
    )
    task = bar.add_task("begins", total=None)
    detail = Text("", style="dim", no_wrap=True, overflow="ellipsis")
    with Live(Group(bar, detail), console=console, refresh_per_second=8, transient=True):
        for message in messages:
            step = message.get("progress")
            if not isinstance(step, dict):
                yield message
                continue
            # The text is the build's: it is shown as it is, never read as markup.
            from rich.markup import escape

            description = escape(output.escape(step_text(step)))
            bar.update(task, description=description, completed=max(0, (step.get("at") or 1) - 1), total=step.get("of"))
            detail.plain = output.escape(step.get("detail") or "")
