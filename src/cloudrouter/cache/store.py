"""What is kept on disk: contents by their SHA-256, entries that name them, the least used thrown out first.

One process owns the folder. Everything arrives by rename, so nothing half-written is ever found; a power cut may
leave a file short, which its size shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cloudrouter.cache.policy import METADATA

TOUCH_AFTER_S = 3600.0
"""How often at most the disk is told that an entry is in use."""
LOW_WATER = 0.9
"""Where throwing out stops, as a part of the bound."""
LARGEST_PART = 0.25
"""One file may take this part of the bound at most."""
META_LIMIT = 64 * 1024
ENTRIES = 50_000
"""No more entries than this: each is held in memory and read when the process begins."""


@dataclass(frozen=True)
class Entry:
    """One kept answer; times are seconds since the epoch."""

    key: str
    host: str
    path: str
    kind: str
    sha256: str
    size: int
    headers: dict[str, str] = field(default_factory=dict)
    stored_at: float = 0.0
    checked_at: float = 0.0
    """When its registry last said that this is the current answer."""
    fresh_s: float = 0.0


class Part:
    """A file that is being filled; hashed as it grows."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Append; OSError when the disk takes no more."""
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
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return  # kept, under its own name


class Store:
    """Entries in memory, least used first, each with its file on disk."""

    def __init__(self, folder: str, *, bound_bytes: int, now: Callable[[], float]) -> None:
        self.bound_bytes = bound_bytes
        self._folder = folder
        self._now = now
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._users: dict[str, int] = {}
        """SHA-256 -> number of entries that have this content."""
        self._described: dict[tuple[str, str], list[str]] = {}
        """Host and path of metadata -> the keys of its forms."""
        self._told: dict[str, float] = {}
        self.bytes = 0
        self.dropped = 0
        """Entries thrown out for room since the process began."""

    # -- life -------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Make the folders, read what is there, and remove whatever belongs to nothing."""
        for name in ("entries", "objects", "parts"):
            os.makedirs(f"{self._folder}/{name}", mode=0o700, exist_ok=True)
        for path, _ in _files(f"{self._folder}/parts"):
            os.unlink(path)
        sizes = {os.path.basename(path): found.st_size for path, found in _files(f"{self._folder}/objects")}
        for path, _ in sorted(_files(f"{self._folder}/entries"), key=lambda one: one[1].st_mtime):
            entry = _read_entry(path)
            if entry is None or entry.key != os.path.basename(path) or sizes.get(entry.sha256) != entry.size:
                os.unlink(path)
            else:
                self._admit(entry)
        for path, _ in _files(f"{self._folder}/objects"):
            if os.path.basename(path) not in self._users:
                os.unlink(path)
        self._make_room(0)

    def largest(self) -> int:
        """The size in bytes above which nothing is kept."""
        return int(self.bound_bytes * LARGEST_PART)

    def __len__(self) -> int:
        return len(self._entries)

    # -- reading ----------------------------------------------------------------------------------------------

    def find(self, key: str) -> Entry | None:
        """An entry, marked as used now."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        if self._now() - self._told.get(key, 0.0) > TOUCH_AFTER_S:
            self._told[key] = self._now()
            try:
                os.utime(self._entry_path(key))
            except FileNotFoundError:
                self.remove(key)
                return None
        return entry

    def open(self, entry: Entry) -> int | None:
        """A descriptor of an entry's content; None, and the entry is gone, when it is not there whole."""
        try:
            descriptor = os.open(self._object_path(entry.sha256), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.remove(entry.key)
            return None
        if os.fstat(descriptor).st_size != entry.size:
            os.close(descriptor)
            self.remove(entry.key)
            return None
        return descriptor

    def describing(self, host: str, path: str) -> list[Entry]:
        """The kept forms of some metadata, without marking them as used."""
        return [self._entries[key] for key in self._described.get((host, path), ())]

    # -- writing ----------------------------------------------------------------------------------------------

    def begin(self) -> Part:
        """A file to fill; OSError when there is no room for it."""
        return Part(f"{self._folder}/parts/{secrets.token_hex(8)}")

    def keep(self, part: Part, entry: Entry) -> Entry:
        """Put a filled file in place under an entry, instead of what had its key; the part stays readable."""
        entry = replace(entry, sha256=part.sha256.hexdigest(), size=part.size)
        self._make_room(entry.size)
        target = self._object_path(entry.sha256)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        if entry.sha256 not in self._users:
            os.rename(part.path, target)
        self._write_entry(entry)
        before = self._entries.get(entry.key)
        self._admit(entry)
        if before is not None:  # released last: the content may be the same as the new one
            self._release(before.sha256, before.size)
        return entry

    def confirm(self, entry: Entry, *, fresh_s: float) -> Entry:
        """The registry says that an entry is still current."""
        changed = replace(entry, checked_at=self._now(), fresh_s=fresh_s)
        if entry.key in self._entries:
            self._write_entry(changed)
            self._entries[entry.key] = changed
        return changed

    def remove(self, key: str) -> None:
        """Forget an entry, and its content when nothing else has it; missing is success."""
        self._drop(key)
        _unlink(self._entry_path(key))

    def clear(self) -> tuple[int, int]:
        """Forget everything; (entries, bytes) that there were."""
        before = len(self._entries), self.bytes
        for key in list(self._entries):
            self.remove(key)
        return before

    def snapshot(self) -> list[tuple[Entry, str]]:
        """Every entry with its content's path, for a check in another thread."""
        return [(entry, self._object_path(entry.sha256)) for entry in self._entries.values()]

    # -- inside -----------------------------------------------------------------------------------------------

    def _admit(self, entry: Entry) -> None:
        if entry.kind == METADATA and entry.key not in self._entries:
            self._described.setdefault((entry.host, entry.path), []).append(entry.key)
        self._entries[entry.key] = entry
        self._entries.move_to_end(entry.key)
        users = self._users.get(entry.sha256, 0)
        self._users[entry.sha256] = users + 1
        if not users:
            self.bytes += entry.size

    def _drop(self, key: str) -> None:
        """Out of memory, and the content off the disk when this was its last user."""
        entry = self._entries.pop(key, None)
        self._told.pop(key, None)
        if entry is None:
            return
        forms = self._described.get((entry.host, entry.path), [])
        if key in forms:
            forms.remove(key)
            if not forms:
                del self._described[entry.host, entry.path]
        self._release(entry.sha256, entry.size)

    def _release(self, sha256: str, size: int) -> None:
        """One user of a content less; the last one takes it along."""
        self._users[sha256] -= 1
        if not self._users[sha256]:
            del self._users[sha256]
            self.bytes -= size
            _unlink(self._object_path(sha256))

    def _make_room(self, size: int) -> None:
        if self.bytes + size <= self.bound_bytes and len(self._entries) < ENTRIES:
            return
        enough, many = self.bound_bytes * LOW_WATER, ENTRIES * LOW_WATER
        while self._entries and (self.bytes + size > enough or len(self._entries) > many):
            self.remove(next(iter(self._entries)))
            self.dropped += 1

    def _write_entry(self, entry: Entry) -> None:
        path = self._entry_path(entry.key)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        part = f"{self._folder}/parts/{secrets.token_hex(8)}"
        with open(part, "w", encoding="utf-8") as file:
            json.dump(asdict(entry), file)
        os.rename(part, path)

    def _entry_path(self, key: str) -> str:
        return f"{self._folder}/entries/{key[:2]}/{key}"

    def _object_path(self, sha256: str) -> str:
        return f"{self._folder}/objects/{sha256[:2]}/{sha256}"


def find_damaged(snapshot: Iterable[tuple[Entry, str]]) -> list[str]:
    """The keys of entries whose content is not what it was when it came; reads everything, so not for the loop."""
    damaged = []
    for entry, path in snapshot:
        try:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            continue  # thrown out meanwhile
        except OSError:
            found = ""
        if found != entry.sha256:
            damaged.append(entry.key)
    return damaged


def _read_entry(path: str) -> Entry | None:
    """An entry's file; None when it is not one."""
    try:
        with open(path, encoding="utf-8") as file:
            body: Mapping[str, Any] = json.loads(file.read(META_LIMIT))
        entry = Entry(**body)
        texts = (entry.key, entry.host, entry.path, entry.kind, entry.sha256, *entry.headers, *entry.headers.values())
        numbers = (entry.stored_at, entry.checked_at, entry.fresh_s)
    except (ValueError, TypeError, AttributeError, OSError):
        return None
    right = all(isinstance(text, str) for text in texts) and all(type(one) in (int, float) for one in numbers)
    return entry if right and type(entry.size) is int and len(entry.sha256) == 64 else None


def _files(folder: str) -> list[tuple[str, os.stat_result]]:
    """Every file below a folder."""
    found = []
    for base, _, names in os.walk(folder):
        found += [(f"{base}/{name}", os.stat(f"{base}/{name}")) for name in names]
    return found


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
