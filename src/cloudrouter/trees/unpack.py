"""A hostile tar stream written below one folder, and nowhere else."""

from __future__ import annotations

import errno
import os
import stat

from cloudrouter.trees import headers
from cloudrouter.trees.entries import Entries, Entry
from cloudrouter.trees.folders import Folders
from cloudrouter.trees.names import clean, link_fault, name_fault, printable
from cloudrouter.trees.reader import Source
from cloudrouter.wire.errors import TransferFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Optional, Union

CONTAINED = "contained"
ANY = "any"
MAX_REFUSED = 1000
"""Refused entries that a report names; the rest is only counted."""

_FATAL = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG}
)
_FIXES = {
    errno.ENOSPC: "Make room on the disk that the files go to.",
    errno.EDQUOT: "Make room within the disk quota of the user.",
    errno.EROFS: "Choose a folder that can be written to.",
}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Limits:
    """What a stream may ask for; passing one ends the unpacking with TransferFailed (a long name: that entry)."""

    def __init__(
        self, max_entries: int = 5_000_000, max_total_bytes: int = 1 << 42, max_path_bytes: int = 4096
    ) -> None:
        self.max_entries = max_entries
        self.max_total_bytes = max_total_bytes
        self.max_path_bytes = max_path_bytes


class UnpackReport:
    """What was written; hard links count as files, the root itself as nothing."""

    def __init__(self) -> None:
        self.files = 0
        self.dirs = 0
        self.links = 0
        self.bytes = 0
        self.refused: list[tuple[str, str]] = []
        """(name that is safe to print, reason) of the first MAX_REFUSED entries that were not written."""
        self.refused_count = 0
        self.left_out = {"files": 0, "links": 0, "bytes": 0}
        """What the caller did not want."""


class _Refused(Exception):
    """This entry is not written; the text says why."""


def unpack(
    read: Callable[[int], bytes],
    root: Union[bytes, str],
    *,
    policy: str = CONTAINED,
    on_progress: Optional[Callable[[UnpackReport], None]] = None,
    limits: Optional[Limits] = None,
    leave_out: Optional[Callable[[bytes], bool]] = None,
) -> UnpackReport:
    """Write the stream's files, folders and links below root, which is made when it is missing.

    `read(n)` gives 1 to n bytes, b"" only at the end; nothing is read after the stream's end mark. Nothing is
    written outside root, through links or over folders; devices and pipes are refused, setuid, setgid and sticky
    bits dropped. Symbolic links are made as the policy says: "contained" refuses those that could lead out of root,
    "any" makes them all. A file appears whole, under its name, or not at all. One entry that cannot be written is in
    the report; a damaged or short stream, a passed limit or a full disk raises TransferFailed, and what was whole by
    then stays.
    Names for which leave_out says yes are passed over and counted apart.
    """
    if policy not in (CONTAINED, ANY):
        raise ValueError(f"unknown link policy {policy!r}")
    limits = limits or Limits()
    root = os.fsencode(root)
    work = _Unpacker(_open_root(root), policy, limits, on_progress, leave_out)
    try:
        work.run(Entries(Source(read)))
    finally:
        work.close()
    return work.report


def unpack_file(
    read: Callable[[int], bytes],
    path: Union[bytes, str],
    *,
    on_progress: Optional[Callable[[UnpackReport], None]] = None,
    limits: Optional[Limits] = None,
) -> UnpackReport:
    """Write a stream that holds one regular file as exactly path, whatever name the stream gives it.

    Its folder is made when it is missing. What stands there is replaced, a link by the file itself; a folder there,
    or a stream of something else than one file, raises TransferFailed.
    """
    folder, own = os.path.split(os.path.abspath(os.fsencode(path)))
    work = _Unpacker(_open_root(folder), CONTAINED, limits or Limits(), on_progress)
    try:
        work.run_single(Entries(Source(read)), own)
    finally:
        work.close()
    return work.report


