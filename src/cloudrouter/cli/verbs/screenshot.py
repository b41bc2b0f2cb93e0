"""`screenshot`: a picture of a machine's whole desktop."""

from __future__ import annotations

import sys
import time

from cloudrouter.cli import execution, jobs, output, placing, serving
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes
from cloudrouter.wire.errors import TransferFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from cloudrouter.client.transport import Transport

STREAM = "-"


def configure(parser: ArgumentParser) -> None:
    """The words of `screenshot`."""
    jobs.add_machine(parser)
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="where it goes: a new PNG file, or - for stdout (default: NAME-TIME.png)",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Take the picture, and print where it is."""
    if args.file == STREAM:
        _check_stream(args)
    elif args.file is not None:
        placing.check_free(args.file, force=args.force)
    transport = connect_own_version()
    path = args.file
    if path is None:
        path = placing.default_name(transport.call("GET", routes.machine(args.machine)), ".png", time.time())
        placing.check_free(path, force=args.force)
    serving.start_app(transport, args.machine, "desktop")
    data = _take(transport, args.machine)
    from cloudrouter.client import pictures

    width, height = pictures.check_png(data)
    if path == STREAM:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return 0
    placing.place(data, path, force=args.force)
    if args.json:
        output.say_json({"path": path, "bytes": len(data), "width": width, "height": height})
    else:
        output.say(output.escape(path))
        output.note(f"{width} x {height}, {len(data) // 1024 + 1} KiB")
    return 0


def _check_stream(args: Namespace) -> None:
    if args.json:
        raise UsageError("--json and a picture cannot both go to stdout.", fix="Give a file.")
    if output.is_terminal(sys.stdout):
        raise UsageError(
            "A picture is not for a terminal.",
            fix="Give a file, or send stdout to one.",
            next="cloudrouter screenshot ID",
        )


def _take(transport: Transport, machine: str) -> bytes:
    """What the machine's program for it prints."""
    from cloudrouter.client import commands, pictures

    pieces: list[bytes] = []
    said = execution.Capture(4096)
    size = 0

    def keep(piece: memoryview) -> None:
        nonlocal size
        size += len(piece)
        if size > pictures.PICTURE_LIMIT:
            raise TransferFailed("The picture of the desktop is larger than any can be.")
        pieces.append(bytes(piece))

    stream = transport.stream(routes.machine(machine, "stream"))
    request = {"op": "exec", "argv": [pictures.SCREENSHOT]}
    end = commands.run(stream, request, stdin_fd=None, on_stdout=keep, on_stderr=said)
    if end.get("code") != 0:
        last = (said.text().strip().splitlines() or ["it said nothing"])[-1]
        raise TransferFailed(
            f"The desktop of {machine} could not be pictured: {last[:200]}",
            fix="See what the desktop says.",
            next=f"cloudrouter apps {machine} logs desktop",
        )
    return b"".join(pieces)


VERBS = {
    "screenshot": Verb(
        "[flags] ID [FILE]",
        description="Take a picture of the whole desktop of a machine as PNG. The desktop is started when it is off. "
        "The picture is checked before it is written, and nothing that is there is replaced without --force.",
        examples=(
            ("cloudrouter screenshot my-project", "into my-project-TIME.png; prints the name"),
            ("cloudrouter screenshot my-project result.png --force", "into this file, whatever is there"),
            ("cloudrouter screenshot my-project --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
