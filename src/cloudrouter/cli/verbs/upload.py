"""`upload`: send a file or a folder's contents to a machine."""

from __future__ import annotations

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.progress import TransferProgress, files_text
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

NEXT = "cloudrouter upload --help"


def configure(parser: ArgumentParser) -> None:
    """The words of `upload`."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    parser.add_argument("local", metavar="LOCAL", nargs="?", default=".", help="file or folder here (default: .)")
    parser.add_argument("remote_word", metavar="REMOTE", nargs="?", help="where it goes (default: the workspace)")
    parser.add_argument("-r", "--remote", metavar="REMOTE", help="the same as the third word")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Send it; partial success is a failure that names what arrived."""
    from cloudrouter.client import transfer

    if args.remote is not None and args.remote_word is not None:
        raise UsageError("REMOTE is given twice.", fix="Give the third word or --remote, not both.", next=NEXT)
    if "" in (args.local, args.remote, args.remote_word):
        raise UsageError("A path for `upload` is empty.", fix="Write . for this folder, or the workspace.", next=NEXT)
    remote = args.remote or args.remote_word or "."
    progress = TransferProgress("sending")
    try:
        report = transfer.upload(connect_router(), args.machine, args.local, remote, progress=progress)
    finally:
        progress.line.clear()
    if args.json:
        output.say_json(report)
        return 0
    where = "the workspace" if remote == "." else remote
    sent = files_text(report["files"], report["bytes"])
    output.say(f"{sent} up to {output.escape(where)} in {output.escape(args.machine)}")
    for word, meaning in (("changed", "changed while being sent"), ("skipped", "not sent, no file or folder")):
        for path in report[word]:
            output.note(f"{meaning}: {output.escape(path)}")
    return 0


VERBS = {
    "upload": Verb(
        "[flags] ID [LOCAL] [REMOTE]",
        description="Send a folder's contents, or one file, to a machine. Everything is sent, ignored files and "
        "secrets too. REMOTE is relative to the workspace.",
        examples=(
            ("cloudrouter upload my-project", "this folder into the workspace"),
            ("cloudrouter upload my-project ./data -r data", "a folder"),
            ("cloudrouter upload my-project .env .env --json", "one file, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
