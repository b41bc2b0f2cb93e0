"""`templates`: machines by name, from your file, the project's, and those that are built in."""

from __future__ import annotations

import os

from cloudrouter.cli import output
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.templates import Template

HEADERS = ("NAME", "FROM", "IMAGE", "SIZE", "DESCRIPTION")
IMAGES = (
    ("core", "the image CloudRouter builds: Debian 12 with Python and Node; every test runs in it"),
    ("debian:trixie", "bare, made by mmdebstrap, without Python: tried whole in tests"),
    ("musl roots", "busybox on musl, as in Alpine, without glibc and Python: tried whole in tests"),
    ("--build DIR", "Dockerfiles on core and on others, also where user id 1000 is taken: tried in tests"),
    ("alpine, fedora", "and ubuntu, as published: should work, not tried, for no registry was in reach"),
)
"""What has been tried, truthfully: (image, how); tests/engine/test_any_image.py is where."""


def ls(args: Namespace) -> int:
    """Every template that counts here, strongest of each name."""
    from cloudrouter.client import templates

    found = templates.read_all(os.getcwd(), os.environ)
    if args.provider is not None:
        found = [one for one in found if one.provider in (None, args.provider)]
    if args.json:
        images = [{"image": image, "tested": how} for image, how in IMAGES]
        output.say_json({"templates": [one.to_json() for one in found], "images": images})
        return 0
    rows = [(one.name, one.source, _image(one), _size(one), one.description or "-") for one in found]
    for line in output.table(HEADERS, rows, shrink=(4, 2)):
        output.say(line)
    output.note("\nImages that were tried, for --image and image = ...:")
    for image, how in IMAGES:
        output.note(f"  {image:<17}{how}")
    return 0


def _image(template: Template) -> str:
    return f"build {template.build}" if template.build else template.image or "core"


def _size(template: Template) -> str:
    parts = [template.size or ""]
    parts += [f"{template.cpu:g} cpu"] if template.cpu else []
    parts += [str(template.memory)] if template.memory else []
    return " ".join(part for part in parts if part) or "-"


def show(args: Namespace) -> int:
    """One template, as it would stand in a file."""
    from cloudrouter.client import templates

    found = templates.find(args.name, os.getcwd(), os.environ)
    if args.json:
        output.say_json(found.to_json())
        return 0
    output.say(f"# {output.escape(found.path or found.source)}")
    if found.tested:
        output.say(f"# tested: {found.tested}")
    if found.hides:
        output.say(f"# stands before the {found.hides} one of this name")
    output.say(f"[{output.escape(found.name)}]")
    for key, value in found.facts.items():
        output.say(f"{key} = {_toml(value)}")
    return 0


def _toml(value: Any) -> str:
    """A value as TOML, safe for a terminal."""
    import json

    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, str):
        return json.dumps(value)  # its escapes are TOML's too; nothing but ASCII comes out
    return json.dumps(value)


def _toml_key(key: str) -> str:
    import json

    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else json.dumps(key)


def path(args: Namespace) -> int:
    """The files that are read, whether they exist or not."""
    from cloudrouter.client import templates

    own, project = templates.user_file(os.environ), templates.project_file(os.getcwd())
    if args.json:
        output.say_json({"user": own, "project": project})
        return 0
    output.say(output.escape(own))
    if project:
        output.say(output.escape(project))
    return 0


def example(args: Namespace) -> int:
    """A file to begin with."""
    from cloudrouter.client.templatefile import EXAMPLE

    if args.json:
        output.say_json({"example": EXAMPLE})
    else:
        output.say(EXAMPLE.rstrip())
    return 0


