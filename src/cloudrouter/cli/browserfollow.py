"""`browser console|errors|network -f`: what happens in the browser, as it happens."""

from __future__ import annotations

import json

from cloudrouter.cli import browsershow, browsersteps, output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from cloudrouter.wire.browsing import Step

KINDS = {"console": "console", "errors": "errors", "network-requests": "network"}
"""Step -> what is followed."""


def run(args: Namespace, step: Step) -> int:
    """Print what comes until Ctrl-C, or until the machine ends; a stream that breaks is opened again."""
    given = [f"--{name}" for name in browsersteps.read_options(step, args)]
    given += ["--timeout"] if args.timeout is not None else []
    if given:
        raise UsageError(f"-f goes without {given[0]}.", fix="Leave one of them out.")
    session = None if args.session is None else browsersteps.session_of(args)
    request = {"op": "browser.follow", "kind": KINDS[step.name], "session": session, "since_now": False}
    _follow(args, request)
    return 0


def _follow(args: Namespace, request: dict[str, Any]) -> None:
    from cloudrouter.client import commands, following

    transport = connect_own_version()
    seen = 0

    def once() -> None:
        nonlocal seen
        stream = following.open_stream(transport, args.machine)
        try:
            stream.send_text(json.dumps(request))
            while (message := stream.receive(timeout=None)) is not None:
                if message[0] != "text":
                    continue
                said = commands.read_text(message[1])
                if commands.final_of(said) is not None:
                    return
                if isinstance(said.get("item"), dict):
                    _print(said["item"], as_json=args.json)
                    output.flush()
                    seen += 1
                request["since_now"] = True  # What was there has been told; from now on nothing comes twice.
        finally:
            stream.close()
        raise commands.ended(stream)

    following.persist(transport, once, moved=lambda: seen)


def _print(item: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.say(json.dumps(item))
        return
    from cloudrouter.cli.times import clock_second

    at = item.get("time")
    before = f"{clock_second(at if isinstance(at, str) else None)}  "
    browsershow.message(str(item.get("type") or "-"), str(item.get("text") or item.get("url") or ""), before)
