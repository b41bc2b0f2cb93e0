"""`pty` and `pty-list`: terminals in a machine that go on without us, and who has one there now."""

from __future__ import annotations

import sys

from cloudrouter.cli import execution, jobs, output, serving
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.terminal import DEFAULT_KEYS
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `pty`; `command` is split off before argparse sees it."""
    jobs.add_machine(parser)
    parser.add_argument(
        "command", metavar="CMD", nargs="*", default=[], help="what runs on the terminal (default: a login shell)"
    )
    parser.add_argument("--cwd", metavar="DIR", help="run it in this folder (default: the workspace)")
    parser.add_argument("--name", metavar="NAME", help="a name by which --session finds it")
    parser.add_argument(
        "-s", "--session", metavar="SESSION", help="be at a terminal that is there already, by its id or name"
    )
    parser.add_argument(
        "--read-only", action="store_true", help="only look: nothing that is typed is sent, but the keys that leave"
    )
    parser.add_argument(
        "--detach-keys",
        metavar="KEYS",
        type=_keys,
        default=DEFAULT_KEYS,
        help=f"the keys that leave it running (default: {DEFAULT_KEYS}; none: there are no such keys)",
    )
    parser.add_argument("--kill", metavar="SESSION", help="end a terminal and all that runs on it")
    parser.add_argument(
        "--json", action="store_true", help="of --kill: print what it was; a terminal itself is no JSON"
    )


def _keys(text: str) -> str:
    from cloudrouter.cli.values import detach_keys

    detach_keys(text)
    return text


def run(args: Namespace) -> int:
    """A terminal until its program ends or the person leaves; returns the program's status."""
    _check(args)
    if args.kill is not None:
        return _kill(args)
    if args.json or not output.is_terminal(sys.stdin):
        raise UsageError(
            "`pty` is for people at a terminal."
            if args.json
            else "`pty` needs a terminal on stdin, and there is none.",
            fix="Programs run commands with ssh.",
            next=f"cloudrouter ssh {args.machine} CMD",
        )
    from cloudrouter.cli.terminal import Terminal

    stay = Terminal(connect_own_version(), args.machine, _request(args), keys=args.detach_keys, muted=args.read_only)
    return stay.stay()


def _request(args: Namespace) -> dict[str, Any]:
    if args.session is not None:
        return {"op": "pty.open", "session": args.session}
    args.timeout = None
    name = {} if args.name is None else {"name": args.name}
    return {**execution.build_request(args, env={}), "op": "pty.open", **name}


def _check(args: Namespace) -> None:
    """Refuse words that contradict each other."""
    new = [flag for flag, value in (("CMD", args.command), ("--name", args.name), ("--cwd", args.cwd)) if value]
    old = [flag for flag, value in (("--session", args.session), ("--kill", args.kill)) if value is not None]
    if old and new:
        raise UsageError(
            f"{old[0]} means a terminal that is there already, and {new[0]} a new one.",
            fix="Leave one of them out.",
            next="cloudrouter pty --help",
        )
    if len(old) == 2:
        raise UsageError("--session and --kill exclude each other.", next="cloudrouter pty --help")


def _kill(args: Namespace) -> int:
    from cloudrouter.client import served

    request = {"op": "pty.kill", "session": args.kill}
    answer = serving.told_older(args.machine, lambda: jobs.ask(connect_own_version(), args.machine, request))
    pty = served.read_pty(answer.get("pty"))
    if args.json:
        output.say_json({"pty": pty})
    else:
        output.say(f"{output.escape(pty['id'])}  ended")
    return 0


def configure_list(parser: ArgumentParser) -> None:
    """The words of `pty-list`."""
    jobs.add_machine(parser)
    add_json_flag(parser)


def run_list(args: Namespace) -> int:
    """Print the terminals, and the foreground commands that have one of their own."""
    from cloudrouter.client import answers, served

    transport = connect_own_version()
    ptys = served.read_ptys(
        serving.told_older(args.machine, lambda: jobs.ask(transport, args.machine, {"op": "pty.list"}))
    )
    found = answers.read_execs(jobs.ask(transport, args.machine, {"op": "exec.list"}))
    execs = [one for one in found if one.get("tty") is True]
    if args.json:
        output.say_json({"ptys": ptys, "execs": execs})
    elif ptys or execs:
        _show(ptys, execs)
    else:
        output.note(f"Nobody has a terminal there. Open one:  cloudrouter pty {args.machine}")
    return 0


def _show(ptys: list[dict[str, Any]], execs: list[dict[str, Any]]) -> None:
    from cloudrouter.cli.times import age

    rows = [
        (*_words(one, "id", "name"), _people(one), age(one.get("started_at")), *_words(one, "command", "cwd"))
        for one in ptys
    ]
    rows += [
        (*_words(one, "id"), "-", "ssh", age(one.get("started_at")), *_words(one, "command", "cwd")) for one in execs
    ]
    for line in output.table(("ID", "NAME", "CLIENTS", "AGE", "COMMAND", "FOLDER"), rows, shrink=(4, 5)):
        output.say(line)


def _words(one: dict[str, Any], *keys: str) -> list[str]:
    return [str(one.get(key) or "-") for key in keys]


def _people(one: dict[str, Any]) -> str:
    clients = one.get("clients")
    return str(clients) if isinstance(clients, int) else "-"


VERBS = {
    "pty": Verb(
        "[flags] ID [CMD...]",
        description="Open a terminal in a machine that goes on when you leave it: by its keys, by closing the window, "
        "or because the connection broke (then it is joined again by itself). Several people may be at one; it has the "
        "size of the smallest of their windows. The status is the program's own; 255 is a failure of ours.",
        examples=(
            ("cloudrouter pty my-project", "a login shell"),
            ("cloudrouter pty --name build my-project make all", "a program, and a name by which it is found"),
            ("cloudrouter pty --session build my-project", "be there again, or beside somebody else"),
            ("cloudrouter pty --session build --read-only my-project", "only look"),
            ("cloudrouter pty --kill build my-project", "end it"),
        ),
        configure=configure,
        run=run,
        before_command=1,
        own_failure=execution.OWN_FAILURE,
    ),
    "pty-list": Verb(
        "[flags] ID",
        description="List the terminals in a machine: those of `pty`, which go on when nobody is at them, and those of "
        "`ssh` and `ssh -t`, which end with their connection.",
        examples=(
            ("cloudrouter pty-list my-project", "their programs and folders, and how many are at each"),
            ("cloudrouter pty-list --json my-project", "for programs"),
        ),
        configure=configure_list,
        run=run_list,
    ),
}
