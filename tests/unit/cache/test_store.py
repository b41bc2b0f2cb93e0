"""The store against a model of itself, and after everything that a crash can leave."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloudrouter.cache.contents import Kept, NoRoom, Part
from cloudrouter.cache.policy import ARTIFACT, METADATA
from cloudrouter.cache.store import TOUCH_AFTER_S, Entry, Store, find_damaged

KEYS = [letter * 64 for letter in "abcd"]


def entry(key: str, kind: str = ARTIFACT) -> Entry:
    return Entry(key, "host", f"/{key[0]}", kind, "", 0, {"etag": key[0]}, 1.0, 1.0, 60.0)


def put(store: Store, key: str, body: bytes, kind: str = ARTIFACT) -> Entry:
    part = store.begin(len(body))
    try:
        part.write(body)
        return store.keep(part, entry(key, kind))
    finally:
        part.close()


def read(store: Store, found: Entry) -> bytes | None:
    kept = store.open(found)
    if kept is None:
        return None
    with kept:
        return kept.read(0, 10_000)


def opened(folder: str | Path, bound: int = 1000) -> Store:
    store = Store(str(folder), bound_bytes=bound, now=lambda: 1000.0)
    store.load()
    return store


class Model(RuleBasedStateMachine):
    """What was put under a key is there, or nothing is; the bytes and files are what the entries need."""

    def __init__(self) -> None:
        super().__init__()
        self._temp = tempfile.TemporaryDirectory()
        self.store = opened(self._temp.name)
        self.known: dict[str, bytes] = {}
        self.parts: list[Part] = []
        self.readers: list[tuple[Kept, bytes]] = []

    @rule(key=st.sampled_from(KEYS), body=st.sampled_from([b"", b"x" * 10, b"y" * 300, b"z" * 400]))
    def keep(self, key: str, body: bytes) -> None:
        try:
            put(self.store, key, body)
        except NoRoom:
            assert len(body) + sum(len(one) for _, one in self.readers) + self.growing() > 400
            return
        self.known[key] = body
        assert read(self.store, self.store.find(key) or entry(key)) == body

    @rule(key=st.sampled_from(KEYS))
    def find(self, key: str) -> None:
        found = self.store.find(key)
        if found is not None:
            assert read(self.store, found) == self.known[key]

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        self.store.remove(key)
        assert self.store.find(key) is None

    def growing(self) -> int:
        return sum(part.reserved for part in self.parts)

    @rule(length=st.sampled_from([None, 0, 300]), size=st.sampled_from([1, 300]))
    def begin(self, length: int | None, size: int) -> None:
        try:
            self.parts.append(self.store.begin(length))
            self.parts[-1].write(b"p" * size)
        except NoRoom:
            assert self.store.used + max(length or 0, size) > 500

    @precondition(lambda self: self.parts)
    @rule(number=st.integers(0, 9))
    def give_up(self, number: int) -> None:
        self.parts.pop(number % len(self.parts)).close()

    @rule(key=st.sampled_from(KEYS))
    def read_slowly(self, key: str) -> None:
        found = self.store.find(key)
        kept = self.store.open(found) if found else None
        if kept is not None:
            self.readers.append((kept, self.known[key]))

    @precondition(lambda self: self.readers)
    @rule(number=st.integers(0, 9))
    def read_to_the_end(self, number: int) -> None:
        kept, body = self.readers.pop(number % len(self.readers))
        with kept:
            assert kept.read(0, 10_000) == body

    @precondition(lambda self: not self.parts and not self.readers)
    @rule()
    def reopen(self) -> None:
        before = {one.key for one, _ in self.store.snapshot()}
        self.store = opened(self._temp.name)
        assert {one.key for one, _ in self.store.snapshot()} == before

    @rule()
    def clear(self) -> None:
        self.store.clear()
        assert len(self.store) == 0

    @invariant()
    def holds_what_it_says(self) -> None:
        shown = self.store.snapshot()
        objects = {path for _, path in shown}
        on_disk = {str(path) for path in Path(self._temp.name, "objects").rglob("*") if path.is_file()}
        entries = [path for path in Path(self._temp.name, "entries").rglob("*") if path.is_file()]
        assert objects == on_disk
        assert len(entries) == len(shown) == len(self.store)
        assert self.store.bytes == sum(os.path.getsize(path) for path in on_disk) <= self.store.bound_bytes
        assert len(os.listdir(f"{self._temp.name}/parts")) == len(self.parts)
        inodes = {os.fstat(kept.fd).st_ino: len(body) for kept, body in self.readers}
        inodes |= {os.stat(path).st_ino: os.path.getsize(path) for path in on_disk}
        assert self.store.used == sum(inodes.values()) + self.growing() <= self.store.bound_bytes
        assert find_damaged(shown) == []

    def teardown(self) -> None:
        for part in self.parts:
            part.close()
        for kept, _ in self.readers:
            with kept:
                pass
        assert self.store.used == self.store.bytes
        self._temp.cleanup()


TestStore = Model.TestCase
TestStore.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


def test_a_folder_when_a_crash_left_rubbish_then_only_what_is_whole_is_found(tmp_path: Path) -> None:
    store = opened(tmp_path)
    whole = put(store, KEYS[0], b"whole")
    for key in KEYS[1:]:
        put(store, key, key.encode())
    objects = {one.key: Path(path) for one, path in store.snapshot()}
    objects[KEYS[1]].write_bytes(b"short")
    objects[KEYS[2]].unlink()
    names = {path.name: path for path in (tmp_path / "entries").rglob("*") if path.is_file()}
    names[KEYS[3]].write_text('{"key": "')
    (tmp_path / "parts" / "half").write_bytes(b"half")
    (tmp_path / "objects" / "zz").mkdir()
    (tmp_path / "objects" / "zz" / "unknown").write_bytes(b"?")
    for number, text in enumerate(("[]", '{"key": 1}', "\x00", '{"key": "k", "size": "1"}')):
        (tmp_path / "entries" / f"rubbish{number}").write_text(text)
    again = opened(tmp_path)
    assert [one.key for one, _ in again.snapshot()] == [KEYS[0]]
    assert read(again, whole) == b"whole"
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {KEYS[0], whole.sha256}


def test_a_full_store_when_more_comes_then_the_least_used_goes_also_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for key in KEYS[:3]:
        put(store, key, key.encode() * 5)
    for number, key in enumerate((KEYS[1], KEYS[2], KEYS[0])):
        path = next(path for path in (tmp_path / "entries").rglob(key))
        os.utime(path, (number, number))
    again = opened(tmp_path)
    put(again, KEYS[3], b"n" * 200)
    assert again.find(KEYS[1]) is None
    assert again.find(KEYS[0]) is not None
    assert again.dropped == 1


def test_an_entry_when_used_then_the_disk_is_told_now_and_then(tmp_path: Path) -> None:
    now = 10_000.0
    store = Store(str(tmp_path), bound_bytes=1000, now=lambda: now)
    store.load()
    put(store, KEYS[0], b"x")
    path = next((tmp_path / "entries").rglob(KEYS[0]))
    os.utime(path, (1, 1))
    store.find(KEYS[0])
    told = path.stat().st_mtime
    assert told > 1
    os.utime(path, (1, 1))
    store.find(KEYS[0])
    assert path.stat().st_mtime == 1
    now += TOUCH_AFTER_S + 1
    store.find(KEYS[0])
    assert path.stat().st_mtime > 1


def test_metadata_when_kept_in_several_forms_then_each_describes(tmp_path: Path) -> None:
    store = opened(tmp_path)
    put(store, KEYS[0], b"json", METADATA)
    assert [one.key for one in store.describing("host", "/a")] == [KEYS[0]]
    put(store, KEYS[0], b"newer", METADATA)
    assert len(store.describing("host", "/a")) == 1
    assert [one.key for one in opened(tmp_path).describing("host", "/a")] == [KEYS[0]]
    store.remove(KEYS[0])
    assert store.describing("host", "/a") == []
    put(store, KEYS[1], b"file", ARTIFACT)
    assert store.describing("host", "/b") == []


def test_entries_when_too_many_then_the_least_used_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudrouter.cache.store.ENTRIES", 10)
    store = opened(tmp_path)
    for number in range(30):
        put(store, f"{number:064d}", b"same")
        assert len(store) <= 10
    assert store.find(f"{29:064d}") is not None
    assert store.find(f"{0:064d}") is None


def test_files_that_are_being_filled_when_too_many_then_the_next_is_refused_and_nothing_is_thrown_out(
    tmp_path: Path,
) -> None:
    store = opened(tmp_path)
    put(store, KEYS[0], b"x" * 200)
    parts = [store.begin(250), store.begin(250)]
    with pytest.raises(NoRoom):
        store.begin(1)
    unknown = store.begin(0)
    unknown.write(b"u" * 250)
    with pytest.raises(NoRoom):
        unknown.write(b"u")
    assert store.find(KEYS[0]) is not None
    assert store.used == 950
    for part in (*parts, unknown):
        part.close()
    assert store.used == 200


def test_a_content_when_it_is_being_read_then_another_goes_for_room(tmp_path: Path) -> None:
    store = opened(tmp_path)
    oldest = put(store, KEYS[0], b"a" * 400)
    put(store, KEYS[1], b"b" * 400)
    kept = store.open(oldest)
    assert kept is not None
    with kept:
        put(store, KEYS[2], b"c" * 400)
        assert [store.find(key) is not None for key in KEYS[:3]] == [True, False, True]
        store.remove(KEYS[0])
        assert (store.bytes, store.used) == (400, 800)
        assert kept.read(0, 500) == b"a" * 400
    assert store.used == 400


def test_a_part_when_kept_and_still_read_then_is_not_thrown_out_either(tmp_path: Path) -> None:
    store = opened(tmp_path)
    part = store.begin(400)
    part.write(b"a" * 400)
    store.keep(part, entry(KEYS[0]))
    put(store, KEYS[1], b"b" * 400)
    put(store, KEYS[2], b"c" * 400)
    assert [store.find(key) is not None for key in KEYS[:3]] == [True, False, True]
    part.close()
    put(store, KEYS[3], b"d" * 400)
    assert [store.find(key) is not None for key in KEYS[:4]] == [False, False, True, True]
