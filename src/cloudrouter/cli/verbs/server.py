"""`server`: run, start, stop and look at the router. The one verb that knows the server's room."""

from __future__ import annotations

import os

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version, find_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.values import count
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import places, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

_TEAM = {
    "domain": "CLOUDROUTER_DOMAIN",
    "tls_cert": "CLOUDROUTER_TLS_CERT",
    "tls_key": "CLOUDROUTER_TLS_KEY",
    "gateway_address": "CLOUDROUTER_GATEWAY_ADDRESS",
}
"""Flag of `server run` -> the variable that says the same."""
TELL_DEADLINE_S = 5.0
DEFAULT_TAIL = 100


def run(args: Namespace) -> int:
    """Be the router until a signal or `server stop`."""
    from cloudrouter.server.run import main

    words = {name: getattr(args, word) for word, name in _TEAM.items()}
    given = {name: value for name, value in words.items() if value is not None}
    if not args.json:
        return main(detached=args.detached, ready_fd=args.ready_fd, given=given)
    from threading import Thread

    reading, writing = os.pipe()
    teller = Thread(target=_tell_ready, args=(reading, args.ready_fd), daemon=True)
    teller.start()
    code = main(detached=args.detached, ready_fd=writing, given=given)
    teller.join(TELL_DEADLINE_S)
    return code


def _tell_ready(reading: int, ready_fd: int | None) -> None:
    """Print the router's first word as JSON: where it serves, or why it does not; and pass it on."""
    with open(reading, "rb") as pipe:
        word = pipe.readline()
    if ready_fd is not None:
        os.write(ready_fd, word)
        os.close(ready_fd)
    if word == b"ok\n":
        from cloudrouter import __version__

        socket, state_dir = places.socket_path(os.environ, os.getuid()), places.state_dir(os.environ)
        output.say_json({"pid": os.getpid(), "version": __version__, "socket": socket, "state_dir": state_dir})
    elif word.startswith(b"error "):
        import json

        output.say_json({"error": json.loads(word.removeprefix(b"error "))})
    output.flush()


def start(args: Namespace) -> int:
    """Start the router in the background; one that runs already is success."""
    ran = find_router() is not None
    facts = connect_own_version().call("GET", routes.SERVER)
    if args.json:
        output.say_json(facts)
    else:
        output.say(f"The router {'runs already' if ran else 'is started'}: {_line(facts)}")
    return 0


def status(args: Namespace) -> int:
    """Print the router's facts; nothing is started."""
    transport = find_router()
    if transport is None:
        raise _not_running()
    facts = transport.call("GET", routes.SERVER)
    if args.json:
        output.say_json(facts)
        return 0
    from cloudrouter.cli.times import age

    output.say(f"The router has been running for {age(facts['started_at'])}.")
    rows = [
        ("pid", str(facts["pid"])),
        ("version", output.escape(facts["version"])),
        ("machines", str(facts["machines"])),
        ("socket", output.escape(facts["socket"])),
        ("gateway", output.escape(facts["gateway_url"] or f"none: {facts.get('gateway_reason', '')}")),
        ("state", output.escape(facts["state_dir"])),
        ("router id", output.escape(facts["router_id"])),
    ]
    for line in output.pairs(rows):
        output.say(line)
    return 0


def stop(args: Namespace) -> int:
    """Stop the router and wait until its process is gone; machines go on."""
    transport = find_router()
    if transport is None:
        _tell_stopped(args, None)
        return 0
    from cloudrouter.cli.stopping import stop_router

    pid = stop_router(transport)
    _tell_stopped(args, pid)
    return 0


def _tell_stopped(args: Namespace, pid: int | None) -> None:
    if args.json:
        output.say_json({"stopped": pid is not None, "pid": pid})
    elif pid is None:
        output.say("No router was running.")
    else:
        output.say(f"The router (pid {pid}) has stopped; machines and their commands go on.")


