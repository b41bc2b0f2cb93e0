"""Header blocks, against the standard library's own reading and writing."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudrouter.trees import headers

texts = st.binary(min_size=1, max_size=300).map(lambda raw: raw.replace(b"\0", b"0"))


@settings(deadline=None)
@given(
    texts.filter(lambda name: not name.endswith(b"/")),
    st.integers(0, 0o777),
    st.integers(0, 2**60),
    st.integers(-(2**40), 2**60),
)
def test_encode_when_read_by_tarfile_then_every_field_is_there(name, mode, size, mtime):
    info = next_member(headers.encode(name, headers.FILE, mode, size, mtime))
    assert info.name.encode("utf-8", "surrogateescape") == name
    assert (info.mode, info.size, info.mtime, info.isreg()) == (mode, size, mtime, True)


@settings(deadline=None)
@given(texts, texts)
def test_encode_when_it_is_a_link_then_tarfile_reads_the_target(name, target):
    info = next_member(headers.encode(name.rstrip(b"/") or b"x", headers.SYMLINK, 0o777, 0, 0, target))
    assert info.issym()
    assert info.linkname.encode("utf-8", "surrogateescape") == target


def next_member(raw: bytes) -> tarfile.TarInfo:
    with tarfile.open(
        fileobj=io.BytesIO(raw + headers.END), mode="r|", errors="surrogateescape", encoding="utf-8"
    ) as t:
        info = t.next()
    assert info is not None
    return info


@settings(deadline=None)
@given(
    texts.filter(lambda name: len(name) <= 100 and not name.endswith(b"/")),
    st.integers(0, 0o777),
    st.integers(0, 2**90),
    st.integers(-(2**90), 2**90),
)
def test_decode_when_encode_wrote_it_then_nothing_is_lost(name, mode, size, mtime):
    header = headers.decode(headers.encode(name, headers.FILE, mode, size, mtime))
    assert (header.name, header.kind, header.mode, header.size, header.mtime) == (name, b"0", mode, size, mtime)


@pytest.mark.parametrize(("kind", "expected"), [(b"\0", headers.FILE), (b"7", headers.FILE), (b"5", headers.FOLDER)])
def test_decode_when_the_kind_has_another_spelling_then_it_is_known(kind, expected):
    assert headers.decode(headers.encode(b"a", kind, 0, 0, 0)).kind == expected


def test_decode_when_an_old_archive_marks_a_folder_by_a_slash_then_it_is_a_folder():
    assert headers.decode(headers.encode(b"a/", b"\0", 0, 7, 0)).kind == headers.FOLDER


def test_decode_when_one_byte_differs_then_the_checksum_says_so():
    block = bytearray(headers.encode(b"a", headers.FILE, 0o644, 3, 0))
    block[5] ^= 1
    with pytest.raises(headers.BadHeader, match="checksum"):
        headers.decode(bytes(block))
