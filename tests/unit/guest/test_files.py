"""Files in and out of a machine, through the guest as a process."""

from __future__ import annotations

import os
from typing import Any

from tests.unit.guest.machine import Machine, Outcome, finish, processes_of, send, until
from websockets.exceptions import ConnectionClosed

from cloudrouter.trees.pack import pack, pack_file
from cloudrouter.trees.reader import Reader
from cloudrouter.trees.unpack import unpack
from cloudrouter.wire.streams import CHUNK, WINDOW


async def put(machine: Machine, chunks: Any, **fields: Any) -> Outcome:
    """Send chunks within the window."""
    outcome, window = Outcome(), WINDOW
    async with machine.connect() as stream:
        await send(stream, {"op": "put", **fields})
        for chunk in chunks:
            while window < len(chunk) and not outcome.final:
                outcome.take(await stream.recv())
                window += outcome.texts[-1].get("window", 0)
            if outcome.final:
                break
            try:
                await stream.send(chunk)
            except ConnectionClosed:  # the guest has given its verdict already
                break
            window -= len(chunk)
        else:
            await send(stream, {"eof": True})
        return await finish(stream, outcome)


def make_tree(root: str) -> None:
    os.makedirs(os.fsencode(root) + b"/sub/\xff-dir")
    with open(os.fsencode(root) + b"/sub/\xff-dir/f\xfe", "wb") as file:
        file.write(b"raw name")
    with open(f"{root}/big", "wb") as file:
        file.write(os.urandom(5_000_000))
    with open(f"{root}/run.sh", "w") as file:
        file.write("#!/bin/sh\necho ran\n")
    os.chmod(f"{root}/run.sh", 0o755)
    os.symlink("/outside/is/fine", f"{root}/link")
    os.mkdir(f"{root}/empty")


def same(left: str, right: str) -> bool:
    """Whether both trees hold the same, as tar sees it."""
    return b"".join(pack(left)) == b"".join(pack(right))


async def test_a_tree_when_put_and_got_then_is_the_same(own: Machine, tmp_path: Any) -> None:
    make_tree(f"{tmp_path}/source")
    done = (await put(own, pack(f"{tmp_path}/source"), path="new/place", kind="tree")).final["done"]
    assert done == {
        "files": 3,
        "dirs": 3,
        "links": 1,
        "bytes": 5_000_000 + 8 + 19,
        "refused": [],
        "refused_count": 0,
    }
    assert same(f"{tmp_path}/source", f"{own.workspace}/new/place")
    outcome = await own.ask({"op": "get", "path": "new/place"})
    assert outcome.texts[0] == {"started": {"kind": "tree", "name": "place", "real": f"{own.workspace}/new/place"}}
    assert outcome.final["done"]["files"] == 3
    assert outcome.final["done"]["unreadable"] == []
    unpack(Reader(iter([bytes(outcome.stdout)])).read, f"{tmp_path}/back", policy="any")
    assert same(f"{tmp_path}/source", f"{tmp_path}/back")


async def test_a_file_when_put_then_stands_at_exactly_its_path_or_in_the_folder(own: Machine, tmp_path: Any) -> None:
    source = tmp_path / "name.txt"
    source.write_bytes(b"content")
    os.mkdir(f"{own.workspace}/folder")
    for path, place in (
        ("other.txt", f"{own.workspace}/other.txt"),
        ("deep/er/file", f"{own.workspace}/deep/er/file"),
        ("folder", f"{own.workspace}/folder/name.txt"),
        ("new/", f"{own.workspace}/new/name.txt"),
        ("~", f"{own.home}/name.txt"),
        (f"{own.root}/absolute", f"{own.root}/absolute"),
    ):
        outcome = await put(own, pack_file(str(source), "name.txt"), path=path, kind="file")
        assert outcome.final["done"]["files"] == 1, outcome.final
        with open(place, "rb") as file:
            assert file.read() == b"content"


