"""`config`: show and change the defaults of `start` and `run`."""

from __future__ import annotations

import os

from cloudrouter.cli import config, output
from cloudrouter.cli.parsing import add_json_flag, suggest
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import places
from cloudrouter.wire.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

UNSET = "the router's own"


def show(args: Namespace) -> int:
    """Every key with its value and where that comes from."""
    settings = config.read_settings(os.getcwd(), os.environ)
    if args.json:
        shown = {
            key: {"value": settings[key].value, "source": settings[key].source} if key in settings else None
            for key in config.KEYS
        }
        output.say_json({"settings": shown, "files": config.config_files(os.getcwd(), os.environ)})
        return 0
    rows = [
        (key, settings[key].value, settings[key].source) if key in settings else (key, "-", UNSET)
        for key in config.KEYS
    ]
    for line in output.table(("KEY", "VALUE", "FROM"), rows, shrink=(2,)):
        output.say(line)
    return 0


def path(args: Namespace) -> int:
    """The files that are read, whether they exist or not."""
    own = places.config_file(os.environ)
    project = config.project_file(os.getcwd())
    if args.json:
        output.say_json({"config": own, "project": project})
        return 0
    output.say(output.escape(own))
    if project:
        output.say(output.escape(project))
    return 0


def get(args: Namespace) -> int:
    """The value that counts for one key."""
    key = _key(args.key)
    settings = config.read_settings(os.getcwd(), os.environ)
    if key not in settings:
        raise NotFound(
            f"{key} is not set; the router chooses.", fix="Set it.", next=f"cloudrouter config set {key} VALUE"
        )
    found = settings[key]
    if args.json:
        output.say_json({"key": key, "value": found.value, "source": found.source})
    else:
        output.say(output.escape(found.value))
    return 0


def set_(args: Namespace) -> int:
    """Write one key into a file."""
    key = _key(args.key)
    fault = config.value_fault(key, args.value)
    if fault:
        raise UsageError(f"{fault[0].upper()}{fault[1:]}.", fix="Give another value.", next="cloudrouter config --help")
    return _write(args, key, args.value)


def unset(args: Namespace) -> int:
    """Take one key out of a file."""
    return _write(args, _key(args.key), None)


def _write(args: Namespace, key: str, value: str | None) -> int:
    project = config.project_file(os.getcwd()) or f"{os.getcwd()}/{config.PROJECT_FILE}"
    file = project if args.project else places.config_file(os.environ)
    config.write_setting(file, key, value)
    if args.json:
        output.say_json({"key": key, "value": value, "source": file})
    else:
        told = f"{key} is not set any more" if value is None else f"{key} = {value}"
        output.say(f"{output.escape(told)}  ({output.escape(file)})")
    _warn_if_hidden(key, value, file)
    return 0


def _warn_if_hidden(key: str, value: str | None, file: str) -> None:
    """Say when something stronger decides, so that nobody wonders why the change does nothing."""
    found = config.read_settings(os.getcwd(), os.environ).get(key)
    if found is not None and (value is None or found.source != file):
        output.note(f"cloudrouter: {key} is {output.escape(found.value)} here, set by {output.escape(found.source)}.")


def _key(word: str) -> str:
    if word in config.KEYS:
        return word
    raise UsageError(
        f"There is no key {word!r}.",
        fix=suggest(word, config.KEYS) or f"Keys are: {', '.join(config.KEYS)}.",
        next="cloudrouter config show",
    )


def _configure_key(parser: ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help=", ".join(config.KEYS))
    add_json_flag(parser)


def _configure_unset(parser: ArgumentParser) -> None:
    _configure_key(parser)
    parser.add_argument("--project", action="store_true", help=f"change the project's {config.PROJECT_FILE}")


def _configure_set(parser: ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help=", ".join(config.KEYS))
    parser.add_argument("value", metavar="VALUE", help="what `start` and `run` take when no flag says otherwise")
    add_json_flag(parser)
    parser.add_argument("--project", action="store_true", help=f"change the project's {config.PROJECT_FILE}")


VERBS = {
    "config": Verb(
        "VERB [flags] ...",
        description="Show and change the defaults of `start` and `run`: provider, image, size, timeout. A flag is "
        "stronger than CLOUDROUTER_SIZE and the like, these than the project's .cloudrouter.toml, and that than your "
        "own config.toml.",
        examples=(
            ("cloudrouter config show", "all values and where they come from"),
            ("cloudrouter config set size medium", "for you, everywhere"),
            ("cloudrouter config set --project timeout 2h", "for this project"),
        ),
        inner={
            "show": Verb(
                "[flags]",
                description="Show every key with its value and where that comes from.",
                examples=(("cloudrouter config show", "a table"), ("cloudrouter config show --json", "for programs")),
                configure=add_json_flag,
                run=show,
            ),
            "path": Verb(
                "[flags]",
                description="Print the files that are read: yours, and the project's if there is one.",
                examples=(
                    ("cloudrouter config path", "one path a line"),
                    ("cloudrouter config path --json", "for programs"),
                ),
                configure=add_json_flag,
                run=path,
            ),
            "get": Verb(
                "[flags] KEY",
                description="Print the value of one key; status 4 when it is not set.",
                examples=(
                    ("cloudrouter config get size", "the value alone"),
                    ("cloudrouter config get image --json", "with its source"),
                ),
                configure=_configure_key,
                run=get,
            ),
            "set": Verb(
                "[flags] KEY VALUE",
                description="Write one key into your config.toml, or with --project into the project's file.",
                examples=(
                    ("cloudrouter config set size small", "for you"),
                    ("cloudrouter config set --project image core", "for this project"),
                ),
                configure=_configure_set,
                run=set_,
            ),
            "unset": Verb(
                "[flags] KEY",
                description="Take one key out of your config.toml, or with --project out of the project's file.",
                examples=(
                    ("cloudrouter config unset size", "the router chooses again"),
                    ("cloudrouter config unset --project timeout --json", "for programs"),
                ),
                configure=_configure_unset,
                run=unset,
            ),
        },
    )
}
