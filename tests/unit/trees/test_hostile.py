"""Streams that want to do harm: nothing outside the root is touched, and only the declared error comes out."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import tempfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudrouter.trees import headers
from cloudrouter.trees.pack import pack
from cloudrouter.trees.reader import Reader
from cloudrouter.trees.unpack import ANY, CONTAINED, MAX_REFUSED, Limits, unpack, unpack_file
from cloudrouter.wire.errors import TransferFailed, UsageError

Member = tuple[bytes, bytes, bytes, bytes]


def archive(*members: Member, mode: int = 0o644) -> bytes:
    """(name, kind, link, data) of each entry, as a whole stream."""
    out = b""
    for name, kind, link, data in members:
        out += headers.encode(name, kind, mode, len(data), 1000, link) + data + headers.padding(len(data))
    return out + headers.END


def unpacked(data: bytes, root: object, **options: object):
    return unpack(Reader(iter([data])).read, str(root), **options)


def everything(root: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(seen.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(seen.st_mode):
                with open(path, "rb") as handle:
                    content = handle.read()
            found[path] = (seen.st_mode, seen.st_nlink, seen.st_mtime_ns, content)
    return found


class Arena:
    """A root that holds links to its outside, and an outside that must never change."""

    def __init__(self, base: str) -> None:
        self.root = base + "/root"
        self.outside = base + "/outside"
        os.makedirs(self.outside + "/sub")
        with open(self.outside + "/canary", "wb") as handle:
            handle.write(b"alive")
        os.makedirs(self.root + "/real")
        os.symlink("../outside", self.root + "/out")
        os.symlink("../outside/canary", self.root + "/leaf")
        os.symlink(".", self.root + "/real/here")
        os.symlink("..", self.root + "/up")

    def check(self, before: dict[str, object]) -> None:
        assert everything(self.outside) == before
        assert sorted(os.listdir(os.path.dirname(self.root))) == ["outside", "root"]
        for path, (mode, *_rest) in everything(self.root).items():
            assert ".cloudrouter-" not in path
            kind = stat.S_IFMT(mode)
            assert kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
            assert kind == stat.S_IFLNK or not mode & 0o7000


parts = st.sampled_from(
    [b"..", b".", b"", b"out", b"leaf", b"real", b"here", b"up", b"new", b"canary", b"sub", b"x\0y", b"\n"]
)
paths = st.one_of(
    st.lists(parts, min_size=1, max_size=5).map(b"/".join),
    st.sampled_from(
        [b"/", b"//etc/x", b"..", b"../outside/canary", b"/tmp/cloudrouter-escape", b"a" * 300, b"d/" * 3000]
    ),
)
members = st.tuples(
    paths,
    st.sampled_from([b"0", b"1", b"2", b"5", b"2", b"0", b"3", b"4", b"6", b"7", b"S", b"V", b"\0", b"Z"]),
    paths,
    st.sampled_from([b"", b"data", b"d" * 700]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(members, max_size=8), st.sampled_from([CONTAINED, ANY]), st.sampled_from([0o644, 0o7777, 0]))
@example([(b"l", b"2", b"..", b""), (b"l/outside/canary", b"0", b"", b"dead")], ANY, 0o644)
@example([(b"h", b"1", b"../outside/canary", b""), (b"h", b"0", b"", b"dead")], ANY, 0o644)
@example([(b"h", b"1", b"leaf", b""), (b"h", b"0", b"", b"dead")], ANY, 0o644)
@example([(b"out/canary", b"0", b"", b"dead"), (b"leaf", b"0", b"", b"mine")], ANY, 0o644)
@example([(b"out", b"5", b"", b""), (b"up/outside", b"5", b"", b"")], ANY, 0o7777)
def test_unpack_when_entries_try_to_escape_then_nothing_outside_changes(entries, policy, mode):
    with tempfile.TemporaryDirectory(prefix="cloudrouter-arena-") as base:
        arena = Arena(base)
        before = everything(arena.outside)
        try:
            unpacked(archive(*entries, mode=mode), arena.root, policy=policy)
        except TransferFailed:
            pass
        arena.check(before)
        assert not os.path.lexists("/tmp/cloudrouter-escape")


@settings(max_examples=300, deadline=None)
@given(st.lists(members, max_size=5), st.data())
def test_unpack_when_bytes_are_changed_then_only_the_declared_error_comes_out(entries, data):
    raw = bytearray(archive(*entries))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        repair_checksums(raw)
    cut = data.draw(st.integers(0, len(raw)))
    with tempfile.TemporaryDirectory(prefix="cloudrouter-arena-") as base:
        arena = Arena(base)
        before = everything(arena.outside)
        try:
            unpacked(bytes(raw[: cut or None]), arena.root, policy=ANY, limits=Limits(max_total_bytes=1 << 20))
        except TransferFailed:
            pass
        arena.check(before)


def repair_checksums(raw: bytearray) -> None:
    """Make every block look like a header, so that changed fields are really read."""
    for at in range(0, len(raw) - 511, 512):
        block = raw[at : at + 512]
        if any(block):
            block[148:156] = b" " * 8
            raw[at + 148 : at + 156] = b"%06o\0 " % sum(block)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000))
def test_unpack_when_the_stream_is_noise_then_it_is_transfer_failed(noise):
    with tempfile.TemporaryDirectory(prefix="cloudrouter-arena-") as base:
        if noise[:512] == bytes(512) and len(noise) >= 512:
            return
        with pytest.raises(TransferFailed):
            unpacked(noise, base + "/root")


pax_values = st.one_of(paths, st.sampled_from([b"1", b"99999999999999999999", b"-5", b"1e9", b"1.5", b"nan", b""]))


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from([b"path", b"linkpath", b"size", b"mtime", b"GNU.sparse.major"]), pax_values),
    members,
)
def test_unpack_when_pax_records_lie_then_nothing_outside_changes(records, member):
    body = b"".join(record(key, value) for key, value in records.items())
    raw = headers.encode(b"pax", headers.PAX, 0, len(body), 0) + body + headers.padding(len(body)) + archive(member)
    with tempfile.TemporaryDirectory(prefix="cloudrouter-arena-") as base:
        arena = Arena(base)
        before = everything(arena.outside)
        try:
            unpacked(raw, arena.root, policy=ANY)
        except TransferFailed:
            pass
        arena.check(before)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ((b"../x", b"0", b"", b"1"), "climbs"),
        ((b"/abs", b"0", b"", b"1"), "absolute"),
        ((b"fifo", b"6", b"", b""), "device"),
        ((b"null", b"3", b"", b""), "device"),
        ((b"l", b"2", b"/etc/passwd", b""), "absolute"),
        ((b"d/l", b"2", b"../../x", b""), "leads out"),
        ((b"l", b"2", b"a/../../x", b""), "climbs after"),
        ((b"l", b"2", b"", b""), "nothing"),
        ((b"h", b"1", b"other", b""), "not a file of this stream"),
        ((b"n" * 5000, b"0", b"", b"1"), "longer than"),
        ((b"n" * 300, b"0", b"", b"1"), "name too long"),
        ((b"folder", b"0", b"", b"1"), "a folder of that name"),
        ((b"folder", b"2", b"x", b""), "a folder of that name"),
        ((b"file", b"5", b"", b""), "a file or a link of that name"),
        ((b"link", b"5", b"", b""), "a file or a link of that name"),
        ((b"file/x", b"0", b"", b"1"), "in the way of its folder"),
        ((b"link/x", b"0", b"", b"1"), "in the way of its folder"),
        ((b"sparse", b"S", b"", b"1"), "sparse"),
    ],
)
def test_unpack_when_an_entry_is_not_allowed_then_it_is_refused_and_the_rest_arrives(tmp_path, member, reason):
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("folder")
    report = unpacked(archive(member, (b"good", b"0", b"", b"yes")), tmp_path)
    assert [reason in why for _, why in report.refused] == [True]
    assert (tmp_path / "good").read_bytes() == b"yes"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "good", "link"]
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert os.listdir(tmp_path / "folder") == ["inner"]


def test_unpack_when_contained_links_stay_inside_then_they_are_made(tmp_path):
    report = unpacked(archive((b"d/e/l", b"2", b"../../a/b", b""), (b"m", b"2", b"./a", b"")), tmp_path)
    assert (report.links, report.refused) == (2, [])
    assert os.readlink(tmp_path / "d/e/l") == "../../a/b"


def test_unpack_when_a_link_stands_where_a_file_comes_then_the_link_is_replaced(tmp_path):
    (tmp_path / "outside").write_bytes(b"keep")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/f").symlink_to("../outside")
    unpacked(archive((b"f", b"0", b"", b"new")), tmp_path / "root")
    assert not (tmp_path / "root/f").is_symlink()
    assert (tmp_path / "root/f").read_bytes() == b"new"
    assert (tmp_path / "outside").read_bytes() == b"keep"


def test_unpack_when_hard_links_name_files_of_the_stream_then_they_share_them(tmp_path):
    entries = [(b"d/a", b"0", b"", b"1"), (b"b", b"1", b"d/a", b""), (b"b", b"1", b"d/a", b""), (b"c", b"1", b"b", b"")]
    report = unpacked(archive(*entries), tmp_path)
    assert report.refused == []
    assert (tmp_path / "b").stat().st_ino == (tmp_path / "d/a").stat().st_ino == (tmp_path / "c").stat().st_ino
    assert sorted(os.listdir(tmp_path)) == ["b", "c", "d"]


def test_unpack_when_the_stream_ends_early_then_nothing_half_written_stays(tmp_path):
    whole = archive((b"a", b"0", b"", b"first"), (b"b", b"0", b"", b"s" * 5000))
    for cut in range(0, len(whole) - 1024, 100):
        root = tmp_path / str(cut)
        with pytest.raises(TransferFailed, match="ended before its end mark"):
            unpacked(whole[:cut], root)
        for name, content in (("a", b"first"), ("b", b"s" * 5000)):
            assert not (root / name).exists() or (root / name).read_bytes() == content
        assert set(os.listdir(root)) <= {"a", "b"}


def test_unpack_when_the_stream_is_cut_between_two_entries_then_that_is_noticed(tmp_path):
    whole = archive((b"a", b"0", b"", b"x" * 512))
    with pytest.raises(TransferFailed):
        unpacked(whole[:1024], tmp_path)


def test_unpack_when_limits_are_passed_then_it_stops_and_says_what_was_written(tmp_path):
    bomb = archive((b"a", b"0", b"", b"12345"), (b"b", b"0", b"", b"1" * 2000))
    with pytest.raises(TransferFailed, match=r"more than 1000 bytes.*1 files \(5 bytes\)"):
        unpacked(bomb, tmp_path / "1", limits=Limits(max_total_bytes=1000))
    with pytest.raises(TransferFailed, match="more than 1 entries"):
        unpacked(bomb, tmp_path / "2", limits=Limits(max_entries=1))
    assert os.listdir(tmp_path / "1") == os.listdir(tmp_path / "2") == ["a"]


def test_unpack_when_the_disk_is_full_then_the_error_says_so_and_no_temporary_file_stays(tmp_path, monkeypatch):
    real, calls = os.write, []

    def write(fd, data):
        calls.append(fd)
        if len(calls) == 3:
            return real(fd, data[:10])
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    entries = [(b"%d" % i, b"0", b"", b"x" * 100) for i in range(5)]
    with pytest.raises(TransferFailed, match=r"no space left on device at 2\. 2 files \(200 bytes\)") as caught:
        unpacked(archive(*entries), tmp_path)
    assert caught.value.details == {"files": 2, "bytes": 200}
    assert sorted(os.listdir(tmp_path)) == ["0", "1"]


def test_unpack_when_it_fails_then_folders_have_their_modes_all_the_same(tmp_path):
    data = archive((b"d", b"5", b"", b""), (b"d/f", b"0", b"", b"x"), mode=0o550)
    with pytest.raises(TransferFailed):
        unpacked(data[:-1024], tmp_path)
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o550


def test_unpack_when_names_hold_control_characters_then_the_report_escapes_them(tmp_path):
    report = unpacked(archive((b"../\x1b[31m\nred\xff", b"0", b"", b"")), tmp_path)
    assert report.refused[0][0] == "../\\x1b[31m\\nred\\xff"


def test_unpack_when_very_many_entries_are_refused_then_the_report_stays_small(tmp_path):
    report = unpacked(archive((b"../x", b"0", b"", b""))[:-1024] * (MAX_REFUSED + 50) + headers.END, tmp_path)
    assert len(report.refused) == MAX_REFUSED
    assert report.refused_count == MAX_REFUSED + 50


def test_unpack_when_a_folder_may_not_be_written_then_that_entry_is_refused(forbidden):
    forbidden.chmod(0o555)
    report = unpacked(archive((b"open.txt", b"0", b"", b"x"), (b"closed/y", b"0", b"", b"x")), forbidden)
    assert [why for _, why in report.refused] == ["permission denied", "permission denied"]


def test_unpack_when_the_root_is_a_file_then_it_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError):
        unpacked(archive(), tmp_path / "file")


def test_unpack_when_the_caller_is_interrupted_then_no_temporary_file_stays(tmp_path):
    parts = iter([archive((b"a", b"0", b"", b"x" * 2000))[:1000]])

    def read(n: int) -> bytes:
        piece = next(parts, None)
        if piece is None:
            raise KeyboardInterrupt
        return piece

    with pytest.raises(KeyboardInterrupt):
        unpack(read, str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_unpack_when_descriptors_were_opened_then_all_are_closed_again(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    unpacked(archive(*[(b"d%d/e/f" % i, b"0", b"", b"x") for i in range(200)]), tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_unpack_when_progress_is_asked_for_then_it_sees_every_step(tmp_path):
    seen = []
    data = archive((b"a", b"0", b"", b"x"), (b"b", b"0", b"", b"y"))
    unpacked(data, tmp_path, on_progress=lambda report: seen.append((report.files, report.bytes)))
    assert seen[-1] == (2, 2)
    assert seen == sorted(seen)


def test_unpack_when_python_writes_a_pax_archive_then_fractions_of_times_are_kept(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        info = tarfile.TarInfo("ü" * 100)
        info.mtime = 1_700_000_000.25
        out.addfile(info)
    unpacked(buffer.getvalue(), tmp_path)
    assert (tmp_path / ("ü" * 100)).stat().st_mtime_ns == 1_700_000_000_250_000_000


def test_unpack_file_when_the_stream_names_something_else_then_only_the_given_path_is_written(tmp_path):
    data = archive((b"../../evil", b"0", b"", b"x"))
    assert unpack_file(Reader(iter([data])).read, str(tmp_path / "mine")).files == 1
    assert os.listdir(tmp_path) == ["mine"]


@pytest.mark.parametrize(
    "entries",
    [
        [(b"a", b"0", b"", b"x"), (b"b", b"0", b"", b"y")],
        [(b"a", b"2", b"/etc/passwd", b"")],
        [(b"a", b"5", b"", b"")],
        [],
    ],
)
def test_unpack_file_when_the_stream_is_not_one_file_then_it_fails(tmp_path, entries):
    with pytest.raises(TransferFailed):
        unpack_file(Reader(iter([archive(*entries)])).read, str(tmp_path / "mine"))


def test_unpack_file_when_a_folder_stands_there_then_it_fails_and_the_folder_stays(tmp_path):
    (tmp_path / "mine/inner").mkdir(parents=True)
    with pytest.raises(TransferFailed, match="a folder of that name"):
        unpack_file(Reader(iter([archive((b"a", b"0", b"", b"x"))])).read, str(tmp_path / "mine"))
    assert (tmp_path / "mine/inner").is_dir()


def test_unpack_when_pack_made_a_link_out_then_the_person_side_refuses_it(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/l").symlink_to("/etc/passwd")
    assert unpack(Reader(pack(str(tmp_path / "s"))).read, str(tmp_path / "t")).links == 0
    assert unpack(Reader(pack(str(tmp_path / "s"))).read, str(tmp_path / "t"), policy=ANY).links == 1
