"""Volumes as a person uses them: files that outlive machines, rights inside, machines that share, what breaks."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiodocker
import pytest

from cloudrouter.client.machines import Client
from cloudrouter.providers.docker import volumes as engine_volumes

from .conftest import User

pytestmark = pytest.mark.engine


def ssh(user: User, machine: str, command: str) -> str:
    return user.ok("ssh", machine, command).out_text.strip()


def one(user: User, name: str) -> dict[str, Any]:
    found: dict[str, Any] = user.json("volume", "inspect", name)
    return found


async def folder_of(user: User, name: str) -> Path:
    """Where the engine keeps a volume's files; skips where that is not this host."""
    async with aiodocker.Docker() as docker:
        known = engine_volumes.engine_name(user.router_id(), "local", name)
        shown = await (await docker.volumes.get(known)).show()
    folder = Path(shown["Mountpoint"])
    if not folder.is_dir():
        pytest.skip("the engine's files are out of reach")
    return folder


def test_volume_when_its_machine_is_deleted_then_the_next_one_has_the_files(resident: User) -> None:
    first = resident.start("--volume", "kept:/data")
    ssh(resident, first, "echo hello > /data/a && mkdir /data/b")
    deleted = resident.ok("delete", first)
    assert "The volume stays: kept." in deleted.err_text
    assert one(resident, "kept")["machines"] == []
    second = resident.start("--volume", "kept:~/again")
    assert ssh(resident, second, "cat ~/again/a; ls ~/again") == "hello\na\nb"
    resident.ok("delete", second)


@pytest.mark.parametrize(
    "place", ["/data", "/srv", "/mnt/deep/er", "~/.npm", "~/.cache/pip", "~/new/deep/er", "node_modules", "."]
)
def test_volume_when_fresh_then_belongs_to_the_user_and_so_does_the_way_to_it(resident: User, place: str) -> None:
    machine = resident.start("--volume", f"fresh:{place}")
    path = place if place != "." else "~/workspace"
    assert ssh(resident, machine, f"touch {path}/mine && stat -c '%U %G' {path}") == "user user"
    assert ssh(resident, machine, "find ~ -user root -not -path '*/node-gyp/*'") == ""
    assert ssh(resident, machine, f"sudo touch {path}/roots && stat -c %U {path}/roots") == "root"
    # What root left there stays root's: the volume is not fresh any more.
    ssh(resident, machine, f"sudo chown root:root {path}")
    resident.ok("stop", machine)
    resident.ok("resume", machine)
    assert ssh(resident, machine, f"stat -c %U {path}") == "root"
    resident.ok("delete", machine)
    resident.ok("volume", "rm", "fresh")


def test_volume_when_read_only_then_root_inside_cannot_write_it_while_another_machine_does(resident: User) -> None:
    writer, reader = resident.start("--volume", "both:/data"), resident.start("--volume", "both:/data:ro")
    ssh(resident, writer, "echo 1 > /data/n")
    assert ssh(resident, reader, "cat /data/n") == "1"
    tried = "echo 2 > /data/n; sudo sh -c 'mount -o remount,rw /data; umount /data; echo 3 > /data/n; rm /data/n'"
    failed = resident.run("ssh", reader, tried)
    assert failed.code != 0
    assert "Read-only file system" in failed.err_text
    assert ssh(resident, writer, "cat /data/n") == "1"
    ssh(resident, writer, "echo 4 > /data/n")
    assert ssh(resident, reader, "cat /data/n") == "4"
    resident.ok("delete", writer, reader)
    assert one(resident, "both")["machines"] == []


def test_volume_when_read_only_and_fresh_then_the_next_machine_can_write_it(resident: User) -> None:
    reader = resident.start("--volume", "empty:/data:ro")
    resident.ok("delete", reader)
    writer = resident.start("--volume", "empty:/data")
    assert ssh(resident, writer, "touch /data/x && echo done") == "done"
    resident.ok("delete", writer)