def logs(args: Namespace) -> int:
    """Print the router's log."""
    from cloudrouter.cli.routerlog import RouterLog

    path = f"{places.state_dir(os.environ)}/logs/router.log"
    with RouterLog(path, as_json=args.json) as log:
        log.print_tail(args.tail)
        if args.follow:
            log.follow()
    return 0


def _line(facts: dict[str, Any]) -> str:
    return output.escape(f"pid {facts['pid']}, version {facts['version']}, {facts['socket']}")


def _not_running() -> Exception:
    from cloudrouter.wire.errors import NotRunning

    return NotRunning("The router is not running.", fix="Start it; any verb does.", next="cloudrouter server start")


def _configure_run(parser: ArgumentParser) -> None:
    parser.add_argument("--detached", action="store_true", help="write to the log file alone, nothing to the terminal")
    parser.add_argument("--ready-fd", metavar="FD", type=count, help="write `ok` to this descriptor once it serves")
    parser.add_argument("--json", action="store_true", help="print {pid, version, socket, state_dir} once it serves")
    team = parser.add_argument_group("gateway for a team", "browsers find machines at APP--ID.DOMAIN, over TLS")
    team.add_argument("--domain", metavar="DOMAIN", help="whose names lead here, all of them: *.cr.example.com")
    team.add_argument("--tls-cert", metavar="FILE", help="certificate for *.DOMAIN, PEM")
    team.add_argument("--tls-key", metavar="FILE", help="its key, PEM; default: the certificate's file")
    team.add_argument("--gateway-address", metavar="IP", help="listen there (default: this host's loopback only)")


def _configure_logs(parser: ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("--tail", metavar="N", type=count, default=DEFAULT_TAIL, help="the last N lines (default: 100)")
    parser.add_argument("--json", action="store_true", help="print the log's own JSON, one object a line")


def _examples(name: str, meaning: str) -> tuple[tuple[str, str], ...]:
    return (
        (f"cloudrouter server {name}", meaning),
        (f"cloudrouter server {name} --json", "for programs"),
    )


VERBS = {
    "server": Verb(
        "VERB [flags]",
        description="Run, start, stop and look at the router: the background process that keeps your machines. "
        "Every verb starts it when it is needed; stopping it harms no machine.",
        examples=(
            ("cloudrouter server status", "whether it runs, where, since when"),
            ("cloudrouter server logs -f", "what it does"),
        ),
        inner={
            "run": Verb(
                "[flags]",
                description="Be the router, in the foreground, until Ctrl-C or `server stop`.",
                examples=(
                    ("cloudrouter server run", "with its log on the terminal"),
                    ("cloudrouter server run --detached", "for a service manager: quiet, log file only"),
                    (
                        "cloudrouter server run --domain cr.example.com --tls-cert cert.pem --tls-key key.pem",
                        "machines for browsers at https://APP--ID.cr.example.com:7080",
                    ),
                ),
                configure=_configure_run,
                run=run,
            ),
            "start": Verb(
                "[flags]",
                description="Start the router in the background. One that runs already is fine.",
                examples=_examples("start", "returns once it answers"),
                configure=add_json_flag,
                run=start,
            ),
            "status": Verb(
                "[flags]",
                description="Show whether the router runs, where and since when. Status 6 when it does not.",
                examples=_examples("status", "pid, version, socket, machines"),
                configure=add_json_flag,
                run=status,
            ),
            "stop": Verb(
                "[flags]",
                description="Stop the router. Machines and their background commands go on.",
                examples=_examples("stop", "returns once it has ended"),
                configure=add_json_flag,
                run=stop,
            ),
            "logs": Verb(
                "[flags]",
                description="Show the router's log.",
                examples=(
                    ("cloudrouter server logs --tail 20", "the last lines"),
                    ("cloudrouter server logs -f --json", "as it comes, one JSON object a line"),
                ),
                configure=_configure_logs,
                run=logs,
            ),
        },
    )
}
