"""`delete`: remove machines and everything in them."""

from __future__ import annotations

from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.output import escape, flush, say, say_json, show_error
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterable
    from typing import Any

    Outcome = dict[str, Any] | CloudRouterError

AT_ONCE = 8


def configure(parser: ArgumentParser) -> None:
    """The words of `delete`."""
    parser.add_argument("machines", metavar="ID", nargs="+", help="whole ids or names; a beginning is refused")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Delete each machine, asking nothing; the failure of one does not keep it from the others."""
    transport = connect_own_version()

    def delete(ref: str) -> Outcome:
        try:
            machine: dict[str, Any] = transport.call("DELETE", routes.machine(ref))
        except CloudRouterError as error:
            return error
        return machine

    refs = list(dict.fromkeys(args.machines))
    machines: list[dict[str, Any]] = []
    errors: list[tuple[str, CloudRouterError]] = []
    for ref, outcome in zip(refs, _each(delete, refs), strict=True):
        if isinstance(outcome, CloudRouterError):
            errors.append((ref, outcome))
            show_error(outcome)
            continue
        machines.append(outcome)
        if not args.json:
            say(_told(outcome))
            flush()
    if args.json:
        told = [{"ref": ref, **error.to_json()} for ref, error in errors]
        say_json({"machines": machines, "errors": told})
    return errors[0][1].exit_code if errors else 0


def _each(delete: Callable[[str], Outcome], refs: list[str]) -> Iterable[Outcome]:
    """The outcomes in the order of refs; several machines go at the same time."""
    if len(refs) == 1:
        return [delete(refs[0])]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(delete, refs))


def _told(machine: dict[str, Any]) -> str:
    name = f"  {escape(machine['name'])}" if machine.get("name") else ""
    return f"{escape(machine['id'])}{name}  deleted"


VERBS = {
    "delete": Verb(
        "[flags] ID...",
        description="Remove machines with everything in them, at once and for good. Nothing is asked.",
        examples=(
            ("cloudrouter delete my-project", "by its whole name"),
            ("cloudrouter delete cr_7k2m9xqd cr_4hq2wn8t --json", "several at once, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
