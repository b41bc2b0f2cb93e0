"""`cp`: copy files and folders between here and machines, or from one machine to another."""

from __future__ import annotations

import sys

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.progress import TransferProgress, files_text
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.copying import Place

NEXT = "cloudrouter cp --help"


def configure(parser: ArgumentParser) -> None:
    """The words of `cp`."""
    where = "a path here, ID:path in a machine (relative to its workspace), or - for one file on"
    parser.add_argument("source", metavar="SOURCE", help=f"{where} stdin")
    parser.add_argument("target", metavar="TARGET", help=f"{where} stdout")
    parser.add_argument("--with-git", action="store_true", help="take .git along; its hooks and settings run code here")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Copy; partial success is a failure that names what arrived."""
    from cloudrouter.client.copying import read_place

    source, target = read_place(args.source), read_place(args.target)
    _check(args, source, target)
    progress = TransferProgress("copying")
    try:
        report = _copy(args, source, target, progress)
    finally:
        progress.line.clear()
    if report["git_left_out"]:
        output.note("Left there: .git, whose hooks and settings would run code here; --with-git takes it along.")
    if args.json:
        output.say_json({"source": source.shown, **{key: value for key, value in report.items() if key != "path"}})
    elif target.path != "-" or target.machine is not None:
        output.say(f"{files_text(report['files'], report['bytes'])} copied to {output.escape(report['target'])}")
    for word, meaning in (("changed", "changed while being read"), ("skipped", "not copied, no file or folder")):
        for path in report[word]:
            output.note(f"{meaning}: {output.escape(path)}")
    return 0


def _check(args: Namespace, source: Place, target: Place) -> None:
    """Refuse what cannot work before anybody is asked."""
    if not args.source or not args.target:
        raise UsageError("A path for `cp` is empty.", fix="Write . for the current folder.", next=NEXT)
    if source.machine is None and target.machine is None:
        raise UsageError("Neither place is in a machine.", fix="Write a machine's place as ID:path.", next=NEXT)
    if args.json and args.target == "-":
        raise UsageError("--json and a file on stdout do not go together.", fix="Name a file here.", next=NEXT)
    if args.with_git and (target.machine is not None or args.target == "-"):
        raise UsageError(
            "--with-git is for folders that come here.",
            fix="Leave it out: .git always goes along to a machine.",
            next=NEXT,
        )


def _copy(args: Namespace, source: Place, target: Place, progress: TransferProgress) -> dict[str, Any]:
    from cloudrouter.client import copying

    transport = connect_router()
    if args.source == "-":
        stream = None if sys.stdin is None else sys.stdin.buffer
        if stream is None:
            raise UsageError("There is no stdin to read.", fix="Name a file.", next=NEXT)
        report: dict[str, Any] = copying.copy_in(transport, stream, target, progress=progress)
    elif args.target == "-":
        output.flush()
        report = copying.copy_out(transport, source, sys.stdout.buffer, progress=progress)
    else:
        report = copying.copy(transport, source, target, with_git=args.with_git, progress=progress)
    return report


VERBS = {
    "cp": Verb(
        "[flags] SOURCE TARGET",
        description="Copy a file or a folder between here and a machine, or from one machine to another. As with "
        "docker cp, a file goes into a TARGET that is a folder, and to exactly TARGET otherwise; a folder goes into a "
        "TARGET that is a folder, becomes TARGET where there is none, and SOURCE/. means its contents. The folder "
        "that TARGET lies in must be there. A local path with a colon is written ./a:b.",
        examples=(
            ("cloudrouter cp my-project:dist/report.html .", "a file from a machine into this folder"),
            ("cloudrouter cp ./data my-project:", "a folder into the workspace: data"),
            ("cloudrouter cp ./data/. my-project:input", "what is in it, into a folder there"),
            ("cloudrouter cp first:build second:build --json", "from machine to machine, for programs"),
            ("cloudrouter cp my-project:app.log -", "one file to stdout"),
        ),
        configure=configure,
        run=run,
        not_here={
            "-r": ("folders are copied whole without it", "Leave it out."),
            "-R": ("folders are copied whole without it", "Leave it out."),
            "--recursive": ("folders are copied whole without it", "Leave it out."),
            "-a": ("modes and links are kept without it", "Leave it out."),
        },
    )
}
