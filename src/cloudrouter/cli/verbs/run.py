"""`run`: start a machine, run one command in it, delete it."""

from __future__ import annotations

import os
import sys

from cloudrouter.cli import execution, launching, output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.progress import StartProgress
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `run`; `command` is split off before argparse sees it."""
    parser.add_argument("folder", metavar="DIR", nargs="?", help="the folder to send (default: an empty workspace)")
    parser.add_argument(
        "command",
        metavar="CMD",
        nargs="*",
        default=[],
        help="joined by spaces and given to the login shell; after `--` a program and its arguments as they are",
    )
    launching.add_machine_flags(parser)
    launching.add_folder_flags(parser)
    parser.add_argument("-k", "--keep", action="store_true", help="keep the machine, and print its id on stderr")
    parser.add_argument("-t", "--tty", action="store_true", help="give the command a terminal")
    parser.add_argument("--cwd", metavar="DIR", help="run it in this folder (default: the workspace)")
    parser.add_argument("--no-stdin", action="store_true", help="give it no input, as with </dev/null")
    parser.add_argument("--timeout", metavar="TIME", type=_seconds, help="end the command after this time: 90s, 15m")
    add_json_flag(parser)


def _seconds(text: str) -> float:
    from cloudrouter.cli.values import seconds

    return seconds(text)


def names_folder(word: str) -> bool:
    """Whether the first word of `run` is DIR and not CMD: a folder that exists, or a word that can only be a path."""
    if os.path.isdir(word):
        return True
    if any(c.isspace() for c in word):
        return False
    if word.startswith("/"):
        return not os.path.isfile(word)  # `/usr/bin/env` is a program, `/no/such/folder` is a mistake
    return word in (".", "..") or word.startswith(("./", "../", "~")) or word.endswith("/")


def run(args: Namespace) -> int:
    """Start, run, delete; returns the command's exit status."""
    _check(args)
    launching.end_on_signals()
    progress = StartProgress(quiet=True)
    request = launching.build_request(args, args.folder, timeout=None)
    machine = launching.launch_machine(args, args.folder, request, progress, keep_on_failure=args.keep)
    try:
        return _execute(args, machine["id"])
    finally:
        if args.keep:
            output.note(f"cloudrouter: {machine['id']} is kept; cloudrouter delete {machine['id']} removes it.")
        else:
            _remove(machine["id"])


def _check(args: Namespace) -> None:
    """Refuse what cannot work before a machine is made."""
    if args.command and not args.command[0].strip():
        raise UsageError(
            "The first word of `run` is empty; it is the folder or the command.",
            fix="An empty word often comes from a variable that is not set.",
            next='cloudrouter run . "npm test"',
        )
    if not args.command:
        fix = 'cloudrouter run ./my-project "npm test"'
        if args.folder is not None and not args.as_argv:
            fix = f"Give the command after {args.folder!r}; if that is the command, write -- before it."
        raise UsageError("`run` needs a command.", fix=fix, next="cloudrouter run --help")
    if args.tty and (args.json or not output.is_terminal(sys.stdin)):
        raise UsageError(
            "--tty needs a terminal on stdin and does not go with --json.",
            fix="Leave --tty out.",
            next="cloudrouter run --help",
        )


def _execute(args: Namespace, machine_id: str) -> int:
    # What `start` was given as --env is set for every command in the machine already.
    request = execution.build_request(args, env={})
    if not args.json:
        return execution.attach(connect_router(), machine_id, request, tty=args.tty, no_stdin=args.no_stdin)
    found: dict[str, Any] = execution.capture(connect_router(), machine_id, request, no_stdin=args.no_stdin)
    output.say_json({**found, "machine": machine_id, "kept": args.keep})
    return int(found["exit_code"])


def _remove(machine_id: str) -> None:
    """Delete the machine; when that fails the person is told, and the command's status stays what it is."""
    try:
        connect_router().call("DELETE", routes.machine(machine_id))
    except CloudRouterError as error:
        output.show_error(error)
        output.note(f"Next: cloudrouter delete {machine_id}")
    except KeyboardInterrupt:
        output.note(f"cloudrouter: interrupted; {machine_id} may still be there.")
        output.note(f"Next: cloudrouter delete {machine_id}")
        raise


VERBS = {
    "run": Verb(
        "[flags] [DIR] CMD...",
        description="Start a machine, run one command in it, delete it. The status is the command's own; 255 is a "
        "failure of ours. The first word is DIR when it is a folder or looks like a path.",
        examples=(
            ('cloudrouter run ./my-project "npm ci && npm test"', "the folder's tests, in a machine of their own"),
            ("cloudrouter run --size small . -- pytest -k 'not slow'", "after -- every word stays as it is"),
            ("cloudrouter run --keep --json . make build", "keep the machine, for programs"),
        ),
        configure=configure,
        run=run,
        before_command=names_folder,
        own_failure=execution.OWN_FAILURE,
        not_here=launching.NOT_HERE,
    )
}
