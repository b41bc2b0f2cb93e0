"""Open folders below one root, reached step by step and never through a symbolic link."""

from __future__ import annotations

import os

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
LIMIT = 64


class Folders:
    """A bounded cache of folder descriptors, keyed by clean relative path (`b""` is the root).

    A descriptor is valid until the next call of `open` or `close`. Paths hold no `..` (see names.name_fault).
    """

    def __init__(self, root: bytes, limit: int = LIMIT) -> None:
        """Opens the root, itself possibly behind a link; raises OSError."""
        self._root = os.open(root, _FLAGS)
        self._open: dict[bytes, int] = {}
        self._limit = limit

    def open(self, path: bytes, *, make: bool = False) -> int:
        """The descriptor of a folder; with make, missing ones are made. Raises OSError (NotADirectoryError, ...)."""
        if not path:
            return self._root
        fd = self._open.pop(path, None)
        if fd is not None:
            self._open[path] = fd  # youngest again
            return fd
        known, missing = path, []
        while known and known not in self._open:
            known, _, part = known.rpartition(b"/")
            missing.append(part)
        fd = self.open(known)
        for part in reversed(missing):
            fd = self._step(fd, part, make=make)
            known = known + b"/" + part if known else part
            self._keep(known, fd)
        return fd

    def _step(self, parent: int, part: bytes, *, make: bool) -> int:
        try:
            return os.open(part, _FLAGS | os.O_NOFOLLOW, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
        try:
            os.mkdir(part, 0o777, dir_fd=parent)
        except FileExistsError:
            return os.open(part, _FLAGS | os.O_NOFOLLOW, dir_fd=parent)
        return os.open(part, _FLAGS | os.O_NOFOLLOW, dir_fd=parent)

    def _keep(self, path: bytes, fd: int) -> None:
        self._open[path] = fd
        if len(self._open) > self._limit:
            os.close(self._open.pop(next(iter(self._open))))

    def close(self) -> None:
        """Close every descriptor; the object is of no use afterwards."""
        for fd in (*self._open.values(), self._root):
            os.close(fd)
        self._open = {}
