"""Building images: the flags that describe a folder's build, and following one on a terminal or in plain lines."""

from __future__ import annotations

import os
import sys

from cloudrouter.cli import output
from cloudrouter.cli.progress import step_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cloudrouter.client.contexts import Context
    from cloudrouter.client.transport import Transport

    Message = Mapping[str, Any]


def add_folder_flags(parser: ArgumentParser) -> None:
    """The flags about how a folder's Dockerfile is built."""
    parser.add_argument(
        "-f",
        "--file",
        metavar="FILE",
        help="the Dockerfile, looked for in the folder that is built, then from here (default: Dockerfile)",
    )
    parser.add_argument(
        "--build-arg",
        metavar="K[=V]",
        action="append",
        default=[],
        help="set a build argument; K alone takes your own value. No place for secrets: the image's history shows them",
    )
    parser.add_argument("--target", metavar="STAGE", help="the stage of the Dockerfile to end with (default: the last)")


def read_context(args: Namespace, folder: str | None, *, tag: str = "", rebuild: bool = False) -> Context | None:
    """The folder to be built as these flags say, looked through; None where there is none to be built."""
    from cloudrouter.cli.values import read_env
    from cloudrouter.wire.errors import UsageError

    given = [
        flag
        for flag, value in (("--file", args.file), ("--build-arg", args.build_arg), ("--target", args.target))
        if value
    ]
    if folder is None:
        if given:
            raise UsageError(
                f"{given[0]} says how a folder is built, and none is.",
                fix="Name the folder with the Dockerfile: --build DIR.",
            )
        return None
    from cloudrouter.client.contexts import Context, FolderBuild

    wanted = FolderBuild(
        folder,
        file=args.file,
        args=read_env(args.build_arg, os.environ, flag="--build-arg"),
        target=args.target or "",
        tag=tag,
        rebuild=rebuild,
    )
    return Context(wanted)


def build_folder(transport: Transport, context: Context, *, provider: str | None) -> dict[str, Any]:
    """Build a folder's Dockerfile with progress on stderr; the image."""
    from cloudrouter.client import contexts

    return follow_build(contexts.messages(transport, context, provider=provider))


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
