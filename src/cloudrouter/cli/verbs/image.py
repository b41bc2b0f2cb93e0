"""`image`: build, list and remove what machines boot from."""

from __future__ import annotations

import time

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version, connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def build(args: Namespace) -> int:
    """Build an image and print its name and reference."""
    from cloudrouter.cli.building import follow_build

    began = time.monotonic()
    body: dict[str, Any] = {"name": args.name, "rebuild": args.rebuild}
    if args.provider is not None:
        body["provider"] = args.provider
    image = follow_build(connect_own_version().lines("POST", routes.IMAGE_BUILD, body))
    if args.json:
        output.say_json(image)
    else:
        took = time.monotonic() - began
        output.say(f"{output.escape(image['name'])}  {output.escape(image['reference'])}  ready in {took:.1f} s")
    return 0


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
            str(one["reference"]),
            format_bytes(one.get("size_bytes") or 0),
            age(one.get("created_at")),
            "yes" if one.get("current") else "no",
            "yes" if one.get("in_use") else "no",
        )
        for one in images
    ]
    for line in output.table(("NAME", "REFERENCE", "SIZE", "AGE", "CURRENT", "IN USE"), rows, shrink=(1,)):
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


def _query(provider: str | None) -> str:
    if provider is None:
        return ""
    from urllib.parse import quote

    return f"?provider={quote(provider, safe='')}"


def _add_provider_flag(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--provider", metavar="P", help="whose images (default: docker)")


def _configure_build(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", default="core", help="which image (default: core)")
    parser.add_argument("--rebuild", action="store_true", help="build every layer again, also those in the cache")
    _add_provider_flag(parser)
    add_json_flag(parser)


def _configure_ls(parser: ArgumentParser) -> None:
    _add_provider_flag(parser)
    add_json_flag(parser)


def _configure_rm(parser: ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="images by the names that `image ls` shows")
    _add_provider_flag(parser)
    add_json_flag(parser)


VERBS = {
    "image": Verb(
        "VERB [flags] ...",
        description="Build, list and remove images. A machine boots from one; the first `start` builds `core` by "
        "itself when it is missing.",
        examples=(
            ("cloudrouter image build", "the image that machines boot from"),
            ("cloudrouter image ls", "what is there"),
        ),
        inner={
            "build": Verb(
                "[flags] [NAME]",
                description="Build an image. What did not change comes from the cache.",
                examples=(
                    ("cloudrouter image build", "core, in a few minutes the first time"),
                    ("cloudrouter image build core --rebuild --json", "every layer anew, for programs"),
                ),
                configure=_configure_build,
                run=build,
            ),
            "ls": Verb(
                "[flags]",
                description="List our images. CURRENT is whether it is what this version would build.",
                examples=(("cloudrouter image ls", "a table"), ("cloudrouter image ls --json", "for programs")),
                configure=_configure_ls,
                run=ls,
            ),
            "rm": Verb(
                "[flags] NAME...",
                description="Remove images. One that a machine uses is refused.",
                examples=(
                    ("cloudrouter image rm core", "the next start builds it again"),
                    ("cloudrouter image rm core --json", "for programs"),
                ),
                configure=_configure_rm,
                run=rm,
            ),
        },
    )
}
