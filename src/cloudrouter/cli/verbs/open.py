"""`open`, `vnc`, `code` and `jupyter`: an address at which a person sees what is in a machine."""

from __future__ import annotations

import os

from cloudrouter.cli import jobs, output, serving
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport


def configure(parser: ArgumentParser) -> None:
    """The words of `open`."""
    jobs.add_machine(parser)
    parser.add_argument(
        "target",
        metavar="APP|PORT",
        nargs="?",
        help="an app of `apps`, a port of `ports`, or http://localhost:3000/page (default: the one port that listens)",
    )
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="the page there (default: /)")
    _add_open_flag(parser)
    _add_view_flag(parser)
    parser.add_argument(
        "--revoke",
        action="store_true",
        help="open nothing; end every address, login and open page of this machine instead",
    )
    add_json_flag(parser)


def _add_open_flag(parser: ArgumentParser) -> None:
    parser.add_argument("-o", "--open", action="store_true", help="open it in your browser as well")


def _add_view_flag(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--view-only", action="store_true", help="of a desktop: whoever comes in with it sees it and cannot type"
    )


def run(args: Namespace) -> int:
    """Print the address; with --revoke end all there are."""
    if args.revoke:
        return _revoke(args)
    target, path = _read_words(args.target, args.path)
    transport = connect_own_version()
    return _open(args, transport, target or _only_port(transport, args.machine), path)


def run_desktop(args: Namespace) -> int:
    """`vnc`."""
    return _open(args, connect_own_version(), "desktop", "/")


def run_editor(args: Namespace) -> int:
    """`code`, on a folder of the machine where one is named."""
    args.view_only = False
    transport = connect_own_version()
    path = "/" if args.path is None else f"/?folder={_quote(_folder(transport, args.machine, args.path))}"
    return _open(args, transport, "vscode", path)


def run_notebook(args: Namespace) -> int:
    """`jupyter`."""
    args.view_only = False
    return _open(args, connect_own_version(), "jupyter", "/")


def _open(args: Namespace, transport: Transport, target: str, path: str) -> int:
    from cloudrouter.client import served

    body = {"target": target, "path": path, "view_only": args.view_only}
    try:
        answer = serving.ask(transport, args.machine, "POST", "open", body=body)
    except (NotFound, UsageError) as error:
        if target.isdecimal():
            raise
        raise serving.explained(error, transport, args.machine, target) from None
    door = served.read_door(answer)
    if args.json:
        output.say_json(door)
    else:
        output.say(door["url"])
    output.flush()  # The address is out, whatever becomes of the browser.
    if args.open:
        from cloudrouter.cli import browsing

        browsing.show(door["url"], os.path.dirname(transport.socket_path), os.environ)
    elif not args.json:
        _tell_use(args.machine, target, door["url"])
    return 0


def _tell_use(machine: str, target: str, url: str) -> None:
    output.note("Good for one minute and one use; the browser that opens it stays signed in for 12 hours.")
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    if host.endswith(".localhost"):
        output.note(f"Programs, and browsers that do not find it:  cloudrouter forward {machine} {target}")


def _revoke(args: Namespace) -> int:
    from cloudrouter.client import served

    if args.target is not None or args.open or args.view_only:
        raise UsageError(
            "--revoke ends all addresses of a machine; it goes with no app, port or other flag.",
            fix="Give the machine alone.",
            next=f"cloudrouter open --revoke {args.machine}",
        )
    closed = served.read_closed(serving.ask(connect_own_version(), args.machine, "POST", "close"))
    if args.json:
        output.say_json({"closed": closed})
    else:
        output.say(f"{closed} closed" if closed else "nothing was open")
    return 0


def _read_words(target: str | None, path: str) -> tuple[str | None, str]:
    """(app or port, path) of what was written; a dev server's own address is taken too."""
    if target is not None and "://" in target:
        from cloudrouter.wire.targets import read_target

        if path:
            raise UsageError("The address has a path already.", fix="Leave one of both out.")
        port, found = read_target(None, target)
        return str(port), found or "/"
    if target is not None and target.removeprefix(":").isdecimal():
        from cloudrouter.wire.targets import read_target

        target = str(read_target(int(target.removeprefix(":")[:6]), None)[0])
    elif target is not None:
        from cloudrouter.client.served import app_word

        app_word(target)
    return target, path if path.startswith("/") else f"/{path}"


