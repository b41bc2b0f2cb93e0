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

from cloudrouter.cache.contents import Content, Kept, NoRoom, Part, unlink
from cloudrouter.cache.policy import METADATA

TOUCH_AFTER_S = 3600.0
"""How often at most the disk is told that an entry is in use."""
LOW_WATER = 0.9
"""Where throwing out stops, as a part of the bound."""
LARGEST_PART = 0.25
"""One file may take this part of the bound at most."""
BEGIN_BELOW, GROW_BELOW = 0.5, 0.75
"""Files that are being filled may take these parts of the bound together. Those whose length nobody said grow beyond
the first, so that they need not break off in the middle when many are begun."""
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


class Store:
    """Entries in memory, least used first, each with its file on disk."""

    def __init__(self, folder: str, *, bound_bytes: int, now: Callable[[], float]) -> None:
        self.bound_bytes = bound_bytes
        self._folder = folder
        self._now = now
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._contents: dict[str, Content] = {}
        """SHA-256 -> the content that some entry has."""
        self._described: dict[tuple[str, str], list[str]] = {}
        """Host and path of metadata -> the keys of its forms."""
        self._told: dict[str, float] = {}
        self.bytes = 0
        """What entries have."""
        self._growing = 0
        """What is set aside for files that are being filled."""
        self._lingering = 0
        """What has been thrown out, but is still read by somebody."""
        self._held = 0
        """What is read by somebody: no throwing out makes room of that."""
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
            if os.path.basename(path) not in self._contents:
                os.unlink(path)
        self._make_room(0)

    def largest(self) -> int:
        """The size in bytes above which nothing is kept."""
        return int(self.bound_bytes * LARGEST_PART)

    @property
    def used(self) -> int:
        """Bytes of the disk that are taken or promised; never more than the bound."""
        return self.bytes + self._growing + self._lingering

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

    def open(self, entry: Entry) -> Kept | None:
        """An entry's content, to be closed; None, and the entry is gone, when it is not there whole."""
        content = self._contents.get(entry.sha256)
        if content is None:
            return None  # thrown out since it was found
        try:
            descriptor = os.open(self._object_path(entry.sha256), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.remove(entry.key)
            return None
        if os.fstat(descriptor).st_size != entry.size:
            os.close(descriptor)
            self.remove(entry.key)
            return None
        self._hold(content)
        return Kept(descriptor, content, self._let_go)

    def describing(self, host: str, path: str) -> list[Entry]:
        """The kept forms of some metadata, without marking them as used."""
        return [self._entries[key] for key in self._described.get((host, path), ())]

    # -- writing ----------------------------------------------------------------------------------------------

    def begin(self, length: int | None = None) -> Part:
        """A file to fill, of that length if it is known; NoRoom within the bound, OSError where the disk is full."""
        reserved = length or 0
        self._set_aside(reserved, BEGIN_BELOW)
        try:
            return Part(f"{self._folder}/parts/{secrets.token_hex(8)}", reserved, self._reserve, self._settle)
        except OSError:
            self._growing -= reserved
            raise

    def keep(self, part: Part, entry: Entry) -> Entry:
        """Put a filled file in place under an entry, instead of what had its key; the part stays readable."""
        entry = replace(entry, sha256=part.sha256.hexdigest(), size=part.size)
        self._make_room(0)  # its bytes are set aside already
        target = self._object_path(entry.sha256)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        fresh = entry.sha256 not in self._contents
        if fresh:
            os.rename(part.path, target)
        try:
            self._write_entry(entry)
        except OSError:
            if fresh:
                unlink(target)
            raise
        before = self._entries.get(entry.key)
        self._admit(entry)
        if fresh:
            self._growing -= part.reserved
            part.reserved, part.content = 0, self._contents[entry.sha256]
            self._hold(part.content)
        if before is not None:  # released last: the content may be the same as the new one
            self._release(before.sha256)
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
        unlink(self._entry_path(key))

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
        content = self._contents.get(entry.sha256)
        if content is None:
            content = self._contents[entry.sha256] = Content(entry.size)
            self.bytes += entry.size
        content.users += 1

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
        self._release(entry.sha256)

    def _release(self, sha256: str) -> None:
        """One user of a content less; the last one takes it along."""
        content = self._contents[sha256]
        content.users -= 1
        if not content.users:
            del self._contents[sha256]
            self.bytes -= content.size
            self._lingering += content.size if content.readers else 0
            unlink(self._object_path(sha256))

    def _hold(self, content: Content) -> None:
        self._held += 0 if content.readers else content.size
        content.readers += 1

    def _let_go(self, content: Content) -> None:
        """One reader of a content less; the last one lets the disk have the room of what was thrown out."""
        content.readers -= 1
        if not content.readers:
            self._held -= content.size
            self._lingering -= 0 if content.users else content.size

    def _reserve(self, part: Part, more: int) -> None:
        """Room for a part that grows beyond what was said of it; NoRoom when there is none."""
        self._set_aside(more, GROW_BELOW)
        part.reserved += more

    def _settle(self, part: Part) -> None:
        """A part is closed: nothing is set aside for it any more, and it reads nothing."""
        self._growing -= part.reserved
        part.reserved = 0
        if part.content is not None:
            self._let_go(part.content)
            part.content = None

    def _set_aside(self, size: int, share: float) -> None:
        if self._growing + size > self.bound_bytes * share or not self._make_room(size):
            raise NoRoom
        self._growing += size

    def _make_room(self, size: int) -> bool:
        """Whether so much can be taken now; throws out what was not used for longest, and is not being read."""
        if self.used + size <= self.bound_bytes and len(self._entries) < ENTRIES:
            return True
        if self._growing + self._held + size > self.bound_bytes:
            return False  # and nothing is thrown out for nothing
        enough, many = self.bound_bytes * LOW_WATER, ENTRIES * LOW_WATER
        for key, entry in list(self._entries.items()):
            if self.used + size <= enough and len(self._entries) <= many:
                break
            if not self._contents[entry.sha256].readers:
                self.remove(key)
                self.dropped += 1
        return self.used + size <= self.bound_bytes

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
