"""`doctor`: whether this host can make machines, and what to do where it cannot."""

from __future__ import annotations

import os
import sys

from cloudrouter import __version__
from cloudrouter.cli import output
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import places, routes
from cloudrouter.wire.errors import CloudRouterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    Check = dict[str, Any]

DEADLINE_S = 60.0


def run(args: Namespace) -> int:
    """Print every check; 1 when one of them fails."""
    checks = [_check_config(), *_check_router()]
    failed = sum(not check["ok"] for check in checks)
    if args.json:
        output.say_json({"checks": checks})
        return 1 if failed else 0
    _show(checks)
    if failed:
        output.note(f"\n{failed} of {len(checks)} checks failed.")
    else:
        output.note("\nAll is well.")
    return 1 if failed else 0


def _check_config() -> Check:
    from cloudrouter.cli import config

    try:
        settings = config.read_settings(os.getcwd(), os.environ)
    except CloudRouterError as error:
        return _check("configuration", message=error.message, fix=error.fix)
    files = config.config_files(os.getcwd(), os.environ)
    message = f"{len(settings)} defaults set" + (f", from {', '.join(files)}" if files else "; no file is there")
    return _check("configuration", ok=True, message=message)


def _check_router() -> list[Check]:
    """The router itself, and all that it checks."""
    from cloudrouter.cli.connection import connect_router

    try:
        transport = connect_router()
        facts = transport.call("GET", routes.SERVER)
    except CloudRouterError as error:
        log = f"{places.state_dir(os.environ)}/logs"
        return [_check("router", message=error.message, fix=error.fix or f"Look into {log}.")]
    same = facts["version"] == __version__
    router = _check(
        "router",
        ok=True,
        message=f"version {facts['version']}, pid {facts['pid']}, {_counted(facts['machines'])}"
        + ("" if same else f" (this command is {__version__})"),
    )
    try:
        return [router, *transport.call("GET", routes.DOCTOR, timeout=DEADLINE_S)["checks"]]
    except CloudRouterError as error:
        return [router, _check("provider", message=error.message, fix=error.fix)]


def _counted(machines: int) -> str:
    return f"{machines} machine{'' if machines == 1 else 's'}"


def _check(name: str, *, ok: bool = False, message: str, fix: str = "") -> Check:
    return {"name": name, "ok": ok, "message": message, "fix": fix}


def _show(checks: list[Check]) -> None:
    width = max(output.width_of(output.escape(check["name"])) for check in checks)
    for check in checks:
        mark = output.paint("ok", "green", sys.stdout) if check["ok"] else output.paint("✗ ", "red", sys.stdout)
        name = output.escape(check["name"])
        padding = " " * (width - output.width_of(name))
        output.say(f"{mark}  {name}{padding}  {output.escape(check['message'])}")
        if check["fix"] and not check["ok"]:
            output.say(f"    Fix:  {output.escape(check['fix'])}")


VERBS = {
    "doctor": Verb(
        "[flags]",
        description="Check everything that machines need on this host, and say what to do where something is "
        "missing. Status 1 when a check fails.",
        examples=(
            ("cloudrouter doctor", "all checks, with remedies"),
            ("cloudrouter doctor --json", "for programs"),
        ),
        configure=add_json_flag,
        run=run,
    )
}
