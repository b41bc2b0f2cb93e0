"""Files of the store that are open: being filled, or being read. What they take of the bound is counted there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Self


class NoRoom(Exception):
    """The bound leaves no room for one more file."""


class Content:
    """A file that entries have; while somebody reads it, throwing it out would free nothing."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.users = 0
        """Entries that have it; with none it is off the disk as soon as nobody reads it."""
        self.readers = 0


class Kept:
    """A content that is open for reading; `with` closes it."""

    def __init__(self, fd: int, content: Content, let_go: Callable[[Content], None]) -> None:
        self.fd = fd
        self._content = content
        self._let_go = let_go

    def read(self, position: int, limit: int) -> bytes:
        """Bytes from a position on."""
        return os.pread(self.fd, limit, position)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        os.close(self.fd)
        self._let_go(self._content)


class Part:
    """A file that is being filled; hashed as it grows."""

    def __init__(
        self, path: str, reserved: int, reserve: Callable[[Part, int], None], settle: Callable[[Part], None]
    ) -> None:
        self.path = path
        self.size = 0
        self.reserved = reserved
        """Bytes of the bound that are set aside for it; none any more when it is kept."""
        self.content: Content | None = None
        """What it has become, when it is kept."""
        self.sha256 = hashlib.sha256()
        self._reserve, self._settle = reserve, settle
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Append; OSError when the disk takes no more, NoRoom when the bound leaves none."""
        if self.size + len(data) > self.reserved:
            self._reserve(self, self.size + len(data) - self.reserved)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.fd, rest) :]
        self.sha256.update(data)
        self.size += len(data)

    def read(self, position: int, limit: int) -> bytes:
        """Bytes that were written before."""
        return os.pread(self.fd, limit, position)

    def close(self) -> None:
        """Let go of the file; what was not kept is removed."""
        os.close(self.fd)
        self._settle(self)
        unlink(self.path)  # what is kept has a name of its own


def unlink(path: str) -> None:
    """Remove a file; missing is success."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
