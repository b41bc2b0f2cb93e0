"""Contexts are the same bytes every time, and their digest sees every change that matters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.images.fakes import names_in, read_from

from cloudrouter.images.context import File, digest, pack

NAMES = st.lists(
    st.text("abc/", min_size=1, max_size=8).filter(lambda name: all(name.split("/"))), min_size=1, max_size=6
)


def test_pack_given_any_order_of_files_then_same_bytes() -> None:
    files = {"b": File(b"2"), "a/x": File(b"1", 0o755), "a/y": File(b"")}
    assert pack(files) == pack(dict(reversed(files.items())))


def test_pack_keeps_modes_and_contents_and_belongs_to_root() -> None:
    packed = pack({"a/b/run": File(b"#!", 0o755), "a/secret": File(b"s", 0o600)})
    entries = names_in(packed)
    assert list(entries) == ["a", "a/b", "a/b/run", "a/secret"]
    assert entries["a/b/run"].mode == 0o755
    assert entries["a/secret"].mode == 0o600
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries.values()} == {(0, 0, 0)}
    assert read_from(packed, "a/b/run") == b"#!"


@given(NAMES)
def test_digest_when_one_thing_changes_then_differs(names: list[str]) -> None:
    files = {name: File(b"x") for name in names}
    first = names[0]
    assert digest(files) != digest({**files, first: File(b"y")})
    assert digest(files) != digest({**files, first: File(b"x", 0o755)})
    assert digest(files) != digest({**files, first + "z!": File(b"x")})
    assert digest(files) == digest(dict(reversed(files.items())))
