"""The file templates.toml: its keys, and what is wrong with a file, told with its line and key."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from cloudrouter.wire.errors import CloudRouterError, NotConfigured, UsageError

NAME_LIMIT = 40
_LISTS = 50
"""Items of one list, at most."""

EXAMPLE = """\
# Templates: machines by name. Yours are in this file, a project's in its .cloudrouter/templates.toml.
# Use one with:  cloudrouter start -T web ./my-project     Flags are stronger than the template.

[web]
description = "a web project with its packages and its dev server"
size = "small"                                  # or cpu = 2, memory = "4g"
timeout = "8h"                                  # stopped this long after its start
env = { NODE_ENV = "development", NPM_TOKEN = "$NPM_TOKEN" }   # "$NAME": taken from your environment
labels = { agent = "me" }
apps = ["desktop", "browser"]                   # on core, or on image = ...; without = [...] takes some away
app = ["db=postgres:16,port=5432"]              # an image that runs beside it, or the folder of an app of your own
volumes = ["web-data:/data"]                    # disks that outlive machines
commands = ["npm ci"]                           # after the files are there, in order; a failing one fails the start
background = ["npm run dev"]                    # then these, each a job: see `cloudrouter ps`

[plain]
description = "nothing but the image, and no package cache"
image = "core"                                  # or build = ".": a folder with a Dockerfile
package_cache = false
"""


class Key(NamedTuple):
    """One key of a template."""

    fault: Callable[[Any], str | None]
    """Why a value cannot be one of this key, or None."""
    empty: Callable[[], Any]
    """What it is where it is not set."""
    how: str
    """How it is written."""


def read(path: str) -> dict[str, dict[str, Any]]:
    """Name -> keys of every template in a file; a missing file is an empty one.

    Raises UsageError that names file, line, template and key, NotConfigured for a file that cannot be read.
    """
    text = _text(path)
    if not text.strip():
        return {}
    import tomllib

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}.", fix="Correct that line.", next="cloudrouter templates check") from None
    for name, facts in content.items():
        _check(path, text, name, facts)
    return content


def broken(path: str, name: str, key: str, what: str, fix: str, *, text: str = "") -> CloudRouterError:
    """A fault in a file, with the place of it."""
    line = _line_of(text, name, key)
    where = f"{path}, line {line}" if line else path
    word = f"[{name}] {key}" if key else f"[{name}]"
    return UsageError(f"{where}: {word}: {what}.", fix=fix, next="cloudrouter templates example")


def own_variable(value: str) -> str | None:
    """The variable behind `"$NAME"`; None for every other value. `"$$NAME"` is the text `$NAME`."""
    name = value[1:]
    return name if value.startswith("$") and _is_variable(name) else None


def _check(path: str, text: str, name: str, facts: Any) -> None:
    if not isinstance(facts, dict):
        raise broken(path, name, "", "a template is a table", "Write [NAME] on a line of its own above its keys.")
    if len(name) > NAME_LIMIT or not name or not all(c.isalnum() or c in "-_." for c in name) or not name.isascii():
        raise broken(path, name[:NAME_LIMIT], "", "that is no name", "Take letters, digits, - _ and dots.", text=text)
    for key, value in facts.items():
        if key not in KEYS:
            raise broken(path, name, key, "there is no such key", _close(key), text=text)
        fault = KEYS[key].fault(value)
        if fault:
            raise broken(path, name, key, fault, f"Write {KEYS[key].how}", text=text)
    if "image" in facts and "build" in facts:
        raise broken(path, name, "build", "image and build exclude each other", "Keep one of them.", text=text)


def _close(key: str) -> str:
    import difflib

    close = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"Keys are: {', '.join(KEYS)}."


def _line_of(text: str, name: str, key: str) -> int | None:
    """The line that sets a key of a table, else the table's own; None when no plain line does."""
    inside, table = False, None
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if word.startswith("["):
            parts = [part.strip().strip("\"'") for part in word.partition("]")[0].lstrip("[").split(".")]
            inside = parts == [name]
            if parts == [name, key]:
                return number
            table = number if inside and table is None else table
        elif inside and "=" in word and word.partition("=")[0].strip().partition(".")[0].strip("\"' ") == key:
            return number
    return table


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it is not UTF-8.", fix="Save it as UTF-8.", next=f"file {path}") from None
    except OSError as error:
        raise NotConfigured(
            f"The templates in {path} cannot be read: {error.strerror}.",
            fix="Correct its permissions, or move it away.",
            next=f"ls -ld {os.path.dirname(path)}",
        ) from None


