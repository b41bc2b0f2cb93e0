"""A folder, or one file, as a stream of tar bytes: raw names, links as links, flat memory."""

from __future__ import annotations

import errno
import os
import stat

from cloudrouter.trees import headers
from cloudrouter.trees.folders import Folders
from cloudrouter.trees.names import clean, name_fault, printable
from cloudrouter.wire.errors import NotFound, TransferFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Optional, Union

CHUNK = 256 * 1024
"""Bytes of every piece that is yielded, the last one excepted."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAX_PATH = 1 << 20


class PackReport:
    """What went into a stream; filled while the stream is read."""

    def __init__(self) -> None:
        self.files = 0
        self.dirs = 0
        self.links = 0
        self.bytes = 0
        """Content of regular files, as promised in their headers."""
        self.unreadable: list[tuple[bytes, str]] = []
        """(path, reason): not in the stream, or, when reading broke in the middle, filled up with zeros."""
        self.changed: list[bytes] = []
        """Files that changed while they were read (cut or filled up to the promised size) or vanished."""
        self.skipped_special: list[bytes] = []
        """Sockets, pipes and devices: not in the stream."""


def pack(
    root: Union[bytes, str], paths: Optional[Iterable[bytes]] = None, *, report: Optional[PackReport] = None
) -> Iterator[bytes]:
    """Tar bytes of the given paths below root, in their order, or of the whole tree when paths is None.

    A path stands for its own entry only: a folder's contents are named themselves. Symbolic links are stored,
    never followed, neither as an entry nor on the way to one. With the first piece come NotFound or UsageError
    when root is missing or no folder; a path that is absolute or climbs raises UsageError.
    """
    packer = _Packer(_open_root(os.fsencode(root)), PackReport() if report is None else report)
    try:
        yield from packer.walk() if paths is None else packer.named(paths)
        yield from packer.end()
    finally:
        packer.folders.close()


def pack_file(
    path: Union[bytes, str], name: Union[bytes, str], *, report: Optional[PackReport] = None
) -> Iterator[bytes]:
    """Tar bytes of one regular file, called name in the stream. A link is followed: the person named it.

    With the first piece come NotFound, UsageError (not a regular file) or TransferFailed (unreadable).
    """
    path = os.path.realpath(os.fsencode(path))
    folder, _, own = path.rpartition(b"/")
    report = PackReport() if report is None else report
    packer = _Packer(_open_root(folder or b"/"), report)
    try:
        here = packer.folders.open(b"")
        if not stat.S_ISREG(os.stat(own, dir_fd=here, follow_symlinks=False).st_mode):
            raise UsageError(f"{printable(path)} is not a regular file.")
        yield from packer.file(here, own, os.fsencode(name))
        if not report.files:
            raise TransferFailed(f"{printable(path)} became something else while it was opened.")
        yield from packer.end()
    except FileNotFoundError:
        raise NotFound(f"There is no file {printable(path)}.") from None
    except OSError as error:
        raise TransferFailed(f"{printable(path)} cannot be read: {_reason(error)}.") from None
    finally:
        packer.folders.close()


def _open_root(root: bytes) -> Folders:
    try:
        return Folders(root)
    except FileNotFoundError:
        raise NotFound(f"There is no folder {printable(root)}.") from None
    except NotADirectoryError:
        raise UsageError(f"{printable(root)} is not a folder.") from None
    except OSError as error:
        raise TransferFailed(f"{printable(root)} cannot be read: {_reason(error)}.") from None


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown error").lower()


class _Packer:
    """The bytes not yet yielded, the open folders and the report of one stream."""

    def __init__(self, folders: Folders, report: PackReport) -> None:
        self.folders = folders
        self.report = report
        self._out = bytearray()

    def named(self, paths: Iterable[bytes]) -> Iterator[bytes]:
        for path in paths:
            path = clean(path)
            fault = name_fault(path, _MAX_PATH)
            if fault:
                raise UsageError(f"{printable(path)} cannot be sent: {fault}.")
            if path:
                yield from self._entry(path)

    def walk(self) -> Iterator[bytes]:
        """Depth first, each folder's entries sorted; a folder comes before what is in it."""
        waiting = self._children(b"")
        while waiting:
            path = waiting.pop()
            folders = self.report.dirs
            yield from self._entry(path)
            if self.report.dirs > folders:
                waiting += self._children(path)

    def _children(self, path: bytes) -> list[bytes]:
        """The paths of a folder's entries, last one first."""
        try:
            names = os.listdir(self.folders.open(path))
        except OSError as error:
            self._failed(path, error)
            return []
        prefix = path + b"/" if path else b""
        return sorted((prefix + os.fsencode(name) for name in names), reverse=True)

    def _entry(self, path: bytes) -> Iterator[bytes]:
        parent, _, own = path.rpartition(b"/")
        try:
            folder = self.folders.open(parent)
            found = os.stat(own, dir_fd=folder, follow_symlinks=False)
            kind = stat.S_IFMT(found.st_mode)
            if kind == stat.S_IFREG:
                yield from self.file(folder, own, path)
            elif kind == stat.S_IFDIR:
                self._put(headers.FOLDER, path + b"/", found)
                self.report.dirs += 1
            elif kind == stat.S_IFLNK:
                self._put(headers.SYMLINK, path, found, os.readlink(own, dir_fd=folder))
                self.report.links += 1
            else:
                self.report.skipped_special.append(path)
        except OSError as error:
            self._failed(path, error)
        if len(self._out) >= CHUNK:
            yield from self._full()

    def _failed(self, path: bytes, error: OSError) -> None:
        """Vanished, or a folder or file that became something else meanwhile: changed. The rest: unreadable."""
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            self.report.changed.append(path)
        else:
            self.report.unreadable.append((path, _reason(error)))

    def _put(self, kind: bytes, path: bytes, found: os.stat_result, link: bytes = b"") -> None:
        self._out += headers.encode(path, kind, found.st_mode & 0o777, 0, found.st_mtime_ns // 10**9, link)

    def file(self, folder: int, own: bytes, path: bytes) -> Iterator[bytes]:
        """One regular file as it is at its opening; path is its name in the stream. Raises OSError from opening."""
        fd = os.open(own, _READ, dir_fd=folder)
        try:
            opened = os.fstat(fd)
            if not stat.S_ISREG(opened.st_mode):
                self.report.changed.append(path)
                return
            size, mode = opened.st_size, opened.st_mode & 0o777
            self._out += headers.encode(path, headers.FILE, mode, size, opened.st_mtime_ns // 10**9)
            self.report.files += 1
            self.report.bytes += size
            yield from self._content(fd, path, opened)
        finally:
            os.close(fd)

    def _content(self, fd: int, path: bytes, opened: os.stat_result) -> Iterator[bytes]:
        left = opened.st_size
        while left:
            try:
                piece = os.read(fd, min(left, CHUNK))
            except OSError as error:
                self.report.unreadable.append((path, _reason(error)))
                break
            if not piece:
                break
            self._out += piece
            left -= len(piece)
            if len(self._out) >= CHUNK:
                yield from self._full()
        now = os.fstat(fd)
        if left or (now.st_size, now.st_mtime_ns) != (opened.st_size, opened.st_mtime_ns):
            self.report.changed.append(path)
        while left:
            self._out += bytes(min(left, CHUNK))
            left -= min(left, CHUNK)
            yield from self._full()
        self._out += headers.padding(opened.st_size)

    def _full(self) -> Iterator[bytes]:
        while len(self._out) >= CHUNK:
            yield bytes(memoryview(self._out)[:CHUNK])
            del self._out[:CHUNK]

    def end(self) -> Iterator[bytes]:
        self._out += headers.END
        yield from self._full()
        if self._out:
            yield bytes(self._out)
