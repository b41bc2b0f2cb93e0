"""`volume create`, `volume ls`, `volume inspect`, `volume rm`: disks that outlive machines."""

from __future__ import annotations

import sys

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport


def create(args: Namespace) -> int:
    """Make a volume; one that is there already is success, and said."""
    body = {"name": args.name, **({"provider": args.provider} if args.provider else {})}
    volume = connect_own_version().call("POST", routes.VOLUMES, body)
    if args.json:
        output.say_json(volume)
        return 0
    output.say(f"{output.escape(volume['name'])}  {'made' if volume['made'] else 'was there already'}")
    if volume["made"]:
        output.note(f"Give it to a machine:  cloudrouter start --volume {output.escape(volume['name'])}:/data")
    return 0


def ls(args: Namespace) -> int:
    """Print the volumes, or a hint when there are none."""
    answer = connect_own_version().call("GET", _path(routes.VOLUMES, provider=args.provider, size=args.size))
    if args.json:
        output.say_json(answer)
        return 0
    if not answer["volumes"]:
        output.note("No volumes. A start makes one:  cloudrouter start --volume NAME:PATH")
        return 0
    from cloudrouter.cli.times import age

    headers = ("NAME", "AGE", *(("SIZE",) if args.size else ()), "MACHINES")
    rows = [
        (one["name"], age(one["created_at"]), *((_size(one),) if args.size else ()), _users(one) or "-")
        for one in answer["volumes"]
    ]
    for line in output.table(headers, rows, shrink=(len(headers) - 1,)):
        output.say(line)
    return 0


def inspect(args: Namespace) -> int:
    """Print one volume: its size, its age, and every machine that has it."""
    volume = connect_own_version().call("GET", _path(routes.volume(args.name), provider=args.provider))
    if args.json:
        output.say_json(volume)
        return 0
    from cloudrouter.cli.machines import machine_line
    from cloudrouter.cli.times import age, clock_time

    output.say(output.escape(volume["name"]))
    made = volume["created_at"]
    rows = [
        ("size", _size(volume)),
        ("made", f"{clock_time(made)} ({age(made)} ago)" if made else "-"),
        ("provider", output.escape(volume["provider"])),
        *(("machine", machine_line(one, _place(one))) for one in volume["machines"]),
    ]
    for line in output.pairs(rows, stream=sys.stdout):
        output.say(line)
    return 0


def rm(args: Namespace) -> int:
    """Remove volumes; the failure of one does not keep it from the others."""
    from cloudrouter.wire.errors import CloudRouterError, UsageError

    if bool(args.names) == args.all:
        raise UsageError(
            "`volume rm` needs names, or --all." if not args.names else "`volume rm` takes names or --all, not both.",
            fix="cloudrouter volume rm npm-cache",
            next="cloudrouter volume ls",
        )
    transport = connect_own_version()
    names = _free_names(transport, args) if args.all else list(dict.fromkeys(args.names))
    declined = names is None
    removed: list[str] = []
    errors: list[tuple[str, CloudRouterError]] = []
    for name in names or ():
        try:
            transport.call("DELETE", _path(routes.volume(name), provider=args.provider))
        except CloudRouterError as error:
            errors.append((name, error))
            output.show_error(error)
        else:
            removed.append(name)
            if not args.json:
                output.say(f"{output.escape(name)}  removed")
    if args.json:
        output.say_json({"removed": removed, "errors": [{"ref": name, **error.to_json()} for name, error in errors]})
    return errors[0][1].exit_code if errors else int(declined)


