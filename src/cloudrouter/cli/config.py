"""The person's defaults: flag, then CLOUDROUTER_* variable, then the project's file, then their own file."""

from __future__ import annotations

import os

from cloudrouter.wire import places
from cloudrouter.wire.errors import CloudRouterError, NotConfigured, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("provider", "image", "size", "timeout", "package_cache")
"""What may be set; each is the default of the flag of `start` and `run` with that name (`--no-package-cache`: off)."""
PROJECT_FILE = ".cloudrouter.toml"


class Setting:
    """A value, and where it was found: the variable's name or the file's path."""

    def __init__(self, value: str, source: str) -> None:
        self.value = value
        self.source = source


def variable(key: str) -> str:
    """`CLOUDROUTER_SIZE` for `size`."""
    return f"CLOUDROUTER_{key.upper()}"


def read_settings(folder: str, environ: Mapping[str, str]) -> dict[str, Setting]:
    """key -> (value, source) of everything that is set for work in this folder.

    Raises UsageError or NotConfigured that names file and line when one cannot be understood.
    """
    found: dict[str, Setting] = {}
    for path in config_files(folder, environ):
        for key, value in read_file(path).items():
            found[key] = Setting(value, path)
    for key in KEYS:
        told = environ.get(variable(key))
        if told:
            fault = value_fault(key, told)
            if fault:
                raise UsageError(
                    f"{variable(key)}: {fault}.", fix="Correct or unset it.", next="cloudrouter config show"
                )
            found[key] = Setting(told, variable(key))
    return found


def config_files(folder: str, environ: Mapping[str, str]) -> list[str]:
    """The files that exist, weakest first: the person's own, then the project's."""
    files = [places.config_file(environ), project_file(folder)]
    return [path for path in files if path is not None and os.path.lexists(path)]


def project_file(folder: str) -> str | None:
    """The project's file, see client.projects; None when it has none."""
    from cloudrouter.client import projects

    return projects.find_file(folder, PROJECT_FILE)


def read_file(path: str) -> dict[str, str]:
    """The settings in one file; a missing file is an empty one."""
    text = read_text(path)
    if not text:
        return {}
    import tomllib

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        digits = "".join(c for c in where.partition(",")[0] if c.isdigit())
        line = int(digits) if digits else text.count("\n") + 1
        raise broken(path, line, what.lower(), "Correct that line.") from None
    return {key: _checked(path, text, key, value) for key, value in content.items()}


def read_text(path: str) -> str:
    """The file's text, empty when it is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise broken(path, line, "it is not UTF-8", "Save it as UTF-8.") from None
    except OSError as error:
        raise NotConfigured(
            f"The configuration {path} cannot be read: {error.strerror}.",
            fix="Correct its permissions, or move it away.",
            next=f"ls -ld {path}",
        ) from None


def _checked(path: str, text: str, key: str, value: object) -> str:
    """A value of the file as text; raises what is wrong with it and on which line."""
    line = find_line(text, key)
    if key not in KEYS:
        import difflib

        close = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.6)
        fix = f"Did you mean {close[0]}?" if close else f"Keys are: {', '.join(KEYS)}."
        raise broken(path, line or 1, f"there is no key {key!r}", fix)
    if key == "package_cache" and isinstance(value, bool):
        value = "on" if value else "off"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise broken(path, line or 1, f"{key} must be a text", f'Write {key} = "..."')
    fault = value_fault(key, str(value))
    if fault:
        raise broken(path, line or 1, fault, "Correct that line.")
    return str(value)


def find_line(text: str, key: str) -> int | None:
    """The number of the line that sets a top-level key, counted from 1; None when no plain line does."""
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, _ = line.partition("=")
        if line.lstrip().startswith("["):
            named = line.strip().strip("[]").strip().split(".")[0].strip("\"' ")
            return number if named == key else None
        if equals and name.strip().strip("\"'") == key:
            return number
    return None


def broken(path: str, line: int, what: str, fix: str) -> CloudRouterError:
    """A fault in a file, with the place of it."""
    return UsageError(f"{path}, line {line}: {what}.", fix=fix, next="cloudrouter config path")


def value_fault(key: str, value: str) -> str | None:
    """Why a value cannot be one of this key, or None when it can; what only the router knows is left to it."""
    if not value or not value.isprintable() or value != value.strip():
        return f"{value!r} cannot be a value of {key}"
    if key == "package_cache":
        return None if value in ("on", "off") else f"package_cache is on or off, not {value!r}"
    if key == "size":
        from cloudrouter.wire.sizes import SIZES

        return None if value in SIZES else f"there is no size {value!r}; sizes are {', '.join(SIZES)}"
    if key == "timeout":
        from cloudrouter.wire.durations import parse_duration

        try:
            return None if parse_duration(value) > 0 else f"{value!r} is no time at all; write 600, 90s, 15m or 1h"
        except ValueError as error:
            return str(error)
    return None


# -- writing --------------------------------------------------------------------------------------------------------


def write_setting(path: str, key: str, value: str | None) -> None:
    """Set a key in a file, or with None take it out; everything else in the file stays as it is."""
    read_file(path)  # A broken file is told, not made worse.
    lines = read_text(path).splitlines()
    at = find_line("\n".join(lines), key)
    if value is not None:
        written = f"{key} = {_quote(value)}"
        if at is None:
            lines.insert(0, written)
        else:
            lines[at - 1] = written
    elif at is not None:
        del lines[at - 1]
    _replace_file(path, "".join(line + "\n" for line in lines))


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _replace_file(path: str, text: str) -> None:
    # Through links, so that a file kept in a dotfiles folder stays there.
    path = os.path.realpath(path)
    temporary = f"{path}.{os.getpid()}.new"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            with open(temporary, "x", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except OSError:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise NotConfigured(
            f"The configuration {path} cannot be written: {error.strerror}.",
            fix="Correct the permissions of its folder.",
            next=f"ls -ld {os.path.dirname(path)}",
        ) from None