def _open_root(root: bytes) -> Folders:
    try:
        os.makedirs(root, exist_ok=True)
        return Folders(root)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{printable(root)} is not a folder.") from None
    except OSError as error:
        raise TransferFailed(f"{printable(root)} cannot be written: {_reason(error)}.") from None


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown error").lower()


class _Unpacker:
    def __init__(
        self,
        folders: Folders,
        policy: str,
        limits: Limits,
        on_progress: Optional[Callable[[UnpackReport], None]],
        leave_out: Optional[Callable[[bytes], bool]] = None,
    ) -> None:
        self.report = UnpackReport()
        self._leave_out = leave_out
        self._folders = folders
        self._policy = policy
        self._limits = limits
        self._progress = on_progress
        self._promised = 0
        self._entries = 0
        self._temp = b".cloudrouter-%s-" % os.urandom(6).hex().encode()
        self._made: set[bytes] = set()
        self._settle: dict[bytes, tuple[int, int]] = {}
        self._handlers = {
            headers.FILE: self._file,
            headers.FOLDER: self._folder,
            headers.SYMLINK: self._symlink,
            headers.HARD_LINK: self._hard_link,
        }

    def run(self, entries: Entries) -> None:
        """Every entry of the stream."""
        while (entry := entries.next()) is not None:
            self._count(entry)
            name = clean(entry.name)
            if self._leave_out is not None and self._leave_out(name):
                self._pass_over(entry)
            else:
                self._write(entries, entry, name)

    def run_single(self, entries: Entries, own: bytes) -> None:
        """The one file of the stream, under the name own."""
        entry = entries.next()
        if entry is None or entry.kind != headers.FILE:
            raise TransferFailed("The stream does not begin with a regular file.")
        self._count(entry)
        self._write(entries, entry, own)
        if self.report.refused:
            raise TransferFailed(f"{printable(own)} was not written: {self.report.refused[0][1]}.")
        if entries.next() is not None:
            raise TransferFailed("The stream holds more than one file.")

    def close(self) -> None:
        """Give the folders their modes and times, innermost first, and let go of them."""
        try:
            for path in sorted(self._settle, reverse=True):
                self._settle_folder(path, *self._settle[path])
        finally:
            self._folders.close()

    def _count(self, entry: Entry) -> None:
        self._entries += 1
        self._promised += entry.size
        if self._entries > self._limits.max_entries:
            raise self._failed(f"the stream holds more than {self._limits.max_entries} entries")
        if self._promised > self._limits.max_total_bytes:
            raise self._failed(f"the stream holds more than {self._limits.max_total_bytes} bytes")

    def _write(self, entries: Entries, entry: Entry, name: bytes) -> None:
        try:
            fault = entry.fault or name_fault(name, self._limits.max_path_bytes)
            if fault:
                raise _Refused(fault)
            handler = self._handlers.get(entry.kind)
            if handler is None:
                raise _Refused("it is a device, a pipe or something else that is no file, folder or link")
            if name:
                handler(entries, entry, name)
            elif entry.kind != headers.FOLDER:
                raise _Refused("it has no name")
        except _Refused as refusal:
            self._refuse(entry.name, str(refusal))
        except OSError as error:
            if error.errno in _FATAL:
                raise self._failed(f"{_reason(error)} at {printable(name)}", _FIXES.get(error.errno, "")) from None
            self._refuse(entry.name, _reason(error))
        if self._progress is not None:
            self._progress(self.report)

    def _pass_over(self, entry: Entry) -> None:
        left = self.report.left_out
        left["files"] += entry.kind in (headers.FILE, headers.HARD_LINK)
        left["links"] += entry.kind == headers.SYMLINK
        left["bytes"] += entry.size if entry.kind == headers.FILE else 0

    def _refuse(self, name: bytes, reason: str) -> None:
        self.report.refused_count += 1
        if len(self.report.refused) < MAX_REFUSED:
            self.report.refused.append((printable(name), reason))

    def _failed(self, why: str, fix: str = "") -> TransferFailed:
        done = self.report
        return TransferFailed(
            f"Unpacking stopped: {why}. {done.files} files ({done.bytes} bytes) were written before.",
            fix=fix,
            files=done.files,
            bytes=done.bytes,
        )

    def _parent(self, name: bytes) -> tuple[int, bytes]:
        """The open folder that holds name (made when missing), and the name's last part."""
        parent, _, own = name.rpartition(b"/")
        try:
            return self._folders.open(parent, make=True), own
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise _Refused("a file or a link is in the way of its folder") from None
            raise

    def _temp_name(self) -> bytes:
        return self._temp + b"%d" % self._entries

    def _file(self, entries: Entries, entry: Entry, name: bytes) -> None:
        folder, own = self._parent(name)
        temp = self._temp_name()
        fd = os.open(temp, _NEW, 0o600, dir_fd=folder)
        try:
            try:
                while piece := entries.data():
                    self._write_all(fd, piece)
                os.fchmod(fd, entry.mode)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(fd)
            self._place(folder, temp, own)
        except BaseException:
            self._remove_temp(folder, temp)
            raise
        self._made.add(name)
        self.report.files += 1
        self.report.bytes += entry.size

    def _write_all(self, fd: int, piece: bytes) -> None:
        written = os.write(fd, piece)
        while written < len(piece):
            written += os.write(fd, memoryview(piece)[written:])
        if self._progress is not None:
            self._progress(self.report)

    def _place(self, folder: int, temp: bytes, own: bytes) -> None:
        try:
            os.rename(temp, own, src_dir_fd=folder, dst_dir_fd=folder)
        except (IsADirectoryError, FileExistsError):
            raise _Refused("a folder of that name is in the way") from None

    def _folder(self, entries: Entries, entry: Entry, name: bytes) -> None:
        folder, own = self._parent(name)
        try:
            os.mkdir(own, 0o700, dir_fd=folder)
        except FileExistsError:
            self._reuse_folder(folder, own, name)
        self._settle[name] = (entry.mode, entry.mtime_ns)
        self.report.dirs += 1

    def _reuse_folder(self, folder: int, own: bytes, name: bytes) -> None:
        found = os.stat(own, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            raise _Refused("a file or a link of that name is in the way")
        fd = self._folders.open(name)
        if found.st_mode & 0o700 != 0o700 and found.st_uid == os.geteuid():
            os.fchmod(fd, stat.S_IMODE(found.st_mode) | 0o700)  # its own mode comes back at the end

    def _symlink(self, entries: Entries, entry: Entry, name: bytes) -> None:
        fault = link_fault(name, entry.link) if self._policy == CONTAINED else None
        if fault or not entry.link or b"\0" in entry.link:
            raise _Refused(fault or "it is a link to nothing")
        folder, own = self._parent(name)
        temp = self._temp_name()
        os.symlink(entry.link, temp, dir_fd=folder)
        try:
            os.utime(temp, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)
            self._place(folder, temp, own)
        except BaseException:
            self._remove_temp(folder, temp)
            raise
        self._made.discard(name)
        self.report.links += 1

    def _hard_link(self, entries: Entries, entry: Entry, name: bytes) -> None:
        target = clean(entry.link)
        if target not in self._made:
            raise _Refused("it is a hard link to something that is not a file of this stream")
        if target == name:
            raise _Refused("it is a hard link to itself")
        source, source_own = self._parent(target)
        source = os.dup(source)  # opening the second folder may close the first
        try:
            folder, own = self._parent(name)
            temp = self._temp_name()
            os.link(source_own, temp, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(source)
        try:
            self._place(folder, temp, own)
        finally:
            self._remove_temp(folder, temp)
        self._made.add(name)
        self.report.files += 1

    def _remove_temp(self, folder: int, temp: bytes) -> None:
        """Renaming one name of a file over another name of the same file does nothing and leaves both."""
        try:
            os.unlink(temp, dir_fd=folder)
        except FileNotFoundError:
            return

    def _settle_folder(self, path: bytes, mode: int, mtime_ns: int) -> None:
        try:
            fd = self._folders.open(path)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            os.fchmod(fd, mode)
        except OSError as error:
            self._refuse(path, f"its mode and time could not be set: {_reason(error)}")
