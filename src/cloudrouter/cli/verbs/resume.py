"""`resume`: boot stopped machines again."""

from __future__ import annotations

from cloudrouter.cli import batch
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.machines import machine_line
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes, states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

RESUMABLE = (states.STOPPED, states.PAUSED)


def configure(parser: ArgumentParser) -> None:
    """The words of `resume`."""
    batch.add_words(parser)
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Resume each machine; returns once their guests answer."""
    batch.check_words(args, "resume")
    transport = connect_own_version()

    def resume(ref: str) -> dict[str, Any]:
        machine: dict[str, Any] = transport.call("POST", routes.machine(ref, "resume"))
        return machine

    refs = batch.choose(args, transport, verb="resume", states=RESUMABLE)
    return 1 if refs is None else batch.run_each(args, resume, refs, line=machine_line)


VERBS = {
    "resume": Verb(
        "[flags] ID...",
        description="Boot stopped machines again, with the files they had. Returns once they answer.",
        examples=(
            ("cloudrouter resume my-project", "ready when the command returns"),
            ("cloudrouter resume cr_7k2m9xqd cr_4hq2wn8t --json", "several at once, for programs"),
            ("cloudrouter resume --all --label agent=me --yes", "all of yours, without a question"),
        ),
        configure=configure,
        run=run,
    )
}
