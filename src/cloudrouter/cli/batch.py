"""Verbs on several machines: which ones are meant, all of them at the same time, one line and one JSON entry each."""

from __future__ import annotations

from cloudrouter.cli import output
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Collection, Sequence
    from typing import Any

    from cloudrouter.client.transport import Transport

    Machine = dict[str, Any]
    Outcome = Machine | CloudRouterError

AT_ONCE = 8
NAMED = 10
"""So many machines are named in a question; of more only the number is told."""


def add_words(parser: ArgumentParser, *, asks: bool = True, ids: str = "ids, names, or at least 4 letters") -> None:
    """The words of a verb on machines: IDs, or --all, narrowed by labels."""
    parser.add_argument("machines", metavar="ID", nargs="*", help=ids)
    parser.add_argument("--all", action="store_true", help="every machine for which it makes sense")
    parser.add_argument(
        "-l",
        "--label",
        metavar="K[=V]",
        action="append",
        default=[],
        help="with --all: only machines with this label; may be repeated",
    )
    if asks:
        parser.add_argument("-y", "--yes", action="store_true", help="with --all: do not ask")


def check_words(args: Namespace, verb: str) -> None:
    """Refuse words that mean no machines, or too many ways of meaning them; called before any router is asked."""
    if args.all:
        if args.machines:
            raise UsageError(
                "--all and IDs do not go together.", fix="Name the machines, or say --all.", next="cloudrouter ls"
            )
    elif args.label:
        raise UsageError("--label goes with --all.", fix=f"Write: cloudrouter {verb} --all --label {args.label[0]}")
    elif not args.machines:
        raise UsageError(
            f"`{verb}` needs ID.",
            fix=f"Usage: cloudrouter {verb} [flags] ID...",
            next=f"cloudrouter {verb} --help",
        )


def choose(
    args: Namespace, transport: Transport, *, verb: str, states: Collection[str], risk: str = ""
) -> list[str] | None:
    """The machines that are meant; with --all those in these states, once the person has said yes. None: they said no.

    `risk` is what the question adds, such as what will be lost.
    """
    if not args.all:
        return list(dict.fromkeys(args.machines))
    pairs = [*(("label", one) for one in args.label), *(("state", one) for one in sorted(states))]
    machines = transport.call("GET", routes.query(routes.MACHINES, pairs))["machines"]
    if not machines:
        output.note(f"There is no machine to {verb}.")
        return []
    if hasattr(args, "yes"):
        from cloudrouter.cli.asking import confirm

        if not confirm(_question(verb, machines, risk), yes=args.yes, verb=f"{verb} --all"):
            return None
    return [str(one["id"]) for one in machines]


def _question(verb: str, machines: Sequence[Machine], risk: str) -> str:
    named = [
        f"{output.escape(one['id'])} ({output.escape(one['name'])})" if one["name"] else output.escape(one["id"])
        for one in machines[:NAMED]
    ]
    more = f" and {len(machines) - NAMED} more" if len(machines) > NAMED else ""
    count = "1 machine" if len(machines) == 1 else f"{len(machines)} machines"
    return f"{verb.capitalize()} {count}{risk}: {', '.join(named)}{more}?"


def run_each(
    args: Namespace,
    act: Callable[[str], Machine],
    refs: Sequence[str],
    *,
    line: Callable[[Machine], str],
    lists: bool = False,
    after: Callable[[list[Machine]], None] | None = None,
) -> int:
    """Do it to each, several at the same time; a failure is told and keeps none of the others from it.

    One named machine prints one object with --json, unless the verb `lists`; anything else
    `{"machines": [...], "errors": [...]}`. The status is that of the first failure. `after` gets what succeeded.
    """
    if len(refs) == 1 and not args.all and not lists:
        machine = act(refs[0])
        output.say_json(machine) if args.json else output.say(line(machine))
        return 0
    machines, errors = collect(act, refs, tell=None if args.json else line)
    if args.json:
        output.say_json({"machines": machines, "errors": [{"ref": ref, **error.to_json()} for ref, error in errors]})
    if after is not None:
        after(machines)
    return errors[0][1].exit_code if errors else 0


def collect(
    act: Callable[[str], Machine], refs: Sequence[str], *, tell: Callable[[Machine], str] | None = None
) -> tuple[list[Machine], list[tuple[str, CloudRouterError]]]:
    """(what succeeded, what failed with its ref), in the order of refs; failures are told on stderr as they come."""
    machines: list[Machine] = []
    errors: list[tuple[str, CloudRouterError]] = []
    for ref, outcome in zip(refs, _outcomes(act, refs), strict=True):
        if isinstance(outcome, CloudRouterError):
            errors.append((ref, outcome))
            output.show_error(outcome)
            continue
        machines.append(outcome)
        if tell is not None:
            output.say(tell(outcome))
            output.flush()
    return machines, errors


def _outcomes(act: Callable[[str], Machine], refs: Sequence[str]) -> list[Outcome]:
    """In the order of refs."""

    def guarded(ref: str) -> Outcome:
        try:
            return act(ref)
        except CloudRouterError as error:
            return error

    if len(refs) <= 1:
        return [guarded(ref) for ref in refs]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(guarded, refs))
