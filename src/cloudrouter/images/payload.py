"""The Python files that travel into a machine: our guest and the WebSocket library it speaks with."""

from __future__ import annotations

import os

import cloudrouter
from cloudrouter.wire.errors import NotConfigured

_GUEST_ROOMS = ("wire", "trees", "guest")
_UNUSED = ("cli.py", "__main__.py", "legacy/", "sync/", "trio/")
"""Parts of the library that a server over asyncio never imports."""


def guest_modules() -> dict[str, bytes]:
    """Path below the guest's module folder -> content, the library's licence included."""
    package = os.path.dirname(os.path.abspath(cloudrouter.__file__))
    found = {"cloudrouter/__init__.py": _read(os.path.join(package, "__init__.py"))}
    for room in _GUEST_ROOMS:
        for path, data in read_tree(os.path.join(package, room)).items():
            if path.endswith(".py"):
                found[f"cloudrouter/{room}/{path}"] = data
    return {**found, **_websockets()}


def read_tree(folder: str) -> dict[str, bytes]:
    """Every file below a folder by its relative path, compiled Python left out."""
    found = {}
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in files:
            path = os.path.join(base, name)
            found[os.path.relpath(path, folder)] = _read(path)
    return found


def _websockets() -> dict[str, bytes]:
    """The installed library without its C extension, which fits one Python only and has a slower twin in Python."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        home = distribution("websockets")
    except PackageNotFoundError as error:
        raise NotConfigured(
            "The Python package websockets is not installed, and the guest needs it.",
            fix="install CloudRouter with all it needs",
            next="pip install --force-reinstall cloudrouter",
        ) from error
    found = {}
    for entry in home.files or []:
        path = entry.as_posix()
        inner = path.removeprefix("websockets/")
        wanted = inner != path and path.endswith(".py") and not inner.startswith(_UNUSED)
        if wanted or path.endswith("licenses/LICENSE"):
            found[path if wanted else "websockets/LICENSE"] = _read(str(entry.locate()))
    return found


def _read(path: str) -> bytes:
    with open(path, "rb") as source:
        return source.read()
