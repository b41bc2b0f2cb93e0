"""Where a named volume may stand in a machine, and `NAME:PATH[:ro]` as people write it. Pure."""

from __future__ import annotations

from cloudrouter.wire import boot, ids
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Optional

MOUNT_LIMIT = 32
"""Volumes of one machine."""
PATH_LIMIT = 1024
SYSTEM_FOLDERS = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt/cloudrouter",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/cloudrouter",
    "/var/lock",
    "/var/run",
)
"""What makes the machine a machine: nothing may stand on, below or above these."""

_HOW = "Write NAME:PATH, or NAME:PATH:ro for one that is only read, as in npm-cache:~/.npm."


def parse_mount(text: str) -> dict[str, Any]:
    """`NAME:PATH[:ro|:rw]` as the fields of `wire.machines.Mount`; UsageError says what is wrong.

    `~` is the machine's home folder, and a relative path is below the workspace.
    """
    name, colon, rest = text.partition(":")
    if not name or name[0] in "./~" or "/" in name:
        raise UsageError(
            f"{text[:80]!r} does not begin with a volume's name.",
            fix=f"{_HOW} Folders of this host are not mounted: `start DIR` or `upload` copies one.",
        )
    path, mode = rest, "rw"
    if rest.endswith((":ro", ":rw")):
        path, mode = rest[:-3], rest[-2:]
    if not colon or not path:
        raise UsageError(f"{text[:80]!r} does not say where in the machine the volume stands.", fix=_HOW)
    path = resolve(path)
    fault = ids.name_fault(name)
    if fault:
        raise UsageError(f"{name[:40]!r} cannot be a volume's name: {fault}.", fix=_HOW)
    fault = path_fault(path)
    if fault:
        raise UsageError(f"The volume {name} cannot be mounted: {fault}.", fix=f"Choose another place: {name}:/data")
    return {"volume": name, "path": path, "read_only": mode == "ro"}


def parse_mounts(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Each as `parse_mount`, and all of them together: no two may stand on or in each other."""
    found = [parse_mount(text) for text in texts]
    fault = overlap_fault([mount["path"] for mount in found])
    if fault:
        raise UsageError(f"These volumes cannot be in one machine: {fault}.", fix="Give each a folder of its own.")
    return found


def resolve(path: str) -> str:
    """The absolute path that a person means, without `.` and doubled or last slashes; `..` stays, to be refused."""
    if path == "~" or path.startswith("~/"):
        path = boot.HOME + path[1:]
    elif not path.startswith("/"):
        path = f"{boot.WORKSPACE}/{path}"
    return "/" + "/".join(word for word in path.split("/") if word not in ("", "."))


def mount_fault(volume: str, path: str) -> Optional[str]:
    """Why this volume cannot stand at this path, or None when it can. The path must be as `resolve` leaves it."""
    fault = ids.name_fault(volume)
    if fault:
        return f"{volume[:40]!r} is not a volume's name: {fault}"
    return path_fault(path)


def path_fault(path: str) -> Optional[str]:
    """Why nothing can be mounted at a path, or None when something can."""
    if not path.startswith("/") or resolve(path) != path or ".." in path.split("/"):
        return f"{path[:80]!r} is not an absolute path in its shortest form"
    if len(path) > PATH_LIMIT:
        return f"its path is longer than {PATH_LIMIT} characters"
    if not path.isprintable() or ":" in path:
        return f"{path[:80]!r} holds a colon or characters that cannot be printed"
    if path == "/":
        return "it would stand on the whole machine"
    for folder in SYSTEM_FOLDERS:
        if _meet(path, folder):
            return f"{path} meets {folder}, which belongs to the system"
    return None


def overlap_fault(paths: list[str]) -> Optional[str]:
    """Why these paths cannot be in one machine, or None when they can."""
    if len(paths) > MOUNT_LIMIT:
        return f"there are {len(paths)}, and {MOUNT_LIMIT} is the most"
    for at, path in enumerate(paths):
        for other in paths[:at]:
            if _meet(path, other):
                return f"{other} and {path} are " + ("the same" if path == other else "in each other")
    return None


def _meet(one: str, other: str) -> bool:
    """Whether two paths are the same, or one is below the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
