"""`image`: build, list and remove what machines boot from."""

from __future__ import annotations

import time

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version, connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

PRUNE_DEADLINE_S = 600.0

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def build(args: Namespace) -> int:
    """Build an image, or prepare another one, and print its name and reference."""
    from cloudrouter.cli import building

    began = time.monotonic()
    folder = args.name if names_folder(args.name) else None
    _check_build(args, folder)
    context = building.read_context(args, folder, tag=args.tag or "", rebuild=args.rebuild)
    if context is not None:
        image = building.build_folder(connect_own_version(), context, provider=args.provider)
    else:
        body: dict[str, Any] = {"name": args.name, "rebuild": args.rebuild}
        if args.provider is not None:
            body["provider"] = args.provider
        image = building.follow_build(connect_own_version().lines("POST", routes.IMAGE_BUILD, body))
    if args.json:
        output.say_json(image)
    else:
        took = time.monotonic() - began
        output.say(f"{output.escape(image['name'])}  {output.escape(image['reference'])}  ready in {took:.1f} s")
    return 0


def names_folder(word: str) -> bool:
    """Whether the word of `image build` is a folder with a Dockerfile: `.`, or what only a path begins with."""
    return word in (".", "..") or word.startswith(("./", "../", "/", "~"))


def _check_build(args: Namespace, folder: str | None) -> None:
    from cloudrouter.wire.errors import UsageError

    if folder is None and args.tag is not None:
        raise UsageError(
            "--tag names what a folder's Dockerfile builds, and no folder is given.",
            fix=f"A folder begins with ./ or /: image build ./{args.name}",
            next="cloudrouter image build --help",
        )


def ls(args: Namespace) -> int:
    """Print the images that are there."""
    images = connect_router().call("GET", routes.IMAGES + _query(args.provider))["images"]
    if args.json:
        output.say_json({"images": images})
    elif not images:
        output.note("No images. Build the one that machines boot from:  cloudrouter image build")
    else:
        _show(images)
    return 0


def _show(images: list[dict[str, Any]]) -> None:
    from cloudrouter.cli.times import age
    from cloudrouter.wire.sizes import format_bytes

    rows = [
        (
            str(one["name"]),
            str(one.get("kind") or ""),
            str(one["reference"]),
            format_bytes(one.get("size_bytes") or 0),
            age(one.get("created_at")),
            "yes" if one.get("current") else "no",
            "yes" if one.get("in_use") else "no",
        )
        for one in images
    ]
    for line in output.table(("NAME", "KIND", "REFERENCE", "SIZE", "AGE", "CURRENT", "IN USE"), rows, shrink=(2, 0)):
        output.say(line)


def rm(args: Namespace) -> int:
    """Remove images; the failure of one does not keep it from the others."""
    from cloudrouter.wire.errors import CloudRouterError

    transport = connect_own_version()
    removed, errors = [], []
    for name in dict.fromkeys(args.names):
        try:
            transport.call("DELETE", routes.image(name) + _query(args.provider))
        except CloudRouterError as error:
            errors.append((name, error))
            output.show_error(error)
        else:
            removed.append(name)
            if not args.json:
                output.say(f"{output.escape(name)}  removed")
    if args.json:
        told = [{"ref": name, **error.to_json()} for name, error in errors]
        output.say_json({"removed": removed, "errors": told})
    return errors[0][1].exit_code if errors else 0


def prune(args: Namespace) -> int:
    """Remove builds that nobody needs, once the person has seen which."""
    from cloudrouter.cli.asking import confirm

    body: dict[str, Any] = {"all": args.all, "dry_run": True}
    if args.provider is not None:
        body["provider"] = args.provider
    transport = connect_own_version()
    found = transport.call("POST", routes.IMAGE_PRUNE, body)
    if found["images"] and not args.dry_run:
        if not args.yes:
            _list_for_prune(found["images"])
        count = len(found["images"])
        question = f"Remove {'this image' if count == 1 else f'these {count} images'}?"
        if not confirm(question, yes=args.yes, verb="image prune"):
            if args.json:
                output.say_json({"images": [], "kept": [], "freed_bytes": 0, "dry_run": False})
            return 1
        found = transport.call("POST", routes.IMAGE_PRUNE, {**body, "dry_run": False}, timeout=PRUNE_DEADLINE_S)
    if args.json:
        output.say_json({**found, "dry_run": args.dry_run})
        return 1 if found["kept"] else 0
    _tell_pruned(found, dry_run=args.dry_run)
    return 1 if found["kept"] else 0


