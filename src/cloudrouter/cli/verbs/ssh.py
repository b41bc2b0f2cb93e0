"""`ssh` and `exec`: run a command in a machine with the exit status, streams and signals of a local one."""

from __future__ import annotations

import os
import sys

from cloudrouter.cli import execution, output
from cloudrouter.cli.connection import connect_router
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import ids, routes
from cloudrouter.wire.errors import Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `ssh`; `command` is split off before argparse sees it."""
    parser.add_argument("machine", metavar="ID", help="id, name, or at least 4 letters of the id")
    parser.add_argument(
        "command",
        metavar="CMD",
        nargs="*",
        default=[],
        help="joined by spaces and given to the login shell; after `--` a program and its arguments as they are; "
        "without CMD a login shell",
    )
    parser.add_argument("-t", "--tty", action="store_true", help="give it a terminal (a shell has one by itself)")
    parser.add_argument("-T", "--no-tty", action="store_true", help="give it no terminal")
    execution.add_command_flags(parser)
    parser.add_argument(
        "--env", metavar="K[=V]", action="append", default=[], help="set a variable; K alone takes your own value"
    )
    parser.add_argument("--bg", action="store_true", help="run it in the background and print its job id")
    parser.add_argument(
        "--detach-on-disconnect",
        action="store_true",
        help="let it go on as a background command when the connection breaks or we are killed; see `attach`",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print {exit_code, stdout, stderr, truncated, duration_ms, job} when it has ended",
    )


def run(args: Namespace) -> int:
    """Run the command and return its exit status."""
    _check(args)
    env: dict[str, str] = {}
    if args.env:
        from cloudrouter.cli.values import read_env

        env = read_env(args.env, os.environ)
    request = execution.build_request(args, env=env)
    if args.bg:
        return _run_in_background(args, request)
    if args.detach_on_disconnect:
        return _run_as_job(args, request)
    transport = connect_router()
    if args.json:
        found = execution.capture(transport, args.machine, request, no_stdin=args.no_stdin)
        output.say_json(found)
        return int(found["exit_code"])
    return execution.attach(transport, args.machine, request, tty=_wants_tty(args), no_stdin=args.no_stdin)


def _wants_tty(args: Namespace) -> bool:
    if args.tty or args.no_tty:
        return bool(args.tty)
    return not args.command and output.is_terminal(sys.stdin) and output.is_terminal(sys.stdout)


def _check(args: Namespace) -> None:
    """Refuse flags that contradict each other before anything is done."""
    fault = fix = ""
    if args.tty and args.no_tty:
        fault, fix = "--tty and --no-tty exclude each other.", "Give one of them."
    elif args.tty and (args.json or args.bg):
        fault, fix = "A terminal goes neither with --json nor with --bg.", "Leave --tty out."
    elif args.tty and not output.is_terminal(sys.stdin):
        fault, fix = "--tty needs a terminal on stdin, and there is none.", "Leave --tty out."
    elif args.bg and not args.command:
        fault, fix = "--bg needs a command.", f'cloudrouter ssh --bg {args.machine} "npm run dev"'
    elif args.bg and args.timeout is not None:
        fault, fix = "--timeout does not work with --bg.", f"cloudrouter ssh --bg {args.machine} timeout 60 CMD"
    fault, fix = (fault, fix) if fault else _detached_fault(args)
    if fault:
        from cloudrouter.wire.errors import UsageError

        raise UsageError(fault, fix=fix, next="cloudrouter ssh --help")


def _detached_fault(args: Namespace) -> tuple[str, str]:
    """What does not go with a command that outlives us."""
    if not args.detach_on_disconnect:
        return "", ""
    if args.bg:
        return "--bg and --detach-on-disconnect exclude each other.", "--bg comes back at once, the other at the end."
    if _wants_tty(args):
        return (
            "A command with a terminal cannot outlive the connection: --detach-on-disconnect works without --tty.",
            "Give a command and leave --tty out, or run tmux in the machine.",
        )
    if not args.command:
        return "--detach-on-disconnect needs a command.", f"cloudrouter ssh --detach-on-disconnect {args.machine} CMD"
    if args.timeout is not None:
        return "--timeout does not work with --detach-on-disconnect.", f"cloudrouter ssh {args.machine} timeout 60 CMD"
    return "", ""


def _run_as_job(args: Namespace, request: dict[str, Any]) -> int:
    """A job from its start, which we are at; Ctrl-C ends it, nothing else that happens to us does."""
    from cloudrouter.cli import detached

    return detached.run(args.machine, {**request, "op": "job.attach"}, json=args.json, no_stdin=args.no_stdin)


def _run_in_background(args: Namespace, request: dict[str, Any]) -> int:
    """Start a job; it goes on when the CLI and the router end."""
    from cloudrouter.client import commands

    request = {**request, "op": "job.start"}
    answer = commands.ask(connect_router().stream(routes.machine(args.machine, "stream")), request)
    job = answer.get("job")
    if not isinstance(job, dict) or not ids.is_job_id(str(job.get("id"))):
        raise Internal("The machine did not say which job it started.", fix="See what runs.", next="cloudrouter ps ID")
    if args.json:
        output.say_json(execution.result(None, execution.Capture(), execution.Capture(), None, job))
        return 0
    output.say(output.escape(job["id"]))
    if output.is_terminal(sys.stderr):
        output.note(f"Its output:  cloudrouter logs -f {args.machine} {job['id']}")
    return 0


_DESCRIPTION = (
    "Run a command in a machine, in its workspace, with stdin, stdout, stderr, signals and exit status as if it were "
    "local. Flags stand before CMD. The status is the command's own; 255 is a failure of ours, 124 a timeout, "
    "130 Ctrl-C."
)


def _verb(name: str) -> Verb:
    return Verb(
        "[flags] ID [CMD...]",
        description=_DESCRIPTION,
        examples=(
            (f'cloudrouter {name} my-project "npm ci && npm test"', "one line for the login shell"),
            (f"cloudrouter {name} my-project -- grep -rn 'two words' src", "after -- every word stays as it is"),
            (f'cloudrouter {name} my-project --bg "npm run dev"', "in the background; prints a job id"),
            (f'cloudrouter {name} --detach-on-disconnect my-project "make all"', "goes on when the laptop sleeps"),
            (f"cloudrouter {name} --json --timeout 5m my-project pytest -q", "for programs"),
            (f"cloudrouter {name} my-project", "a login shell"),
        ),
        configure=configure,
        run=run,
        before_command=1,
        own_failure=execution.OWN_FAILURE,
    )


VERBS = {"ssh": _verb("ssh"), "exec": _verb("exec")}
