"""Files that a verb brings here: named by machine and time, written whole, never over something that is there."""

from __future__ import annotations

import os
import time

from cloudrouter.wire.errors import Conflict, TransferFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def default_name(machine: dict[str, Any], ending: str, now: float) -> str:
    """`my-project-2026-11-24-121530.png`."""
    own = str(machine.get("name") or machine.get("id") or "machine")
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in own)[:40]
    return f"{safe}-{time.strftime('%Y-%m-%d-%H%M%S', time.localtime(now))}{ending}"


def check_free(path: str, *, force: bool) -> None:
    """Conflict when something is at the path, unless it may be replaced; a folder never is."""
    if os.path.isdir(path):
        raise Conflict(f"{path} is a folder.", fix="Give a file's name.")
    if os.path.lexists(path) and not force:
        raise Conflict(f"{path} is there already.", fix="Give another name, or --force to replace it.")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise Conflict(f"There is no folder {folder}.", fix="Make it first.", next=f"mkdir -p {folder}")


def place(data: bytes, path: str, *, force: bool) -> None:
    """Write a file whole or not at all."""
    check_free(path, force=force)
    beside = f"{path}.{os.urandom(4).hex()}.part"
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as file:
            file.write(data)
        put(beside, path, force=force)
    except OSError as error:
        raise TransferFailed(f"{path} cannot be written: {(error.strerror or 'unknown error').lower()}.") from None
    finally:
        if os.path.lexists(beside):
            os.unlink(beside)


def put(beside: str, path: str, *, force: bool) -> None:
    """Give a file its name; without force only if nothing has come there meanwhile."""
    if force:
        os.replace(beside, path)
        return
    try:
        os.link(beside, path, follow_symlinks=False)
    except FileExistsError:
        raise Conflict(f"{path} is there already.", fix="Give another name, or --force to replace it.") from None
