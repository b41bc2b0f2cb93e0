"""`stop`: end machines' processes, keep their disks."""

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

STOPPABLE = (states.STARTING, states.RUNNING, states.RESUMING, states.STOPPING)


def configure(parser: ArgumentParser) -> None:
    """The words of `stop`."""
    batch.add_words(parser)
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Stop each machine."""
    batch.check_words(args, "stop")
    transport = connect_own_version()

    def stop(ref: str) -> dict[str, Any]:
        machine: dict[str, Any] = transport.call("POST", routes.machine(ref, "stop"))
        return machine

    refs = batch.choose(args, transport, verb="stop", states=STOPPABLE)
    return 1 if refs is None else batch.run_each(args, stop, refs, line=machine_line)


VERBS = {
    "stop": Verb(
        "[flags] ID...",
        description="End everything that runs in machines and keep their files. `resume` boots them again.",
        examples=(
            ("cloudrouter stop my-project", "its processes end, its files stay"),
            ("cloudrouter stop cr_7k2m9xqd cr_4hq2wn8t --json", "several at once, for programs"),
            ("cloudrouter stop --all --label agent=me --yes", "all of yours, without a question"),
        ),
        configure=configure,
        run=run,
    )
}
