"""What packing reports: what changed, could not be read, or is no file; and its errors."""

from __future__ import annotations

import os
import socket
import tarfile
import tracemalloc

import pytest

from cloudrouter.trees.pack import CHUNK, PackReport, pack, pack_file
from cloudrouter.trees.reader import Reader
from cloudrouter.trees.unpack import unpack
from cloudrouter.wire.errors import NotFound, TransferFailed, UsageError


def members(chunks):
    with tarfile.open(fileobj=Reader(iter(chunks)), mode="r|") as archive:
        return {info.name: (info, archive.extractfile(info).read() if info.isreg() else b"") for info in archive}


def test_pack_when_a_file_shrinks_while_it_is_read_then_it_is_filled_up_and_reported(tmp_path):
    big = tmp_path / "big"
    big.write_bytes(b"x" * (3 * CHUNK))
    (tmp_path / "z").write_bytes(b"after")
    report = PackReport()
    stream = pack(str(tmp_path), report=report)
    first = next(stream)
    os.truncate(big, CHUNK + 5)
    found = members([first, *stream])
    assert found["big"][1] == b"x" * (CHUNK + 5) + bytes(2 * CHUNK - 5)
    assert found["z"][1] == b"after"
    assert report.changed == [b"big"]


def test_pack_when_a_file_grows_while_it_is_read_then_it_is_cut_and_reported(tmp_path):
    big = tmp_path / "big"
    big.write_bytes(b"x" * (2 * CHUNK))
    report = PackReport()
    stream = pack(str(tmp_path), report=report)
    first = next(stream)
    with big.open("ab") as handle:
        handle.write(b"y" * 1000)
    assert members([first, *stream])["big"][1] == b"x" * (2 * CHUNK)
    assert report.changed == [b"big"]


def test_pack_when_a_named_path_vanished_then_it_is_reported_and_the_rest_is_sent(tmp_path):
    (tmp_path / "b").write_bytes(b"1")
    report = PackReport()
    assert list(members(pack(str(tmp_path), [b"a", b"b", b"no/such"], report=report))) == ["b"]
    assert report.changed == [b"a", b"no/such"]


def test_pack_when_there_are_sockets_and_pipes_then_they_are_skipped_and_reported(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"1")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(tmp_path)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        report = PackReport()
        assert list(members(pack(str(tmp_path), report=report))) == ["file"]
    assert report.skipped_special == [b"pipe", b"socket"]


def test_pack_when_a_file_and_a_folder_cannot_be_read_then_both_are_reported(forbidden):
    report = PackReport()
    assert sorted(members(pack(str(forbidden), report=report))) == ["closed", "open.txt"]
    assert sorted(report.unreadable) == [(b"closed", "permission denied"), (b"secret.txt", "permission denied")]


def test_pack_when_a_folder_on_the_way_is_a_link_then_it_is_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"s")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to("../outside")
    report = PackReport()
    found = members(pack(str(tmp_path / "root"), [b"link", b"link/secret"], report=report))
    assert list(found) == ["link"]
    assert found["link"][0].linkname == "../outside"
    assert report.changed == [b"link/secret"]


def test_pack_when_a_file_becomes_a_link_at_the_last_moment_then_it_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/f").write_bytes(b"plain!")
    real = os.stat

    def stat_and_swap(path, **options):
        found = real(path, **options)
        if path == b"f":
            (tmp_path / "root/f").unlink()
            (tmp_path / "root/f").symlink_to("../secret")
        return found

    report = PackReport()
    stream = pack(str(tmp_path / "root"), report=report)
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat_and_swap)
        chunks = list(stream)
    assert members(chunks) == {}
    assert report.changed == [b"f"]


@pytest.mark.parametrize("path", [b"../a", b"/etc/passwd", b"a/../../b", b"a\0b"])
def test_pack_when_a_path_leaves_the_root_then_it_is_a_usage_error(tmp_path, path):
    with pytest.raises(UsageError):
        list(pack(str(tmp_path), [path]))


def test_pack_when_the_root_is_missing_or_a_file_then_the_error_says_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotFound, match="no folder"):
        list(pack(str(tmp_path / "none")))
    with pytest.raises(UsageError, match="not a folder"):
        list(pack(str(tmp_path / "file")))


def test_pack_file_when_it_is_missing_a_folder_or_unreadable_then_the_error_says_so(forbidden):
    with pytest.raises(NotFound):
        list(pack_file(str(forbidden / "none"), "x"))
    with pytest.raises(UsageError, match="not a regular file"):
        list(pack_file(str(forbidden), "x"))
    with pytest.raises(TransferFailed, match="permission denied"):
        list(pack_file(str(forbidden / "secret.txt"), "x"))


def test_pack_when_a_file_is_sparse_and_huge_then_memory_stays_flat(tmp_path):
    with (tmp_path / "huge").open("wb") as handle:
        handle.truncate(200 * 1024 * 1024)
    tracemalloc.start()
    try:
        sizes = [len(chunk) for chunk in pack(str(tmp_path))]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) >= 200 * 1024 * 1024
    assert max(sizes) <= CHUNK
    assert peak < 4 * 1024 * 1024


def test_pack_when_it_is_abandoned_then_no_descriptor_stays_open(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/big").write_bytes(b"x" * (4 * CHUNK))
    before = len(os.listdir("/proc/self/fd"))
    stream = pack(str(tmp_path))
    next(stream)
    stream.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_reader_when_chunks_are_uneven_then_every_byte_comes_once():
    reader = Reader(iter([b"", b"abc", b"", b"d", b"efgh"]))
    got = [reader.read(2) for _ in range(6)]
    assert got == [b"ab", b"c", b"d", b"ef", b"gh", b""]


def test_unpack_when_the_source_gives_single_bytes_then_the_tree_is_whole(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/f").write_bytes(b"hello")
    data = b"".join(pack(str(tmp_path / "s")))
    unpack(Reader(data[i : i + 1] for i in range(len(data))).read, str(tmp_path / "t"))
    assert (tmp_path / "t/f").read_bytes() == b"hello"
