"""`uninstall`: take away what CloudRouter has made on this host."""

from __future__ import annotations

import os
import sys

from cloudrouter.cli import batch, output
from cloudrouter.cli.connection import connect_own_version, find_router
from cloudrouter.cli.ownfolders import OwnFolder, own_folders
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import places, routes
from cloudrouter.wire.errors import CloudRouterError, Conflict, Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport

    Item = dict[str, Any]

REMOVAL_DEADLINE_S = 600.0
LISTED = 6
"""Of one kind so many things are named; of more their number is told."""
WORDS = {"rules": "firewall rules", "helper": "helper container", "include": "lines for ssh"}
FLAGS = {"machine": "--machines", "image": "--images", "volume": "--volumes", "folder": "--state", "include": "--state"}


def configure(parser: ArgumentParser) -> None:
    """The words of `uninstall`."""
    parser.add_argument("--machines", action="store_true", help="delete the machines that there still are")
    parser.add_argument("--images", action="store_true", help="remove our images, for every router on this engine")
    parser.add_argument("--volumes", action="store_true", help="remove volumes with all that is in them")
    parser.add_argument(
        "--state", action="store_true", help="remove the book, logs, package cache and your configuration"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="--volumes and --state together, and --images unless other routers have things on this engine",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be removed, and remove nothing")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Show, ask, remove: machines first, then what they stood on, then the router and its folders."""
    folders = own_folders(os.environ)
    transport = find_router()
    if transport is not None or os.path.exists(f"{folders[0].path}/router-id"):
        # Only a router can take its networks and rules away; without an id of one there never was any here.
        transport = connect_own_version()
    plan = transport.call("GET", routes.UNINSTALL, timeout=REMOVAL_DEADLINE_S) if transport is not None else {}
    doomed, kept = _sort(args, plan, folders)
    errors: list[Item] = list(plan.get("errors", ()))
    if args.dry_run:
        _show(args, doomed, kept)
        _tell_result(args, [], kept, errors, would=doomed)
        return 0
    _refuse_machines(args, plan)
    if not _goes_on(args, doomed, kept):
        return 1
    removed: list[Item] = []
    ended = transport is None or _remove_router(args, transport, plan, removed, kept, errors)
    failed = bool(errors)
    for folder in folders:
        if folder.word == "runtime":
            if ended:  # A router that goes on needs its socket.
                _remove_folder(folder, removed, errors)
        elif (args.state or args.all) and not failed:
            # While something of this router is left, its book is needed to find it again.
            _remove_folder(folder, removed, errors)
    if (args.state or args.all) and not failed and _included():
        _remove_include(removed, errors)
    _tell_result(args, removed, kept, errors)
    return 1 if errors else 0


def _sort(args: Namespace, plan: dict[str, Any], folders: list[OwnFolder]) -> tuple[list[Item], list[Item]]:
    """(what goes, what stays) of everything there is."""
    items = [{"kind": "machine", "name": one["id"], "alias": one["name"]} for one in plan.get("machines", ())]
    items += plan.get("leftovers", ())
    items += [
        {"kind": "folder", "name": one.path, "size_bytes": one.size_bytes()}
        for one in folders
        if one.word != "runtime" and one.entries()
    ]
    items += [{"kind": "include", "name": path} for path in _included()]
    chosen = {
        "machine": args.machines,
        "image": args.images,
        "volume": args.volumes or args.all,
        "folder": args.state or args.all,
        "include": args.state or args.all,
    }
    alone = _takes_images(args, plan)
    doomed = [one for one in items if chosen.get(one["kind"], True) or (one["kind"] == "image" and alone)]
    return doomed, [one for one in items if one not in doomed]


def _takes_images(args: Namespace, plan: dict[str, Any]) -> bool:
    """Images that other routers may use, too, go only when they are asked for by name."""
    shared = any(one["kind"] == "image" and one.get("shared") for one in plan.get("leftovers", ()))
    return bool(args.images or (args.all and not shared))


def _refuse_machines(args: Namespace, plan: dict[str, Any]) -> None:
    machines = plan.get("machines") or []
    if machines and not args.machines:
        count = "1 machine" if len(machines) == 1 else f"{len(machines)} machines"
        named = ", ".join(one["name"] or one["id"] for one in machines[:5])
        raise Conflict(
            f"There {'is' if len(machines) == 1 else 'are'} still {count}: "
            f"{named}{', ...' if len(machines) > 5 else ''}.",
            fix="Delete them first, or say --machines to have them deleted with everything in them.",
            next="cloudrouter ls",
        )


def _goes_on(args: Namespace, doomed: list[Item], kept: list[Item]) -> bool:
    if not doomed:
        return True
    from cloudrouter.cli.asking import confirm

    if not args.yes:
        _show(args, doomed, kept)
    return confirm("Remove all that?", yes=args.yes, verb="uninstall")


def _remove_router(
    args: Namespace,
    transport: Transport,
    plan: dict[str, Any],
    removed: list[Item],
    kept: list[Item],
    errors: list[Item],
) -> bool:
    """Everything that the router can still do, and its end; whether it has ended."""

    def delete(ref: str) -> Item:
        machine: Item = transport.call("DELETE", routes.machine(ref))
        return machine

    machines, failures = batch.collect(delete, [one["id"] for one in plan["machines"]])
    removed += [{"kind": "machine", "name": one["id"]} for one in machines]
    errors += [{"kind": "machine", "name": ref, **error.to_json()} for ref, error in failures]
    if failures:
        return False
    wanted = {"images": _takes_images(args, plan), "volumes": args.volumes or args.all}
    answer = transport.call("POST", routes.UNINSTALL, wanted, timeout=REMOVAL_DEADLINE_S)
    removed += answer["removed"]
    kept += [one for one in answer["kept"] if one.get("reason")]  # the others stand there already
    errors += answer["errors"]
    from cloudrouter.cli.stopping import stop_router

    stop_router(transport)
    return True


def _remove_folder(folder: OwnFolder, removed: list[Item], errors: list[Item]) -> None:
    if not folder.entries():
        return
    size = folder.size_bytes()
    try:
        folder.remove()
    except OSError as error:
        fault = Internal(f"{folder.path} cannot be removed: {error.strerror}.", fix="Remove it by hand.")
        errors.append({"kind": "folder", "name": folder.path, **fault.to_json()})
        return
    if folder.word != "runtime":
        removed.append({"kind": "folder", "name": folder.path, "size_bytes": size})
    if folder.foreign():
        names = ", ".join(output.escape(name) for name in folder.foreign()[:5])
        output.note(f"{output.escape(folder.path)} stays: there is more in it, which is not ours: {names}")


def _included() -> list[str]:
    """The person's ~/.ssh/config, when it includes what `ssh-config` has made in this state folder."""
    from cloudrouter.client import sshinclude
    from cloudrouter.client.sshfiles import SshFiles

    path = sshinclude.default_file()
    return [path] if sshinclude.is_included(path, SshFiles(places.state_dir(os.environ)).config) else []


def _remove_include(removed: list[Item], errors: list[Item]) -> None:
    from cloudrouter.client import sshinclude

    path = sshinclude.default_file()
    try:
        sshinclude.uninstall(path)
    except CloudRouterError as error:
        errors.append({"kind": "include", "name": path, **error.to_json()})
    else:
        removed.append({"kind": "include", "name": path})


# -- telling --------------------------------------------------------------------------------------------------------


def _show(args: Namespace, doomed: list[Item], kept: list[Item]) -> None:
    """On stderr, because the result is what was done."""
    if args.json:
        return
    for head, items in (("This is removed:", doomed), ("This stays:", kept)):
        if items:
            output.note(head)
            for line in _lines(items, hint=items is kept):
                output.note(line)


def _lines(items: list[Item], *, hint: bool = False) -> list[str]:
    """One line each; of a kind of which there are many, one line for all."""
    from cloudrouter.wire.sizes import format_bytes

    lines = []
    for kind in dict.fromkeys(one["kind"] for one in items):
        same = [one for one in items if one["kind"] == kind]
        if len(same) <= LISTED:
            lines += [_line(one, hint=hint) for one in same]
            continue
        # Images share layers, so their sizes together are more than what becomes free.
        size = sum(one.get("size_bytes") or 0 for one in same)
        name = f"{len(same)} of them" + (f", {format_bytes(size)} at most" if size else "")
        lines.append(_line({"kind": kind, "name": name, "shared": same[0].get("shared")}, hint=hint))
    return lines


def _line(item: Item, *, hint: bool = False) -> str:
    from cloudrouter.wire.sizes import format_bytes

    parts = [f"  {WORDS.get(item['kind'], item['kind']):<16}", output.escape(_short(item["name"]))]
    if item.get("alias"):
        parts.append(output.escape(item["alias"]))
    if item.get("size_bytes") is not None:
        parts.append(format_bytes(item["size_bytes"]))
    if item.get("shared"):
        parts.append("(also other routers')")
    if item.get("reason"):
        parts.append(output.escape(item["reason"]))
    elif hint and item["kind"] in FLAGS:
        parts.append(output.paint(FLAGS[item["kind"]], "dim", sys.stderr))
    return "  ".join(parts)


def _short(name: str) -> str:
    """An image without a name is known by its digest, of which the beginning is enough for eyes."""
    return name[:19] if name.startswith("sha256:") else name


def _tell_result(
    args: Namespace, removed: list[Item], kept: list[Item], errors: list[Item], *, would: list[Item] | None = None
) -> None:
    package = _package_command()
    if args.json:
        told: dict[str, Any] = {"dry_run": args.dry_run, "removed": removed, "kept": kept, "errors": errors}
        output.say_json({**told, **({} if would is None else {"would_remove": would}), "package": package})
        return
    for error in errors:
        where = f"{error['kind']} {error['name']}: " if error.get("kind") else ""
        output.note(f"cloudrouter: {output.escape(where + error['message'])}")
        if error.get("fix"):
            output.note(f"Fix:  {output.escape(error['fix'])}")
    for line in _lines(removed):
        output.say(f"removed{line}")
    if not removed and not would and not errors:
        output.say("There is nothing to remove." if would is None else "Nothing would be removed.")
    if would is None:
        for line in _lines(kept, hint=True):
            output.note(f"kept{line}")
        output.note("Skills that agents were given stay; `cloudrouter skills uninstall` removes them.")
        output.note(f"The program itself is removed with:  {package}")


def _package_command() -> str:
    """How the program was installed, as far as its place tells."""
    if f"{os.sep}uv{os.sep}tools{os.sep}" in sys.prefix:
        return "uv tool uninstall cloudrouter"
    if f"{os.sep}pipx{os.sep}" in sys.prefix:
        return "pipx uninstall cloudrouter"
    return f"{sys.executable} -m pip uninstall cloudrouter"


VERBS = {
    "uninstall": Verb(
        "[flags]",
        description="Take away what CloudRouter has made on this host: networks, firewall rules and the router always, "
        "the rest where you say so. It shows what goes and asks first; while there are machines it refuses.",
        examples=(
            ("cloudrouter uninstall --dry-run", "what there is, and what would go"),
            ("cloudrouter uninstall --all --machines", "everything, after a question"),
            ("cloudrouter uninstall --images --yes --json", "without a question, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
