"""Uploads and downloads: what arrives is what was sent, and what does not is named."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.fake_guest import FakeGuest
from tests.unit.client.fake_router import FakeRouter
from websockets.sync.server import ServerConnection

from cloudrouter.client import transfer
from cloudrouter.client.transport import Transport
from cloudrouter.trees.pack import PackReport, pack, pack_file
from cloudrouter.wire.errors import NotFound, TransferFailed, Unreachable, UsageError

Make = Callable[..., FakeRouter]


@pytest.fixture
def guest(tmp_path: Path) -> FakeGuest:
    (tmp_path / "guest").mkdir()
    return FakeGuest(str(tmp_path / "guest"))


@pytest.fixture
def way(fake_router: Make, guest: FakeGuest) -> Transport:
    return Transport(fake_router(talk=guest.talk).path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"a" * 1000)
    (root / "sub" / "tool").write_bytes(b"#!/bin/sh\n")
    (root / "sub" / "tool").chmod(0o755)
    (root / "big").write_bytes(os.urandom(3 * 2**20))
    (root / "link").symlink_to("a.txt")
    Path(os.fsdecode(bytes(root) + b"/caf\xe9 [x]\n")).write_bytes(b"odd")
    return root


def contents(root: Path | str) -> dict[bytes, Any]:
    found: dict[bytes, Any] = {}
    for folder, dirs, files in os.walk(os.fsencode(root)):
        for name in dirs + files:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, os.fsencode(root))
            mode = os.lstat(path).st_mode
            if os.path.islink(path):
                found[key] = os.readlink(path)
            elif os.path.isdir(path):
                found[key] = mode
            else:
                found[key] = (mode, Path(os.fsdecode(path)).read_bytes())
    return found


# -- upload -----------------------------------------------------------------------------------------------------


def test_folder_goes_up_whole_with_odd_names_modes_and_links(way: Transport, guest: FakeGuest, tree: Path) -> None:
    events: list[dict[str, Any]] = []
    report = transfer.upload(way, "cr_x", str(tree), "data", progress=events.append)
    assert contents(f"{guest.root}/data") == contents(tree)
    assert report == {
        "path": "data", "kind": "tree", "files": 4, "dirs": 2, "links": 1, "bytes": 1000 + 10 + 3 * 2**20 + 3,
        "changed": [], "skipped": [],
    }  # fmt: skip
    assert events[-1]["files"] == 4
    assert events[-1]["bytes"] == report["bytes"]
    assert events[-1]["done"] is True


def test_file_goes_up_to_exactly_the_remote_path(way: Transport, guest: FakeGuest, tree: Path) -> None:
    report = transfer.upload(way, "cr_x", str(tree / "a.txt"), "deep/b.txt")
    assert Path(f"{guest.root}/deep/b.txt").read_bytes() == b"a" * 1000
    assert (report["kind"], report["files"], report["bytes"]) == ("file", 1, 1000)


def test_missing_local_path_and_special_file_are_refused_before_anything_is_sent(
    way: Transport, guest: FakeGuest, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="nothere"):
        transfer.upload(way, "cr_x", str(tmp_path / "nothere"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="neither"):
        transfer.upload(way, "cr_x", str(tmp_path / "pipe"))
    assert not guest.requests


def test_unreadable_file_makes_upload_fail_and_names_it(
    way: Transport, guest: FakeGuest, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pack_some(root: str, *, report: PackReport) -> Iterator[bytes]:
        report.unreadable.append((b"secret.txt", "permission denied"))
        return pack(root, [b"a.txt"], report=report)

    monkeypatch.setattr(transfer, "pack", pack_some)
    with pytest.raises(TransferFailed, match=r"secret\.txt \(permission denied\)") as caught:
        transfer.upload(way, "cr_x", str(tree))
    assert "1 of 1 files arrived" in caught.value.message
    assert Path(f"{guest.root}/a.txt").read_bytes() == b"a" * 1000


def test_error_of_the_guest_in_the_middle_is_the_error_that_is_raised(fake_router: Make, tree: Path) -> None:
    """The guest stops reading, says why and closes, while we still send."""

    def talk(connection: ServerConnection, _path: str) -> None:
        connection.recv()
        connection.recv()
        error = TransferFailed("The disk of the machine is full: 12 files were written.").to_json()
        connection.send(json.dumps({"error": error}))

    with pytest.raises(TransferFailed, match="disk of the machine is full"):
        transfer.upload(Transport(fake_router(talk=talk).path), "cr_x", str(tree))


def test_guest_that_goes_away_in_the_middle_is_unreachable(fake_router: Make, tree: Path) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        connection.recv()
        connection.recv()

    with pytest.raises(Unreachable):
        transfer.upload(Transport(fake_router(talk=talk).path), "cr_x", str(tree))


@pytest.mark.parametrize(
    ("word", "count"), [("files", 3), ("files", 5), ("bytes", 1), ("links", 0), ("bytes", None), ("files", "4")]
)
def test_count_that_differs_is_a_failure(way: Transport, guest: FakeGuest, tree: Path, word: str, count: Any) -> None:
    guest.alter = lambda message: {"done": {**message["done"], word: count}}
    with pytest.raises(TransferFailed, match=f"{word} were sent"):
        transfer.upload(way, "cr_x", str(tree))


def test_entry_that_the_guest_refused_is_named_safely(way: Transport, guest: FakeGuest, tree: Path) -> None:
    guest.alter = lambda message: {"done": {**message["done"], "refused": [["a\x1b[31m", "no\nway"], "odd"]}}
    with pytest.raises(TransferFailed) as caught:
        transfer.upload(way, "cr_x", str(tree))
    assert "a\\x1b[31m (no\\nway)" in caught.value.message


def test_upload_to_a_guest_that_grants_slowly_keeps_to_the_window(
    way: Transport, guest: FakeGuest, tmp_path: Path
) -> None:
    data = os.urandom(9 * 2**20 + 1)
    (tmp_path / "big").write_bytes(data)
    transfer.upload(way, "cr_x", str(tmp_path / "big"), "big")
    assert Path(f"{guest.root}/big").read_bytes() == data


# -- download ---------------------------------------------------------------------------------------------------


def test_folder_comes_down_whole(way: Transport, guest: FakeGuest, tree: Path, tmp_path: Path) -> None:
    os.rename(tree, f"{guest.root}/dist")
    report = transfer.download(way, "cr_x", "dist", str(tmp_path / "here"))
    assert contents(tmp_path / "here") == contents(f"{guest.root}/dist")
    assert (report["path"], report["kind"], report["files"]) == (str(tmp_path / "here"), "tree", 4)


@pytest.mark.parametrize(("local", "lands"), [("new.txt", "new.txt"), ("folder", "folder/a"), ("fresh/", "fresh/a")])
def test_file_comes_down_to_a_name_or_into_a_folder(
    way: Transport, guest: FakeGuest, tmp_path: Path, local: str, lands: str
) -> None:
    Path(f"{guest.root}/a").write_bytes(b"content")
    (tmp_path / "folder").mkdir()
    report = transfer.download(way, "cr_x", "a", f"{tmp_path}/{local}")
    assert (tmp_path / lands).read_bytes() == b"content"
    assert report["path"] == f"{tmp_path}/{lands}"


def test_missing_remote_path_raises_not_found_and_writes_nothing(way: Transport, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no nothere"):
        transfer.download(way, "cr_x", "nothere", str(tmp_path / "here"))
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("name", ["", "..", "a/..", "x\0y", "Makefile", "../.bashrc"])
def test_single_file_in_a_folder_when_the_machine_names_it_then_has_the_name_that_was_asked_for(
    fake_router: Make, tmp_path: Path, name: str
) -> None:
    report = PackReport()
    (tmp_path / "source").write_bytes(b"content")
    archive = b"".join(pack_file(str(tmp_path / "source"), "source", report=report))

    def talk(connection: ServerConnection, _path: str) -> None:
        connection.recv()
        connection.send(json.dumps({"started": {"kind": "file", "name": name}}))
        connection.send(b"\x01" + archive)
        connection.send(json.dumps({"done": {"files": 1, "links": 0, "bytes": 7}}))

    (tmp_path / "here").mkdir()
    transfer.download(Transport(fake_router(talk=talk).path), "cr_x", "dist/a", str(tmp_path / "here"))
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"a"}
    assert (tmp_path / "here" / "a").read_bytes() == b"content"


def test_single_file_when_only_a_folder_can_have_that_path_then_is_refused(fake_router: Make, tmp_path: Path) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        connection.recv()
        connection.send(json.dumps({"started": {"kind": "file", "name": "Makefile"}}))

    with pytest.raises(TransferFailed, match="can only be a folder") as caught:
        transfer.download(Transport(fake_router(talk=talk).path), "cr_x", "..", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert caught.value.fix
    assert caught.value.next == "cloudrouter ssh cr_x -- ls -la ."


def test_link_that_leads_out_is_refused_and_named(way: Transport, guest: FakeGuest, tree: Path, tmp_path: Path) -> None:
    (tree / "evil").symlink_to("../../../etc")
    os.rename(tree, f"{guest.root}/dist")
    with pytest.raises(TransferFailed, match="evil") as caught:
        transfer.download(way, "cr_x", "dist", str(tmp_path / "here"))
    assert "4 files arrived" in caught.value.message
    assert not os.path.lexists(tmp_path / "here" / "evil")


def test_archive_that_is_cut_is_a_failure_that_names_what_arrived(
    fake_router: Make, tree: Path, tmp_path: Path
) -> None:
    def talk(connection: ServerConnection, _path: str) -> None:
        connection.recv()
        connection.send(json.dumps({"started": {"kind": "tree", "name": "x"}}))
        data = b"".join(pack(str(tree), report=PackReport()))
        connection.send(b"\x01" + data[:4096])
        connection.send(json.dumps({"done": {}}))

    with pytest.raises(TransferFailed, match="files"):
        transfer.download(Transport(fake_router(talk=talk).path), "cr_x", "x", str(tmp_path / "here"))


def test_error_behind_the_archive_is_not_lost(way: Transport, guest: FakeGuest, tree: Path, tmp_path: Path) -> None:
    os.rename(tree, f"{guest.root}/dist")
    guest.alter = lambda _message: {"error": TransferFailed("One file could not be read.").to_json()}
    with pytest.raises(TransferFailed, match="could not be read"):
        transfer.download(way, "cr_x", "dist", str(tmp_path / "here"))


def test_counts_of_a_download_are_compared(way: Transport, guest: FakeGuest, tree: Path, tmp_path: Path) -> None:
    os.rename(tree, f"{guest.root}/dist")
    guest.alter = lambda message: {"done": {**message["done"], "files": 9}}
    with pytest.raises(TransferFailed, match="sent 9 files and 4 arrived"):
        transfer.download(way, "cr_x", "dist", str(tmp_path / "here"))


@pytest.mark.parametrize("path", ["/etc/a;touch pwned #/x", "/$(touch pwned)/x", "/a b/x", "/`id`/x", "/a\nb/x"])
def test_next_command_when_a_path_is_hostile_then_is_one_word_of_it(path: str) -> None:
    words = shlex.split(transfer.look("cr_x", path))
    assert words[:6] == ["cloudrouter", "ssh", "cr_x", "--", "ls", "-la"]
    assert len(words) == 7
