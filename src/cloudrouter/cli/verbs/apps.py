"""`apps`: the units in a machine that serve people; started, stopped, and what they wrote."""

from __future__ import annotations

import sys

from cloudrouter.cli import jobs, output, serving
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.values import count
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import NotFound, UsageError
from cloudrouter.wire.sizes import format_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport

ACTIONS = ("start", "stop", "logs")
_STYLES = {"running": "green", "failed": "red", "off": "dim"}


def configure(parser: ArgumentParser) -> None:
    """The words of `apps`."""
    jobs.add_machine(parser)
    parser.add_argument(
        "action", metavar="ACTION", nargs="?", choices=ACTIONS, help=f"{', '.join(ACTIONS)} (default: list them)"
    )
    parser.add_argument("app", metavar="APP", nargs="?", help="which app")
    parser.add_argument("--tail", metavar="N", type=count, help="of logs: only the last N lines")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """List the apps, or do something to one."""
    if args.action is not None and args.app is None:
        raise UsageError(
            f"`apps ID {args.action}` needs an app.",
            fix="See which there are.",
            next=f"cloudrouter apps {args.machine}",
        )
    if args.tail is not None and args.action != "logs":
        raise UsageError("--tail goes with logs.", next=f"cloudrouter apps {args.machine} logs APP --tail 20")
    if args.app is not None:
        from cloudrouter.client import served

        served.app_word(args.app)
    transport = connect_own_version()
    if args.action == "start":
        return _tell(args, serving.start_app(transport, args.machine, args.app))
    if args.action == "stop":
        return _tell(args, _stop(transport, args.machine, args.app))
    if args.action == "logs":
        return _logs(args, transport)
    return _list(args, transport)


def _list(args: Namespace, transport: Transport) -> int:
    from cloudrouter.client import served

    found = served.read_apps(serving.ask(transport, args.machine, "GET", "apps"))
    if args.json:
        output.say_json({"apps": found})
        return 0
    if not found:
        output.note("No apps. A machine with some:  cloudrouter start --apps desktop,vscode")
        return 0
    rows = [_row(app) for app in found]
    styles = {1: lambda cell: output.paint(cell, _STYLES.get(cell, "yellow"), sys.stdout)}
    headers = ["NAME", "STATE", "MEMORY", "UPTIME", "CLIENTS", "ADDRESS"]
    for line in output.table(headers, rows, shrink=(5,), styles=styles):
        output.say(line)
    for app in found:
        if app.get("reason"):
            _explain(f"{app['name']}: {app['reason']}")
    return 0


def _explain(text: str) -> None:
    """A reason for the person; where it ends with what the app wrote, that has lines."""
    for at, line in enumerate(text.split("\n")):
        output.note(f"{'  ' if at else ''}{output.escape(line)}")


def _row(app: dict[str, Any]) -> tuple[str, ...]:
    from cloudrouter.wire.durations import format_duration

    memory, uptime = _number(app.get("memory_bytes")), _number(app.get("uptime_s"))
    return (
        app["name"],
        app["state"],
        "-" if memory is None else format_bytes(int(memory)),
        "-" if uptime is None else format_duration(uptime),
        str(app.get("clients") or "-"),
        str(app.get("url") or "-"),
    )


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1 << 60 else None


def _stop(transport: Transport, machine: str, app: str) -> dict[str, Any]:
    from cloudrouter.client import served

    try:
        return served.read_app(serving.ask(transport, machine, "POST", "apps", app, "stop"))
    except (NotFound, UsageError) as error:
        raise serving.explained(error, transport, machine, app) from None


def _tell(args: Namespace, app: dict[str, Any]) -> int:
    if args.json:
        output.say_json(app)
        return 0
    words = (output.escape(app["name"]), output.escape(app["state"]), output.escape(app.get("url") or ""))
    output.say("  ".join(word for word in words if word))
    if app.get("reason"):
        _explain(app["reason"])
    return 0


def _logs(args: Namespace, transport: Transport) -> int:
    """What it wrote, line by line; nothing in it can harm a terminal."""
    from cloudrouter.client import served

    tail = [] if args.tail is None else [("tail", str(args.tail))]
    try:
        answer = serving.ask(transport, args.machine, "GET", "apps", args.app, "logs", query=tail)
    except (NotFound, UsageError) as error:
        raise serving.explained(error, transport, args.machine, args.app) from None
    text = served.read_log(answer)
    if args.json:
        output.say_json({"app": args.app, "log": text})
    else:
        for line in text.splitlines():
            output.say(output.escape(line.expandtabs(4)))
    return 0


VERBS = {
    "apps": Verb(
        "[flags] ID [start|stop|logs APP]",
        description="List the apps of a machine: desktop, browser, editor, notebooks and others, with state, memory, "
        "time since their start, who is at them, and the address that a browser has after `open`. They start when "
        "somebody looks and stop when nobody does; `start` and `stop` do it by hand.",
        examples=(
            ("cloudrouter apps my-project", "a table"),
            ("cloudrouter apps my-project start vscode", "now, so that nobody has to wait for it"),
            ("cloudrouter apps my-project logs desktop --tail 20", "the end of what it wrote"),
            ("cloudrouter apps my-project --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