def test_start_when_the_workspace_is_a_volume_then_the_folder_is_merged_into_it(resident: User, tmp_path: Path) -> None:
    (tmp_path / "proj" / "src").mkdir(parents=True)
    (tmp_path / "proj" / "src" / "a.txt").write_text("first")
    words = (tmp_path / "proj", "--volume", "work:.")
    machine = resident.start(*words)
    ssh(resident, machine, "echo built > result && echo mine > src/own.txt")
    resident.ok("delete", machine)
    (tmp_path / "proj" / "src" / "a.txt").write_text("second")
    machine = resident.start(*words)
    assert ssh(resident, machine, "cat src/a.txt src/own.txt result") == "secondmine\nbuilt"
    resident.ok("delete", machine)


def test_volume_when_a_stopped_machine_has_it_then_is_not_removed(resident: User) -> None:
    machine = resident.start("--name", "holder", "--volume", "held:/data")
    resident.ok("stop", "holder")
    refused = resident.run("volume", "rm", "held")
    assert refused.code == 1
    assert "The volume held is used by a machine: holder." in refused.err_text
    resident.ok("delete", machine)
    resident.ok("volume", "rm", "held")
    assert resident.run("volume", "rm", "held").code == 4


def test_volume_when_listed_then_its_size_is_what_was_written(resident: User) -> None:
    machine = resident.start("--volume", "big:/data")
    ssh(resident, machine, "head -c 3000000 /dev/urandom > /data/x && sync")
    listed = {volume["name"]: volume for volume in resident.json("volume", "ls", "--size")["volumes"]}
    assert 3_000_000 <= listed["big"]["size_bytes"] < 3_200_000
    assert [use["id"] for use in listed["big"]["machines"]] == [machine]
    resident.ok("delete", machine)


def test_volume_when_two_starts_make_it_at_once_then_both_machines_share_one(resident: User) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _n: resident.start("--volume", "raced:/data"), range(2)))
    ssh(resident, both[0], "echo seen > /data/x")
    assert ssh(resident, both[1], "cat /data/x") == "seen"
    assert len(one(resident, "raced")["machines"]) == 2
    resident.ok("delete", *both)


def test_volume_when_another_routers_then_is_neither_seen_nor_shared(resident: User, user: User) -> None:
    resident.ok("volume", "create", "mine")
    assert user.json("volume", "ls")["volumes"] == []
    assert user.run("volume", "rm", "mine").code == 4
    machine = user.start("--volume", "mine:/data")
    ssh(user, machine, "echo theirs > /data/x")
    user.ok("delete", machine)
    assert one(resident, "mine")["size_bytes"] == 0


async def test_resume_when_somebody_removed_the_volume_in_the_engine_then_says_which(user: User) -> None:
    machine = user.start("--volume", "lost:/data")
    user.ok("stop", machine)
    shutil.rmtree((await folder_of(user, "lost")).parent)
    failed = user.run("resume", machine)
    assert failed.code == 4
    assert "The volume lost, mounted at /data, is gone from the engine" in failed.err_text
    assert user.json("status", machine)["state"] == "failed"
    again = user.run("start", "--volume", "lost:/data")
    assert again.code == 4
    assert [one["id"] for one in user.machines()] == [machine]
    user.ok("delete", machine)
    user.ok("volume", "rm", "lost")
    assert ssh(user, user.start("--volume", "lost:/data"), "touch /data/x && echo done") == "done"


def test_provider_when_it_has_no_volumes_then_start_is_refused(resident: User) -> None:
    before = resident.machines()
    refused = resident.run("start", "-p", "memory", "--volume", "x:/data")
    assert refused.code == 2
    assert "The provider memory has no volumes." in refused.err_text
    assert resident.machines() == before


def test_sdk_when_volumes_are_wanted_then_are_the_same(resident: User) -> None:
    resident.ok("volume", "create", "sdk")
    with Client(f"{resident.base}/run/router.sock") as client:
        with client.machines.start(volumes=["sdk:~/data"]) as machine:
            machine.run("echo from-sdk > ~/data/x", check=True)
            (found,) = [volume for volume in client.volumes.list() if volume.name == "sdk"]
            assert [use.id for use in found.machines] == [machine.id]
        client.volumes.remove("sdk")
        assert "sdk" not in [volume.name for volume in client.volumes.list()]