def _free_names(transport: Transport, args: Namespace) -> list[str] | None:
    """The names of the volumes that no machine has, once the person has agreed; None: they said no.

    The others are named on stderr. UsageError where nobody can be asked.
    """
    from cloudrouter.cli.asking import confirm

    listed = transport.call("GET", _path(routes.VOLUMES, provider=args.provider))["volumes"]
    for one in listed:
        if one["machines"]:
            output.note(output.escape(f"{one['name']} stays: used by {_users(one)}."))
    names = [str(one["name"]) for one in listed if not one["machines"]]
    if not names:
        output.note("No volume is free to be removed." if listed else "No volumes.")
        return []
    shown = ", ".join(output.escape(name) for name in names)
    question = f"Remove {len(names)} volume{'s'[: len(names) > 1]} with all that is in them: {shown}?"
    return names if confirm(question, yes=args.yes, verb="volume rm --all") else None


def _path(path: str, *, provider: str | None = None, size: bool = False) -> str:
    words = ["size=true"] if size else []
    if provider is not None:
        from urllib.parse import quote

        words.append(f"provider={quote(provider, safe='')}")
    return f"{path}?{'&'.join(words)}" if words else path


def _size(volume: dict[str, Any]) -> str:
    from cloudrouter.wire.sizes import format_bytes

    return "-" if volume["size_bytes"] is None else format_bytes(volume["size_bytes"])


def _users(volume: dict[str, Any]) -> str:
    return ", ".join(dict.fromkeys(one["name"] or one["id"] for one in volume["machines"]))


def _place(use: dict[str, Any]) -> str:
    return f"at {output.escape(use['path'])}" + (", only read" if use["read_only"] else "")


def _add_common_flags(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--provider", metavar="P", help="whose volumes (default: docker)")
    add_json_flag(parser)


def _configure_create(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a-z first, then a-z, 0-9 and -; 31 characters at most")
    _add_common_flags(parser)


def _configure_ls(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--size", action="store_true", help="measure each; the engine counts every file, which may take seconds"
    )
    _add_common_flags(parser)


def _configure_inspect(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the whole name")
    _add_common_flags(parser)


def _configure_rm(parser: ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="whole names")
    parser.add_argument(
        "--all", action="store_true", help="every volume that no machine has, the others are named; asks first"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="with --all: do not ask")
    _add_common_flags(parser)


VERBS = {
    "volume": Verb(
        "VERB [flags] ...",
        description="Disks that outlive machines. `start --volume NAME:PATH` gives one to a machine and makes it when "
        "it is not there; deleting the machine leaves it. Several machines may have one at the same time.",
        examples=(
            ("cloudrouter start --volume npm-cache:~/.npm", "npm's cache is still there for the next machine"),
            ("cloudrouter start --volume models:/models:ro", "one that this machine can only read"),
            ("cloudrouter volume ls", "what is there, and who uses it"),
        ),
        inner={
            "create": Verb(
                "[flags] NAME",
                description="Make an empty volume. One that is there already is left as it is.",
                examples=(
                    ("cloudrouter volume create models", "before a machine needs it"),
                    ("cloudrouter volume create models --json", "for programs; `made` tells whether it is new"),
                ),
                configure=_configure_create,
                run=create,
            ),
            "ls": Verb(
                "[flags]",
                description="List your volumes, and the machines that have them.",
                examples=(
                    ("cloudrouter volume ls", "a table"),
                    ("cloudrouter volume ls --size --json", "measured, for programs"),
                ),
                configure=_configure_ls,
                run=ls,
            ),
            "inspect": Verb(
                "[flags] NAME",
                description="Show one volume: its size, and where each machine has it.",
                examples=(
                    ("cloudrouter volume inspect npm-cache", "who uses it, and how much is in it"),
                    ("cloudrouter volume inspect npm-cache --json", "for programs"),
                ),
                configure=_configure_inspect,
                run=inspect,
            ),
            "rm": Verb(
                "[flags] NAME... | --all",
                description="Remove volumes for good. One that a machine has, running or stopped, is refused; --all "
                "takes the others, and names on stderr those that stay.",
                examples=(
                    ("cloudrouter volume rm npm-cache", "by its whole name"),
                    ("cloudrouter volume rm --all --yes --json", "all that no machine has, for programs"),
                ),
                configure=_configure_rm,
                run=rm,
            ),
        },
    )
}