def _only_port(transport: Transport, machine: str) -> str:
    """The port, where exactly one is open; else an error that lists what can be opened."""
    from cloudrouter.client import served

    ports = served.read_ports(serving.ask(transport, machine, "GET", "ports"))
    free = [one for one in ports if not one.get("app")]
    if len(free) == 1:
        return str(free[0]["port"])
    apps = [one for one in served.read_apps(serving.ask(transport, machine, "GET", "apps")) if one.get("url")]
    words = [*(f"{one['port']} ({one.get('process') or 'unknown'})" for one in free), *(one["name"] for one in apps)]
    if not words:
        raise NotFound(
            f"Nothing listens in {machine}, and it has no apps.",
            fix="Start a server in it.",
            next=f'cloudrouter ssh {machine} --bg "npm run dev"',
        )
    first = free[0]["port"] if free else apps[0]["name"]
    what = "Several things" if len(words) > 1 else "No port, but an app"
    raise UsageError(
        f"{what} can be opened in {machine}: {', '.join(words)}.",
        fix="Name the one you mean.",
        next=f"cloudrouter open {machine} {first}",
        ports=free,
        apps=apps,
    )


def _folder(transport: Transport, machine: str, path: str) -> str:
    """A folder of the machine without links and `~`; NotFound or UsageError where it is none."""
    from cloudrouter.client import relaying

    if relaying.kind_of(transport, machine, path) == "file":
        raise UsageError(f"{path} is a file, and an editor opens on a folder.", fix="Give the folder it is in.")
    real = relaying.real_path(transport, machine, path)
    if real is None:
        raise NotFound(f"There is no folder {path} in {machine}.", next=f"cloudrouter ssh {machine} ls")
    return real


def _quote(text: str) -> str:
    return routes.query("", [("", text)]).partition("=")[2].replace("%2F", "/")


_DESCRIPTION = (
    "It is printed with a ticket that is good for one minute and one use, and lets the browser in for 12 hours at most."
)


def _app_verb(name: str, title: str, app: str, run: Any, example: tuple[str, str], *, word: str = "") -> Verb:
    def configure_app(parser: ArgumentParser) -> None:
        jobs.add_machine(parser)
        if word:
            parser.add_argument(
                "path", metavar=word, nargs="?", help="a folder in the machine (default: the workspace)"
            )
        _add_open_flag(parser)
        if app == "desktop":
            _add_view_flag(parser)
        add_json_flag(parser)

    return Verb(
        f"[flags] ID{f' [{word}]' if word else ''}",
        description=f"Print the address at which a browser shows the {title}, which is started when somebody looks. "
        + _DESCRIPTION,
        examples=(
            (f"cloudrouter {name} my-project", "the address"),
            (f"cloudrouter {name} my-project --open", "in your browser"),
            example,
        ),
        configure=configure_app,
        run=run,
    )


VERBS = {
    "open": Verb(
        "[flags] ID [APP|PORT] [PATH]",
        description="Print the address at which a browser reaches an app of a machine, or a port that something "
        f"listens on inside, also on 127.0.0.1 only. {_DESCRIPTION}",
        examples=(
            ("cloudrouter open my-project", "the one dev server that runs"),
            ("cloudrouter open my-project 3000 /admin --open", "a page of one, in your browser"),
            ("cloudrouter open my-project desktop --view-only", "for somebody who is to see it and not to type"),
            ("cloudrouter open my-project --revoke", "sign everybody out"),
        ),
        configure=configure,
        run=run,
    ),
    "vnc": _app_verb(
        "vnc",
        "desktop of a machine",
        "desktop",
        run_desktop,
        ("cloudrouter vnc my-project --view-only", "for somebody who is to see it and not to type"),
    ),
    "code": _app_verb(
        "code",
        "editor of a machine, VS Code,",
        "vscode",
        run_editor,
        ("cloudrouter code my-project src", "on a folder of it"),
        word="PATH",
    ),
    "jupyter": _app_verb(
        "jupyter",
        "notebooks of a machine, JupyterLab,",
        "jupyter",
        run_notebook,
        ("cloudrouter jupyter my-project --json", "for programs"),
    ),
}