# -- keys -----------------------------------------------------------------------------------------------------------


def _none() -> None:
    return None


def _text_fault(value: Any) -> str | None:
    if not isinstance(value, str):
        return "it must be a text"
    return None if value.strip() and value.isprintable() else f"{value!r} cannot be its value"


def _size_fault(value: Any) -> str | None:
    from cloudrouter.wire.sizes import SIZES

    return None if value in tuple(SIZES) else f"there is no size {value!r}; sizes are {', '.join(SIZES)}"


def _cpu_fault(value: Any) -> str | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return None if is_number and 0 < value < 10_000 else f"{value!r} is not a number of cpus"


def _amount_fault(value: Any) -> str | None:
    from cloudrouter.wire.sizes import parse_bytes

    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return "it must be an amount"
    try:
        parse_bytes(str(value))
    except ValueError:
        return f"{value!r} is not an amount"
    return None


def _duration_fault(value: Any) -> str | None:
    from cloudrouter.wire.durations import parse_duration

    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return "it must be a duration"
    try:
        return None if parse_duration(str(value)) > 0 else "it is no time at all"
    except ValueError:
        return f"{value!r} is not a duration"


def _variables_fault(value: Any) -> str | None:
    fault = _labels_fault(value)
    if fault is None:
        wrong = next((name for name in value if not _is_variable(name)), None)
        fault = None if wrong is None else f"{wrong!r} cannot be a variable's name"
    return fault


def _labels_fault(value: Any) -> str | None:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        return "it must be a table of texts"
    return next((f"{key!r} cannot be a name in it" for key in value if not key or "=" in key), None)


def _lines_fault(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        return "it must be a list of command lines"
    return None if len(value) <= _LISTS else f"it has more than {_LISTS} items"


def _volumes_fault(value: Any) -> str | None:
    from cloudrouter.wire.mounts import parse_mounts

    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return "it must be a list of volumes"
    try:
        parse_mounts(value)
    except UsageError as error:
        return error.message.rstrip(".")
    return None


def _apps_fault(value: Any) -> str | None:
    from cloudrouter.wire.flavours import OURS

    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return "it must be a list of apps"
    return next((f"{one!r} is no app; apps are {', '.join(OURS)}" for one in value if one not in OURS), None)


def _own_apps_fault(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        return "it must be a list of folders and NAME=IMAGE words"
    return None if len(value) <= _LISTS else f"it has more than {_LISTS} items"


def _switch_fault(value: Any) -> str | None:
    return None if isinstance(value, bool) else "it must be true or false"


def _is_variable(name: str) -> bool:
    return name.isascii() and name.isidentifier()


KEYS: dict[str, Key] = {
    "description": Key(_text_fault, _none, 'description = "what it is for"'),
    "image": Key(_text_fault, _none, 'image = "core"'),
    "build": Key(_text_fault, _none, 'build = "."'),
    "apps": Key(_apps_fault, list, 'apps = ["vscode"]'),
    "without": Key(_apps_fault, list, 'without = ["jupyter"]'),
    "app": Key(_own_apps_fault, list, 'app = ["./my-app", "db=postgres:16"]'),
    "size": Key(_size_fault, _none, 'size = "small"'),
    "cpu": Key(_cpu_fault, _none, "cpu = 2"),
    "memory": Key(_amount_fault, _none, 'memory = "8g"'),
    "disk": Key(_amount_fault, _none, 'disk = "20g"'),
    "gpu": Key(_text_fault, _none, 'gpu = "T4"'),
    "provider": Key(_text_fault, _none, 'provider = "docker"'),
    "timeout": Key(_duration_fault, _none, 'timeout = "8h"'),
    "env": Key(_variables_fault, dict, 'env = { MODE = "test", TOKEN = "$TOKEN" }'),
    "labels": Key(_labels_fault, dict, 'labels = { agent = "me" }'),
    "volumes": Key(_volumes_fault, list, 'volumes = ["name:/path"]'),
    "package_cache": Key(_switch_fault, _none, "package_cache = false"),
    "commands": Key(_lines_fault, list, 'commands = ["npm ci"]'),
    "background": Key(_lines_fault, list, 'background = ["npm run dev"]'),
}
"""The keys of a template, in the order in which they are shown."""