def check(args: Namespace) -> int:
    """Read the files and say of each whether it can be used; 2 when one cannot."""
    from cloudrouter.client import templates

    files: list[dict[str, Any]] = []
    for place, source in ((templates.user_file(os.environ), templates.USER), _project()):
        if place is not None and os.path.lexists(place):
            files.append(_checked(place, source))
    broken = [file for file in files if file["error"]]
    if args.json:
        output.say_json({"files": files})
        return 2 if broken else 0
    for file in files:
        shown = output.escape(file["path"])
        if file["error"]:
            output.say(output.escape(file["error"]["message"]))
            output.say(f"    Fix:  {output.escape(file['error']['fix'])}")
        else:
            output.say(f"{shown}: {', '.join(file['templates']) or 'no template'}: well")
        for sentence in file["warnings"]:
            output.say(f"    {output.escape(sentence)}")
    if not files:
        output.note(f"There is no file yet. {_HOW_TO_BEGIN}")
    return 2 if broken else 0


_HOW_TO_BEGIN = "Begin with:  cloudrouter templates example"


def _project() -> tuple[str | None, str]:
    from cloudrouter.client import templates

    return templates.project_file(os.getcwd()), templates.PROJECT


def _checked(place: str, source: str) -> dict[str, Any]:
    from cloudrouter.client import templates
    from cloudrouter.wire.errors import CloudRouterError

    found, error = templates.check_file(place, source)
    warnings = []
    for template in found:
        missing = [name for name in template.own_variables() if name not in os.environ]
        if missing:
            warnings.append(f"[{template.name}] takes {', '.join(missing)} from your environment, where it is not set.")
        if template.build is not None:
            try:
                folder = templates.build_folder(template, os.getcwd())
            except CloudRouterError as fault:
                error = error or fault
                continue
            if not os.path.isfile(f"{folder}/Dockerfile"):
                warnings.append(f"[{template.name}] is built from {folder}, where no Dockerfile is.")
    return {
        "path": place,
        "source": source,
        "templates": [template.name for template in found],
        "warnings": warnings,
        "error": None if error is None else error.to_json(),
    }


def _configure_ls(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--provider", metavar="P", help="only those that this provider can make")
    add_json_flag(parser)


def _configure_show(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a name from `templates ls`")
    add_json_flag(parser)


def _plain(name: str, description: str, run: Any, meaning: str) -> Verb:
    return Verb(
        "[flags]",
        description=description,
        examples=(
            (f"cloudrouter templates {name}", meaning),
            (f"cloudrouter templates {name} --json", "for programs"),
        ),
        configure=add_json_flag,
        run=run,
    )


VERBS = {
    "templates": Verb(
        "[VERB] [flags]",
        description="Templates are machines by name: image or Dockerfile, size, variables, volumes, commands to run "
        "once the files are there, background commands. `start -T NAME` uses one; flags are stronger. They stand in "
        "your templates.toml and in a project's .cloudrouter/templates.toml, which wins. Without a verb: ls.",
        examples=(
            ("cloudrouter templates", "all that count in this folder"),
            ("cloudrouter templates show core", "one of them"),
            ("cloudrouter templates example", "a file to begin with"),
        ),
        alone="ls",
        inner={
            "ls": Verb(
                "[flags]",
                description="List the templates that count in this folder, and the images that were tried.",
                examples=(
                    ("cloudrouter templates ls", "a table"),
                    ("cloudrouter templates ls -p docker --json", "what docker can make, for programs"),
                ),
                configure=_configure_ls,
                run=ls,
            ),
            "show": Verb(
                "[flags] NAME",
                description="Print one template as it would stand in a file, and where it comes from.",
                examples=(
                    ("cloudrouter templates show core", "the built-in one"),
                    ("cloudrouter templates show core --json", "every key, for programs"),
                ),
                configure=_configure_show,
                run=show,
            ),
            "path": _plain(
                "path",
                "Print the files that are read: yours, and the project's if there is one.",
                path,
                "one path a line",
            ),
            "example": _plain(
                "example",
                "Print a file to begin with, every kind of key in it.",
                example,
                "put it where `templates path` says",
            ),
            "check": _plain(
                "check",
                "Read the files and say of each template what is wrong or missing. Status 2 when a "
                "file cannot be used.",
                check,
                "after editing",
            ),
        },
    )
}
