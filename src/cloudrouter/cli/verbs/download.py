"""`download`: fetch a file or a folder's contents from a machine."""

from __future__ import annotations

import os

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.progress import TransferProgress, files_text
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from cloudrouter.client.transport import Transport

NEXT = "cloudrouter download --help"


def configure(parser: ArgumentParser) -> None:
    """The words of `download`."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    parser.add_argument(
        "words",
        metavar="[REMOTE] LOCAL",
        nargs="*",
        default=[],
        help="two words: what to fetch, and where to; one word: where to; none: into this folder",
    )
    parser.add_argument("-r", "--remote", metavar="REMOTE", help="what to fetch (default: the whole workspace)")
    parser.add_argument("--with-git", action="store_true", help="take .git along; its hooks and settings run code here")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Fetch it; partial success is a failure that names what arrived."""
    from cloudrouter.client import transfer

    remote, local = read_places(args)
    transport = connect_router()
    _check_meaning(transport, args)
    progress = TransferProgress("fetching")
    try:
        report = transfer.download(transport, args.machine, remote, local, with_git=args.with_git, progress=progress)
    finally:
        progress.line.clear()
    if report["git_left_out"]:
        output.note("Left there: .git, whose hooks and settings would run code here; --with-git takes it along.")
    if args.json:
        output.say_json(report)
        return 0
    fetched = files_text(report["files"], report["bytes"])
    output.say(f"{fetched} down from {output.escape(args.machine)} to {output.escape(report['path'])}")
    return 0


def read_places(args: Namespace) -> tuple[str, str]:
    """(remote, local) of the two ways to write it: `ID [LOCAL] -r REMOTE` and `ID REMOTE LOCAL`."""
    words = list(args.words)
    if len(words) > 2:
        raise UsageError(
            f"`download` does not take {words[2]!r}.", fix="Usage: cloudrouter download ID REMOTE LOCAL", next=NEXT
        )
    if len(words) == 2 and args.remote is not None:
        raise UsageError("REMOTE is given twice.", fix="Give the second word or --remote, not both.", next=NEXT)
    if "" in words or args.remote == "":
        raise UsageError("A path for `download` is empty.", fix="Write . for the workspace, or this folder.", next=NEXT)
    if len(words) == 2:
        return words[0], words[1]
    return args.remote or ".", words[0] if words else "."


def _check_meaning(transport: Transport, args: Namespace) -> None:
    """Refuse `download ID X` where X is not here and is in the machine: X is LOCAL, and REMOTE was meant."""
    from cloudrouter.client import relaying

    if len(args.words) != 1 or args.remote is not None or os.path.lexists(args.words[0]):
        return
    word = args.words[0]
    if relaying.kind_of(transport, args.machine, word) is None:
        return
    shown = output.escape(word)
    raise UsageError(
        f"One word is the place here, so this would fetch the whole workspace into {shown}; and {shown} is in the "
        "machine.",
        fix=f"To fetch it, name both places. For the whole workspace: cloudrouter download {args.machine} . {shown}",
        next=f"cloudrouter download {args.machine} {shown} .",
    )


VERBS = {
    "download": Verb(
        "[flags] ID [REMOTE] [LOCAL]",
        description="Fetch a folder's contents, or one file, from a machine. REMOTE is relative to the workspace. "
        "Nothing is written outside LOCAL, whatever the machine sends.",
        examples=(
            ("cloudrouter download my-project dist ./dist", "a folder"),
            ("cloudrouter download my-project report.html .", "one file into this folder"),
            ("cloudrouter download my-project ./copy -r src --json", "the same the other way round, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
