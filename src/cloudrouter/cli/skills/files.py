"""Reading and writing one file below a root: whole or not at all, and never through a link that leads out of it."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudrouter.wire.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 1024 * 1024
"""Bytes of a file that we are ready to compare; a skill has a few thousand."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened_folder(root: str, folder: str, *, create: bool) -> Iterator[int | None]:
    """A file descriptor of root/folder, or None when it is not there and not to be made.

    Raises Conflict when a link on the way leads out of root, or something else stands there.
    """
    fd = _open_folder(root, folder, create=create)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def _open_folder(root: str, folder: str, *, create: bool) -> int | None:
    real_root = os.path.realpath(root)
    real = os.path.realpath(os.path.join(real_root, folder))
    if os.path.commonpath([real, real_root]) != real_root:
        raise Conflict(
            f"{os.path.join(root, folder)} leads out of {root}: a symbolic link points to {real}.",
            fix="Nothing was written. Replace the link by a folder, or copy the text there yourself.",
            next="cloudrouter skills show",
        )
    if create and not os.path.isdir(real_root):
        os.makedirs(real_root, exist_ok=True)
    path, fd = real_root, None
    try:
        fd = os.open(real_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        inner = os.path.relpath(real, real_root)
        for part in [] if inner == "." else inner.split(os.sep):
            path = os.path.join(path, part)
            below = _step(fd, part, create=create)
            os.close(fd)
            fd = below
        return fd
    except FileNotFoundError:
        _close(fd)
        return None
    except OSError as error:
        _close(fd)
        raise Conflict(
            f"{path} cannot be used as a folder: {error.strerror}.",
            fix="Look at what stands there, and who owns it.",
            next=f"ls -ld {path}",
        ) from None


def _step(fd: int, part: str, *, create: bool) -> int:
    try:
        return os.open(part, DIRECTORY, dir_fd=fd)
    except FileNotFoundError:
        if not create:
            raise
        os.mkdir(part, 0o755, dir_fd=fd)
        return os.open(part, DIRECTORY, dir_fd=fd)


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def read(fd: int | None, name: str, shown: str) -> tuple[bytes, int] | None:
    """(content, permissions) of a file in that folder, or None; Conflict for anything but a plain file."""
    if fd is None:
        return None
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        kind = "is a symbolic link" if _is_link(fd, name) else f"cannot be read: {error.strerror}"
        raise _refusal(shown, kind) from None
    with os.fdopen(file, "rb") as opened:
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            raise _refusal(shown, "is not a plain file")
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise _refusal(shown, "is larger than 1 MiB")
    return content, stat.S_IMODE(facts.st_mode)


def _is_link(fd: int, name: str) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)


def _refusal(shown: str, kind: str) -> Conflict:
    return Conflict(
        f"{shown} {kind}; it is left alone.",
        fix="Move it away, then install again.",
        next="cloudrouter skills ls",
    )


def write(fd: int, name: str, content: bytes, mode: int) -> None:
    """Put a file there in one step: readers see the old one or the new one."""
    temporary = f".{name}.{os.urandom(6).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o600, dir_fd=fd)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fchmod(file, mode)
            os.fsync(file)
        os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException:
        os.unlink(temporary, dir_fd=fd)
        raise
    os.fsync(fd)


def keep(fd: int, name: str, content: bytes, mode: int, shown: str) -> str:
    """Write a backup under `name`, or under `name-2` and so on where others lie; the name that holds it now."""
    number, free = 1, name
    while True:
        there = read(fd, free, shown)
        if there is None:
            write(fd, free, content, mode)
            return free
        if there[0] == content:
            return free
        number += 1
        free = f"{name}-{number}"


def remove(fd: int, name: str) -> None:
    """Take a file away."""
    os.unlink(name, dir_fd=fd)
    os.fsync(fd)
