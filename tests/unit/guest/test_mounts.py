"""Fresh mounts become the user's; nothing else does, and no link is followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloudrouter.guest import mounts
from cloudrouter.guest.environment import Account
from cloudrouter.wire.errors import UsageError

USER = Account("user", "/bin/sh", 1000, 1000, (), switch=True)


class World:
    """Folders below a temp folder, of which some are mounts and all are root's; who was given what."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.mounts: set[str] = set()
        self.others: set[str] = set()
        self.given: list[str] = []
        self.fault: OSError | None = None
        patch.setattr(mounts, "_mount_of", self._mount_of)
        patch.setattr(mounts, "_is_roots", lambda fd: _path(fd) not in self.others)
        patch.setattr(os, "fchown", self._fchown)

    def _mount_of(self, fd: int) -> tuple[int, str]:
        """The longest mount that the folder is in."""
        path = _path(fd)
        inside = [one for one in self.mounts if f"{path}/".startswith(f"{one}/")]
        return 0, max(inside, key=len, default="")

    def _fchown(self, fd: int, uid: int, gid: int) -> None:
        if self.fault is not None:
            raise self.fault
        assert (uid, gid) == (1000, 1000)
        self.given.append(os.path.relpath(_path(fd), self.root))

    def mount(self, path: str) -> str:
        """A fresh mount."""
        place = self.root / path
        place.mkdir(parents=True)
        self.mounts.add(str(place))
        return str(place)

    def give(self, *paths: str) -> list[str]:
        """What becomes the user's."""
        mounts.give(paths, USER, f"{self.root}/home/user")
        return self.given


def _path(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path.resolve(), monkeypatch)


def test_mount_when_fresh_then_is_given_and_so_are_the_folders_in_the_home_before_it(world: World) -> None:
    data, deep = world.mount("data"), world.mount("home/user/x/y/z")
    assert world.give(data, deep) == ["data", "home/user/x", "home/user/x/y", "home/user/x/y/z"]


def test_mount_when_it_holds_something_or_is_somebodys_then_is_left(world: World) -> None:
    full, others = world.mount("full"), world.mount("others")
    Path(full, "file").touch()
    world.others.add(others)
    assert world.give(full, others) == []


def test_folder_when_it_is_no_mount_then_is_left(world: World) -> None:
    (world.root / "etc").mkdir()
    assert world.give(str(world.root / "etc")) == []


def test_folder_in_the_home_when_it_is_the_users_then_is_left(world: World) -> None:
    place = world.mount("home/user/mine/cache")
    world.others.add(str(world.root / "home/user/mine"))
    assert world.give(place) == ["home/user/mine/cache"]


@pytest.mark.parametrize("link", ["last", "middle"])
def test_mount_when_a_link_leads_to_it_then_nothing_is_given(world: World, link: str) -> None:
    place = world.mount("real/data")
    if link == "last":
        os.symlink(place, world.root / "data")
        assert world.give(str(world.root / "data")) == []
    else:
        os.symlink(world.root / "real", world.root / "way")
        assert world.give(str(world.root / "way/data")) == []


def test_mount_when_it_is_missing_or_a_file_then_the_others_are_given(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    (world.root / "file").touch()
    data = world.mount("data")
    assert world.give(f"{world.root}/none", f"{world.root}/file", data) == ["data"]
    assert capfd.readouterr().err.count("cannot be given to user") == 2


def test_mount_when_the_disk_is_read_only_then_nothing_is_said(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.fault = OSError(30, "Read-only file system")
    assert world.give(world.mount("data")) == []
    assert capfd.readouterr().err == ""


def test_nothing_when_the_guest_is_its_own_user_then_is_changed(world: World) -> None:
    data = world.mount("data")
    mounts.give([data], Account("me", "/bin/sh", 1000, 1000, (), switch=False), "/home/me")
    assert world.given == []


def test_descriptors_when_done_then_are_all_closed(world: World) -> None:
    before = os.listdir("/proc/self/fd")
    world.give(world.mount("a/b/c"), f"{world.root}/none/x")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("value", ["/x", [1], ["x"], [""], ["/x/../y"], ["/x\0y"], {"a": 1}], ids=repr)
def test_paths_when_they_are_none_then_are_refused(value: object) -> None:
    with pytest.raises(UsageError):
        mounts.check_paths(value)


def test_mount_of_when_asked_for_real_then_tells_proc_from_the_root() -> None:
    root, below, proc = (os.open(path, os.O_RDONLY) for path in ("/", "/etc", "/proc"))
    try:
        assert mounts._mount_of(root) != mounts._mount_of(proc)
        assert mounts._mount_of(root)[1].isdigit()
        assert below
    finally:
        for fd in (root, below, proc):
            os.close(fd)