def _list_for_prune(images: list[dict[str, Any]]) -> None:
    from cloudrouter.wire.sizes import format_bytes

    for one in images:
        line = f"{one['reference']}  {one['name']}  {format_bytes(one.get('size_bytes') or 0)}"
        output.note(f"  {output.escape(line)}")


def _tell_pruned(found: dict[str, Any], *, dry_run: bool) -> None:
    from cloudrouter.wire.sizes import format_bytes

    if not found["images"] and not found["kept"]:
        output.note("Nothing to remove: every image is current or used by a machine.")
        return
    for one in found["images"]:
        output.say(f"{output.escape(one['reference'])}  {'would be removed' if dry_run else 'removed'}")
    for one in found["kept"]:
        output.note(f"cloudrouter: {output.escape(one['reference'])} stays: {output.escape(one['reason'])}")
    if not dry_run:
        freed = found.get("freed_bytes")
        output.note(
            "How much that freed, the engine does not tell." if freed is None else f"{format_bytes(freed)} freed."
        )


def _query(provider: str | None) -> str:
    if provider is None:
        return ""
    from urllib.parse import quote

    return f"?provider={quote(provider, safe='')}"


def _add_provider_flag(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--provider", metavar="P", help="whose images (default: docker)")


def _configure_build(parser: ArgumentParser) -> None:
    from cloudrouter.cli.building import add_folder_flags

    parser.add_argument(
        "name",
        metavar="NAME|DIR",
        nargs="?",
        default="core",
        help="core (the default), any other image, or a folder with a Dockerfile: a word that begins with . or /",
    )
    parser.add_argument("--rebuild", action="store_true", help="fetch and build everything again, the cache left aside")
    parser.add_argument("--tag", metavar="NAME", help="one more name for what a folder builds, for start --image")
    add_folder_flags(parser)
    _add_provider_flag(parser)
    add_json_flag(parser)


def _configure_ls(parser: ArgumentParser) -> None:
    _add_provider_flag(parser)
    add_json_flag(parser)


def _configure_prune(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="current ones, too: the next start builds them again")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    _add_provider_flag(parser)
    add_json_flag(parser)


def _configure_rm(parser: ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="images by the names that `image ls` shows")
    _add_provider_flag(parser)
    add_json_flag(parser)


VERBS = {
    "image": Verb(
        "VERB [flags] ...",
        description="Build, list and remove images. A machine boots from one; the first `start` builds or prepares "
        "what it needs by itself.",
        examples=(
            ("cloudrouter image build", "the image that machines boot from"),
            ("cloudrouter image ls", "what is there"),
        ),
        inner={
            "build": Verb(
                "[flags] [NAME|DIR]",
                description="Build core, make another image bootable, or build a folder's Dockerfile. What did not "
                "change comes from the cache.",
                examples=(
                    ("cloudrouter image build", "core, in a minute the first time"),
                    (
                        "cloudrouter image build debian:trixie",
                        "fetch it and put our guest into it, before a start does",
                    ),
                    ("cloudrouter image build ./web --tag web:dev", "a Dockerfile; then: start --image web:dev"),
                    ("cloudrouter image build core --rebuild --json", "every layer anew, for programs"),
                ),
                configure=_configure_build,
                run=build,
            ),
            "ls": Verb(
                "[flags]",
                description="List our images and what they are made from. KIND is image (boots), part (goes into "
                "others), layered (another image with our guest in it), build (from a Dockerfile) or base. CURRENT is "
                "whether a start would use it now.",
                examples=(("cloudrouter image ls", "a table"), ("cloudrouter image ls --json", "for programs")),
                configure=_configure_ls,
                run=ls,
            ),
            "rm": Verb(
                "[flags] NAME...",
                description="Remove images. One that a machine uses is refused. Of another image only the form with "
                "our guest in it goes.",
                examples=(
                    ("cloudrouter image rm core", "the next start builds it again"),
                    ("cloudrouter image rm debian:trixie", "its bootable form; the image itself stays"),
                    ("cloudrouter image rm core --json", "for programs"),
                ),
                configure=_configure_rm,
                run=rm,
            ),
            "prune": Verb(
                "[flags]",
                description="Remove builds that are neither current nor used by a machine, and tell how many bytes "
                "that freed. Other routers on this engine use the same images.",
                examples=(
                    ("cloudrouter image prune", "shows them, and asks"),
                    ("cloudrouter image prune --dry-run", "only shows them"),
                    ("cloudrouter image prune --all --yes --json", "everything that no machine uses, for programs"),
                ),
                configure=_configure_prune,
                run=prune,
            ),
        },
    )
}
