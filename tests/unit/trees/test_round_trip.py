"""What is packed and unpacked again is the same tree: names, contents, modes, links, times."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudrouter.trees import headers
from cloudrouter.trees.pack import PackReport, pack, pack_file
from cloudrouter.trees.reader import Reader
from cloudrouter.trees.unpack import ANY, unpack, unpack_file

Tree = dict[bytes, tuple[str, int, object, int]]


def snapshot(root: bytes) -> Tree:
    """Every entry below root as (kind, mode, content or target, whole-second time)."""
    found: Tree = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            own = os.path.relpath(path, root)
            when = int(seen.st_mtime_ns // 10**9)
            if stat.S_ISLNK(seen.st_mode):
                found[own] = ("link", 0, os.readlink(path), when)
            elif stat.S_ISDIR(seen.st_mode):
                found[own] = ("folder", stat.S_IMODE(seen.st_mode), None, when)
            else:
                with open(path, "rb") as handle:
                    found[own] = ("file", stat.S_IMODE(seen.st_mode), handle.read(), when)
    return found


names = st.one_of(
    st.sampled_from(
        [b"a", b"b", b"new\nline", b"[x]", b" space ", b"-rf", b"caf\xe9", b"\xff\xfe", b"*", b"a" * 255, b"..."]
    ),
    st.binary(min_size=1, max_size=60).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0")),
).filter(lambda name: name not in (b".", b".."))
modes = st.sampled_from([0o644, 0o755, 0o600, 0o400, 0o777, 0o444])
times = st.integers(min_value=0, max_value=4_000_000_000)
contents = st.one_of(st.binary(max_size=1200), st.sampled_from([0, 512, 513, 300_000]).map(bytes))
nodes = st.recursive(
    st.one_of(
        st.tuples(st.just("file"), contents, modes, times),
        st.tuples(st.just("link"), st.one_of(names, st.just(b"t" * 300)), st.just(0), times),
    ),
    lambda inner: st.tuples(
        st.just("folder"),
        st.dictionaries(names, inner, max_size=4),
        st.sampled_from([0o755, 0o700, 0o555, 0o777]),
        times,
    ),
    max_leaves=12,
)


def build(path: bytes, node: tuple[str, object, int, int]) -> None:
    kind, value, mode, when = node
    if kind == "file":
        with open(path, "wb") as handle:
            handle.write(value)  # type: ignore[arg-type]
        os.chmod(path, mode)
    elif kind == "link":
        os.symlink(value, path)  # type: ignore[arg-type]
    else:
        os.mkdir(path)
        for name, inner in value.items():  # type: ignore[attr-defined]
            build(path + b"/" + name, inner)
        os.chmod(path, mode)
    os.utime(path, (when, when), follow_symlinks=False)


def scratch() -> tempfile.TemporaryDirectory[bytes]:
    return tempfile.TemporaryDirectory(prefix=b"cloudrouter-trees-")


@settings(deadline=None)
@given(st.dictionaries(names, nodes, max_size=5))
def test_tree_when_packed_and_unpacked_then_it_is_the_same(tree):
    with scratch() as base:
        source, target = base + b"/source", base + b"/target"
        os.mkdir(source)
        for name, node in tree.items():
            build(source + b"/" + name, node)
        sent = PackReport()
        got = unpack(Reader(pack(source, report=sent)).read, target, policy=ANY)
        assert snapshot(target) == snapshot(source)
        assert got.refused == []
        assert (got.files, got.dirs, got.links, got.bytes) == (sent.files, sent.dirs, sent.links, sent.bytes)
        assert (sent.unreadable, sent.changed, sent.skipped_special) == ([], [], [])


@settings(deadline=None)
@given(st.dictionaries(names, nodes, max_size=3))
def test_tree_when_packed_then_gnu_tar_reads_the_same(tree):
    with scratch() as base:
        source, target = base + b"/source", base + b"/target"
        os.mkdir(source)
        os.mkdir(target)
        for name, node in tree.items():
            build(source + b"/" + name, node)
        done = subprocess.run(
            [b"tar", b"-xpf", b"-", b"-C", target, b"--delay-directory-restore", b"--warning=no-timestamp"],
            input=b"".join(pack(source)),
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert snapshot(target) == snapshot(source)


@settings(deadline=None)
@given(st.dictionaries(names, nodes, max_size=3), st.sampled_from(["gnu", "pax", "ustar"]))
def test_tree_when_gnu_tar_packs_it_then_it_is_unpacked_the_same(tree, form):
    with scratch() as base:
        source, target = base + b"/source", base + b"/target"
        os.mkdir(source)
        for name, node in tree.items():
            build(source + b"/" + name, node)
        command = [b"tar", b"-cf", b"-", b"--format=" + form.encode(), b"-C", source, b"."]
        done = subprocess.run(command, capture_output=True, check=False)
        if form == "ustar" and done.returncode:
            return  # a name that ustar cannot hold
        assert done.returncode == 0
        assert unpack(Reader(iter([done.stdout])).read, target, policy=ANY).refused == []
        assert snapshot(target) == snapshot(source)


def test_pack_when_paths_are_given_then_only_these_are_sent(tmp_path):
    source = os.fsencode(tmp_path / "source")
    os.makedirs(source + b"/d/e")
    for name in (b"/d/one", b"/d/two", b"/d/e/three"):
        with open(source + name, "wb") as handle:
            handle.write(name)
    unpack(Reader(pack(source, [b"d", b"d/two", b"d/e"])).read, tmp_path / "target", policy=ANY)
    assert sorted(snapshot(os.fsencode(tmp_path / "target"))) == [b"d", b"d/e", b"d/two"]


def test_pack_when_a_folder_is_deeper_than_the_cache_then_all_arrives(tmp_path):
    source = os.fsencode(tmp_path / "source")
    deep = source + b"/" + b"/".join(b"d%d" % i for i in range(150))
    os.makedirs(deep)
    for i in range(0, 150, 10):
        place = source + b"/" + b"/".join(b"d%d" % n for n in range(i + 1))
        with open(place + b"/z-file", "wb") as handle:
            handle.write(b"%d" % i)
    unpack(Reader(pack(source)).read, tmp_path / "target")
    assert snapshot(os.fsencode(tmp_path / "target")) == snapshot(source)


def test_pack_file_when_unpacked_under_another_name_then_the_content_is_there(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello" * 1000)
    (tmp_path / "a.txt").chmod(0o640)
    report = unpack_file(Reader(pack_file(str(tmp_path / "a.txt"), "a.txt")).read, str(tmp_path / "new/b.txt"))
    assert (tmp_path / "new/b.txt").read_bytes() == b"hello" * 1000
    assert stat.S_IMODE((tmp_path / "new/b.txt").stat().st_mode) == 0o640
    assert (report.files, report.bytes) == (1, 5000)


def test_unpack_when_the_tree_is_there_already_and_read_only_then_it_is_renewed(unprivileged):
    source, target = os.fsencode(unprivileged / "source"), os.fsencode(unprivileged / "target")
    closed = ("folder", {b"f": ("file", b"old", 0o444, 5)}, 0o555, 7)
    build(source, ("folder", {b"d": ("folder", {b"e": closed}, 0o555, 8)}, 0o755, 9))
    assert unpack(Reader(pack(source)).read, target).refused == []
    assert snapshot(target) == snapshot(source)
    os.chmod(source + b"/d/e", 0o755)
    os.unlink(source + b"/d/e/f")
    build(source + b"/d/e/f", ("file", b"new", 0o444, 6))
    os.chmod(source + b"/d/e", 0o555)
    assert unpack(Reader(pack(source)).read, target).refused == []
    assert snapshot(target) == snapshot(source)


def test_unpack_when_a_folder_may_not_even_be_entered_then_what_is_in_it_is_settled_first(unprivileged):
    target = os.fsencode(unprivileged / "target")
    inner = [b"d/e%d/" % i for i in range(200)]  # more than the cache of open folders holds
    data = headers.encode(b"d/", headers.FOLDER, 0, 0, 7)
    data += b"".join(headers.encode(name, headers.FOLDER, 0o500, 0, 8) for name in inner)
    assert unpack(Reader(iter([data + headers.END])).read, target).refused == []
    assert stat.S_IMODE(os.lstat(target + b"/d").st_mode) == 0
    os.chmod(target + b"/d", 0o700)
    found = snapshot(target)
    assert [found[name.rstrip(b"/")] for name in inner] == [("folder", 0o500, None, 8)] * 200


def test_names_that_are_not_wanted_are_passed_over_and_counted(tmp_path: Path) -> None:
    (tmp_path / "from" / ".git").mkdir(parents=True)
    (tmp_path / "from" / ".git" / "config").write_bytes(b"12345")
    (tmp_path / "from" / "kept").write_bytes(b"k")
    reader = Reader(pack(tmp_path / "from"))
    report = unpack(reader.read, tmp_path / "to", leave_out=lambda name: b".git" in name.split(b"/"))
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["kept"]
    assert (report.files, report.left_out) == (1, {"files": 1, "links": 0, "bytes": 5})
