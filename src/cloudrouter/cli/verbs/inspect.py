"""`inspect`: everything that is known of machines, as JSON."""

from __future__ import annotations

import json

from cloudrouter.cli import batch, output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `inspect`."""
    batch.add_words(parser, asks=False)
    parser.add_argument("--json", action="store_true", help="print it on one line; it is JSON in any case")


def run(args: Namespace) -> int:
    """Print what the router, the provider and the guest say of each machine."""
    batch.check_words(args, "inspect")
    transport = connect_own_version()

    def look(ref: str) -> dict[str, Any]:
        machine: dict[str, Any] = transport.call("GET", routes.machine(ref, "inspect"))
        return machine

    refs = batch.choose(args, transport, verb="inspect", states=()) or []
    if len(refs) == 1 and not args.all:
        _say(look(refs[0]), indent=not args.json)
        return 0
    machines, errors = batch.collect(look, refs)
    told = [{"ref": ref, **error.to_json()} for ref, error in errors]
    _say({"machines": machines, "errors": told}, indent=not args.json)
    return errors[0][1].exit_code if errors else 0


def _say(value: dict[str, Any], *, indent: bool) -> None:
    output.say(json.dumps(value, indent=2 if indent else None))


VERBS = {
    "inspect": Verb(
        "[flags] ID...",
        description="Print everything that is known of machines, as JSON: what was asked for, what the provider sees, "
        "whether the guest answers and what it runs, the names of variables (never their values), the last events.",
        examples=(
            ("cloudrouter inspect my-project", "one object"),
            ("cloudrouter inspect cr_7k2m9xqd cr_4hq2wn8t --json", "several, on one line"),
        ),
        configure=configure,
        run=run,
    )
}
