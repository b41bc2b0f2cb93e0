"""Sidecars as people write them: `NAME=IMAGE[,...]`, or a folder whose app.toml names an image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from cloudrouter.client.envfile import read_env_files
from cloudrouter.wire import sizes
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.sidecars import Sidecar, sidecar_fault

FILE = "app.toml"
FEATURE = ("devcontainer-feature.json", "install.sh")
HOW = "Write NAME=IMAGE[,ro|,rw][,cpu=1][,memory=512m][,port=5432][,env-file=PATH], as in db=postgres:16,port=5432."
_FILE_LIMIT = 1024 * 1024
_KEYS = ("name", "title", "image", "environment", "port", "workspace", "limits", "command")
_LIMITS = ("cpu", "memory")


def parse_sidecar(text: str, environ: Mapping[str, str] = os.environ) -> Sidecar | None:
    """A sidecar out of `NAME=IMAGE[,...]`, or of a folder whose app.toml has an image.

    None: it is neither, and so the folder of a dev container Feature. Raises UsageError for what cannot be, NotFound
    for a file of variables that is not there.
    """
    name, equals, rest = text.partition("=")
    # A folder may have such a name, too; it is then written ./NAME=...
    if equals and os.path.sep not in name and not name.startswith((".", "~")):
        return _checked(_parse(name, rest, environ), text)
    return _read_folder(text)


def to_request(sidecars: Iterable[Sidecar]) -> list[dict[str, Any]]:
    """What `POST /v1/machines` takes as `sidecars`."""
    return [asdict(one) for one in sidecars]


def _parse(name: str, rest: str, environ: Mapping[str, str]) -> Sidecar:
    image, *words = rest.split(",")
    found: dict[str, Any] = {"env": {}}
    for word in words:
        key, equals, value = word.partition("=")
        if key in ("ro", "rw") and not equals:
            _put(found, "workspace", key, word)
        elif key == "env-file" and value:
            found["env"].update(read_env_files([os.path.expanduser(value)], environ))
        elif key in _READ and value:
            field, read = _READ[key]
            _put(found, field, read(value), word)
        else:
            raise UsageError(f"{word[:60]!r} says nothing about the sidecar {name[:40]}.", fix=HOW)
    return Sidecar(name=name, image=image, **found)


def _put(found: dict[str, Any], field: str, value: Any, word: str) -> None:
    if field in found:
        raise UsageError(f"{word[:60]!r} is said after another one of its kind.", fix="Say each once.")
    found[field] = value


def _cpus(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"{value[:40]!r} is no number of cpus.", fix="Write cpu=1 or cpu=0.5.") from None


def _memory(value: str) -> int:
    try:
        return sizes.parse_bytes(value)
    except ValueError as error:
        raise UsageError(f"{error}.", fix="Write memory=512m.") from None


def _port(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 6):
        raise UsageError(f"{value[:40]!r} is no port.", fix="Write port=5432.")
    return int(value)


_READ = {"cpu": ("cpu", _cpus), "memory": ("memory_bytes", _memory), "port": ("port", _port)}


def _checked(one: Sidecar, text: str) -> Sidecar:
    # The image's own grammar is the router's business: it knows what its engine takes.
    fault = sidecar_fault(one)
    if fault:
        raise UsageError(f"{text[:80]!r} can be no sidecar: {fault}.", fix=HOW)
    return one


def _read_folder(folder: str) -> Sidecar | None:
    """The sidecar that a folder's app.toml describes; None where it names no image, or there is none."""
    import tomllib

    path = os.path.join(folder, FILE)
    try:
        with open(path, "rb") as file:
            body = tomllib.loads(file.read(_FILE_LIMIT).decode())
    except (FileNotFoundError, NotADirectoryError):
        return None  # whoever takes the folder for a Feature says what is missing
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {(error.strerror or 'unknown error').lower()}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}.", fix="Correct it.", next=f"less {path}") from None
    except ValueError as error:  # a path that cannot be one
        raise UsageError(f"{folder[:80]!r} is no folder: {error}.", fix=HOW) from None
    if "image" not in body:
        return None
    both = [name for name in FEATURE if os.path.exists(os.path.join(folder, name))]
    if both:
        raise UsageError(
            f"{path} names an image, which runs beside the machine, and {both[0]} is for apps inside of it.",
            fix="Make two folders of it.",
        )
    try:
        return _from_file(body, folder, path)
    except UsageError as error:
        if path in error.message:
            raise
        raise UsageError(f"{path}: {error.message}", fix=error.fix) from None


def _from_file(body: Mapping[str, Any], folder: str, path: str) -> Sidecar:
    limits = _table(body, "limits", path)
    for known, keys in ((_KEYS, body), (_LIMITS, limits)):
        unknown = sorted(set(keys) - set(known))
        if unknown:
            raise UsageError(f"{path} has a key that a sidecar has not: {unknown[0]!r}.", fix=f"Keys: {list(known)}.")
    env = _table(body, "environment", path)
    if not all(isinstance(value, str) for value in env.values()):
        raise UsageError(f"{path}: what stands in [environment] are texts.", fix='Write KEY = "value".')
    cpu, memory = limits.get("cpu"), limits.get("memory")
    made = Sidecar(
        name=_text(body, "name", path) or os.path.basename(os.path.abspath(folder)),
        title=_text(body, "title", path),
        image=_text(body, "image", path),
        workspace=_text(body, "workspace", path),
        cpu=_cpus(str(cpu)) if cpu is not None else None,
        memory_bytes=_memory(str(memory)) if memory is not None else None,
        port=_port(str(body["port"])) if "port" in body else None,
        env=dict(env),
        command=_command(body, path),
    )
    fault = sidecar_fault(made)
    if fault:
        raise UsageError(f"{path}: {fault}.", fix="Correct it.", next=f"less {path}")
    return made


def _table(body: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    value = body.get(key, {})
    if not isinstance(value, dict):
        raise UsageError(f"{path}: {key} is a table.", fix=f"Write [{key}] above its lines.")
    return value


def _text(body: Mapping[str, Any], key: str, path: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{path}: {key} is a text.", fix=f'Write {key} = "...".')
    return value


def _command(body: Mapping[str, Any], path: str) -> list[str] | None:
    value = body.get("command")
    if value is not None and not (isinstance(value, list) and all(isinstance(word, str) for word in value)):
        raise UsageError(f"{path}: command is a list of words.", fix='Write command = ["program", "argument"].')
    return value