async def test_a_file_when_got_then_is_a_tar_of_one_entry(own: Machine, tmp_path: Any) -> None:
    with open(f"{own.workspace}/one.bin", "wb") as file:
        file.write(b"x" * 700_000)
    os.symlink("one.bin", f"{own.workspace}/link")
    outcome = await own.ask({"op": "get", "path": "link"})
    assert outcome.texts[0]["started"] == {"kind": "file", "name": "link", "real": f"{own.workspace}/one.bin"}
    outcome = await own.ask({"op": "get", "path": "one.bin"})
    assert outcome.texts[0]["started"]["kind"] == "file"
    report = unpack(Reader(iter([bytes(outcome.stdout)])).read, str(tmp_path))
    assert (report.files, report.bytes) == (1, 700_000)
    assert (tmp_path / "one.bin").read_bytes() == b"x" * 700_000


async def test_a_path_when_missing_then_getting_it_is_not_found(shared: Machine) -> None:
    outcome = await shared.ask({"op": "get", "path": "not/there"})
    assert outcome.error["code"] == "not_found"
    assert "not/there" in outcome.error["message"]
    assert outcome.stdout == b""


async def test_requests_when_they_cannot_be_right_then_get_an_error(shared: Machine) -> None:
    for request in (
        {"op": "put", "path": 3},
        {"op": "put", "path": "x", "kind": "what"},
        {"op": "get", "path": ["x"]},
        {"op": "get", "path": "a\0b"},
    ):
        assert (await shared.ask(request)).error["code"] == "usage"


async def test_a_stream_when_it_is_no_tar_or_cut_then_fails_and_leaves_no_temporary_file(
    own: Machine, tmp_path: Any
) -> None:
    outcome = await put(own, [b"this is no tar" * 1000], path="x", kind="tree")
    assert outcome.error["code"] == "transfer_failed"
    (tmp_path / "file").write_bytes(b"y" * 3_000_000)
    whole = b"".join(pack(str(tmp_path)))
    chunks = [whole[at : at + CHUNK] for at in range(0, 1_000_000, CHUNK)]
    outcome = await put(own, chunks, path="x", kind="tree")
    assert outcome.error["code"] == "transfer_failed"
    assert os.listdir(f"{own.workspace}/x") == []


async def test_a_put_when_the_opener_leaves_then_leaves_no_process_and_no_temporary_file(
    own: Machine, tmp_path: Any
) -> None:
    (tmp_path / "file").write_bytes(b"y" * 3_000_000)
    first = next(iter(pack(str(tmp_path))))
    async with own.connect() as stream:
        await send(stream, {"op": "put", "path": "x", "kind": "tree"})
        await stream.send(first[:CHUNK])
        await until(lambda: os.path.exists(f"{own.workspace}/x") and os.listdir(f"{own.workspace}/x"))
        stream.transport.abort()
    await until(lambda: processes_of(own.root) == [own.pid])
    assert os.listdir(f"{own.workspace}/x") == []


async def test_a_get_when_the_opener_leaves_then_leaves_no_process(own: Machine) -> None:
    with open(f"{own.workspace}/big", "wb") as file:
        file.truncate(500_000_000)
    async with own.connect(max_queue=1) as stream:
        await send(stream, {"op": "get", "path": "big"})
        await stream.recv()
        stream.transport.abort()
    await until(lambda: processes_of(own.root) == [own.pid])


async def test_a_folder_in_the_way_when_putting_a_tree_then_is_named_as_refused(own: Machine, tmp_path: Any) -> None:
    (tmp_path / "thing").write_bytes(b"file")
    os.makedirs(f"{own.workspace}/thing/inside")
    done = (await put(own, pack(str(tmp_path)), path=".", kind="tree")).final["done"]
    assert done["files"] == 0
    assert done["refused"][0][0] == "thing"


async def test_a_file_where_a_folder_should_be_when_putting_then_is_an_error(own: Machine, tmp_path: Any) -> None:
    with open(f"{own.workspace}/plain", "w"):
        outcome = await put(own, pack(str(tmp_path)), path="plain", kind="tree")
    assert outcome.error["code"] == "usage"


async def test_a_full_disk_when_putting_then_the_error_says_so(own: Machine, tmp_path: Any) -> None:
    import resource

    (tmp_path / "file").write_bytes(b"z" * 3_000_000)
    # No full disk at hand: a limit on the size of files makes the same call fail, with EFBIG.
    resource.prlimit(own.pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    outcome = await put(own, pack(str(tmp_path)), path="x", kind="tree")
    assert outcome.error["code"] == "transfer_failed"
    assert "too large" in outcome.error["message"]
    assert os.listdir(f"{own.workspace}/x") == []
