"""`delete`: remove machines and everything in them."""

from __future__ import annotations

from cloudrouter.cli import batch
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.output import escape
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.cli.volumes import tell_kept
from cloudrouter.wire import routes, states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

DELETABLE = tuple(sorted(set(states.NEXT) - {states.GONE, states.POOLED}))


def configure(parser: ArgumentParser) -> None:
    """The words of `delete`."""
    batch.add_words(parser, ids="whole ids or names; a beginning is refused")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Delete each machine; those that are named without a question."""
    batch.check_words(args, "delete")
    transport = connect_own_version()

    def delete(ref: str) -> dict[str, Any]:
        machine: dict[str, Any] = transport.call("DELETE", routes.machine(ref))
        return machine

    refs = batch.choose(args, transport, verb="delete", states=DELETABLE, risk=" with everything in them")
    if refs is None:
        return 1
    return batch.run_each(args, delete, refs, line=_told, lists=True, after=tell_kept)


def _told(machine: dict[str, Any]) -> str:
    name = f"  {escape(machine['name'])}" if machine.get("name") else ""
    return f"{escape(machine['id'])}{name}  deleted"


VERBS = {
    "delete": Verb(
        "[flags] ID...",
        description="Remove machines with everything in them, at once and for good. Only --all asks. Volumes stay.",
        examples=(
            ("cloudrouter delete my-project", "by its whole name"),
            ("cloudrouter delete cr_7k2m9xqd cr_4hq2wn8t --json", "several at once, for programs"),
            ("cloudrouter delete --all --label agent=me --yes", "all of yours, without a question"),
        ),
        configure=configure,
        run=run,
    )
}
