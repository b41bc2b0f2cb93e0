"""Fresh volumes: what the engine mounted empty and as root's becomes the user's, without ever following a link."""

from __future__ import annotations

import errno
import os

from cloudrouter.guest.log import describe, log
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from cloudrouter.guest.environment import Account

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def check_paths(value: Any) -> list[str]:
    """The value as paths of mounts; UsageError when it is not."""
    if not isinstance(value, list) or not all(isinstance(path, str) and path.startswith("/") for path in value):
        raise UsageError("mounts must be absolute paths.")
    if any("\0" in path or ".." in path.split("/") for path in value):
        raise UsageError("mounts must be paths without `..`.")
    return value


def give(paths: Iterable[str], account: Account, home: str) -> None:
    """Make fresh mounts the account's, and the folders in its home that the engine made on the way to them.

    Fresh is a mount that is empty and root's; any other is left as it is. What cannot be changed is logged: the
    machine works without.
    """
    if not account.switch:
        return
    for path in paths:
        try:
            _give_one(path, account, home)
        except OSError as error:
            if error.errno != errno.EROFS:
                log(f"the volume at {path!r} cannot be given to {account.name}: {describe(error)}")


def _give_one(path: str, account: Account, home: str) -> None:
    """Walk down from the root, one real folder at a time, so that what is changed is what was looked at."""
    current, at = os.open("/", _FOLDER), ""
    try:
        for name in path.strip("/").split("/"):
            below = os.open(name, _FOLDER, dir_fd=current)
            crossed = _mount_of(below) != _mount_of(current)
            os.close(current)
            current, at = below, f"{at}/{name}"
            is_fresh = crossed and not os.listdir(current)
            wanted = is_fresh if at == path else not crossed and at.startswith(f"{home}/")
            if wanted and _is_roots(current):
                os.fchown(current, account.uid, account.gid)
    finally:
        os.close(current)


def _is_roots(fd: int) -> bool:
    found = os.fstat(fd)
    return found.st_uid == 0 and found.st_gid == 0


def _mount_of(fd: int) -> tuple[int, str]:
    """What tells mounts apart: the device, and the kernel's number of the mount where it tells that."""
    number = ""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        for line in file:
            if line.startswith("mnt_id:"):
                number = line.split()[1]
    return os.fstat(fd).st_dev, number
