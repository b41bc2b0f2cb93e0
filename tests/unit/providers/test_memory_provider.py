"""The memory provider under the contract's suite, and what is its own: process trees, files, folders."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Handle, MachineSpec
from cloudrouter.providers.errors import InvalidSpec, NotConfigured
from cloudrouter.providers.memory import MemoryProvider, processes
from cloudrouter.providers.memory.folders import MachineFolder
from cloudrouter.providers.memory.processes import Process
from cloudrouter.testing.inside import Inside
from cloudrouter.testing.provider_suite import ProviderSuite, Residue
from cloudrouter.testing.stage import listed
from cloudrouter.wire import ids
from cloudrouter.wire.boot import GuestBoot


class TestMemoryProvider(ProviderSuite):
    provider_name = "memory"

    @pytest.fixture
    def config(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"root": str(tmp_path / "machines")}

    @pytest.fixture
    def residue(self, tmp_path: Path) -> Residue:
        async def look(_router_id: str) -> list[str]:
            root = tmp_path / "machines"
            return [*os.listdir(root), *processes_below(str(root))]

        return look


def processes_below(root: str) -> list[str]:
    """Processes whose environment names a folder below the root."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if root.encode() in Path(f"/proc/{name}/environ").read_bytes():
                found.append(f"process {name}")
        except OSError:
            continue
    return found


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[MemoryProvider]:
    made = new_provider(tmp_path)
    yield made
    for seen in await listed(made):
        await made.delete(seen.handle)
    assert processes_below(str(tmp_path)) == []


def new_provider(folder: Path) -> MemoryProvider:
    return MemoryProvider(router_id="r", clock=time.time, config={"root": str(folder / "machines")})


async def born(provider: MemoryProvider) -> tuple[Handle, Inside]:
    token, machine_id = "token", ids.new_machine_id()
    boot = GuestBoot(machine_id, hashlib.sha256(token.encode()).hexdigest())
    handle = await provider.create(MachineSpec(machine_id, "o", "r", "core", 1.0, 1 << 28, boot))
    inside = Inside(provider, handle, token=token, port=boot.port, patience_s=20)
    assert (await inside.run("true")).code == 0
    return handle, inside


async def test_guest_when_killed_then_is_started_again(provider: MemoryProvider) -> None:
    handle, inside = await born(provider)
    done = await inside.run("sh", "-c", "ps -o ppid= -p $PPID")  # the guest's parent, by way of the shell's
    supervisor = MachineFolder(provider._root, handle.data["machine_id"]).running()
    assert supervisor is not None
    assert int(done.stdout) == supervisor["pid"]
    kill = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    stream = asyncio.create_task(inside.run("python3", "-c", kill))
    await asyncio.wait({stream})
    assert stream.exception() is not None
    assert (await inside.run("true")).code == 0
    assert (await provider.inspect(handle)).state == base.RUNNING
    assert b"is started again" in await provider.read_console(handle)


async def test_machine_when_its_supervisor_was_killed_then_is_stopped_and_delete_still_ends_its_commands(
    provider: MemoryProvider, tmp_path: Path
) -> None:
    handle, inside = await born(provider)
    await inside.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &")
    running = MachineFolder(provider._root, handle.data["machine_id"]).running()
    assert running is not None
    os.kill(running["pid"], signal.SIGKILL)
    supervisor = Process(running["pid"], running["start_ticks"])
    assert await processes.wait_gone(supervisor, timeout_s=10)
    assert (await provider.inspect(handle)).state == base.STOPPED
    assert processes_below(str(tmp_path)) != []
    await provider.delete(handle)
    assert processes_below(str(tmp_path)) == []


async def test_command_when_it_hides_its_origin_then_is_still_ended(provider: MemoryProvider, tmp_path: Path) -> None:
    handle, inside = await born(provider)
    # Away from its parents, its session and its environment: what is left is whose child it becomes.
    hide = "(setsid env -i sleep 987654 >/dev/null 2>&1 &)"
    await inside.run("sh", "-c", hide)
    await provider.stop(handle, grace_s=0)
    done = subprocess.run(["pgrep", "-f", "sleep 987654"], capture_output=True, check=False)
    assert done.stdout == b""


def test_process_when_its_number_was_given_to_another_then_is_not_signalled() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        status = processes.read_status(child.pid)
        assert status is not None
        stranger = Process(child.pid, status.process.start_ticks + 1)
        assert processes.look(stranger) is None
        assert processes.send(stranger, signal.SIGKILL) is False
        assert child.poll() is None
        assert processes.send(status.process, signal.SIGKILL) is True


async def test_list_when_the_root_holds_other_things_then_shows_machines_alone(
    provider: MemoryProvider, tmp_path: Path
) -> None:
    handle, _inside = await born(provider)
    root = tmp_path / "machines"
    (root / "cr_22222222").write_text("a file")
    (root / "cr_33333333").mkdir()
    (root / "notes").mkdir()
    assert [seen.handle for seen in await listed(provider)] == [handle]


@pytest.mark.parametrize("machine_id", ["../x", "cr_2222222", "cr_22222222/..", 7, None])
async def test_handle_when_it_is_not_ours_then_no_path_is_touched(provider: MemoryProvider, machine_id: object) -> None:
    with pytest.raises(InvalidSpec):
        await provider.delete(Handle("memory", {"machine_id": machine_id}))


@pytest.mark.parametrize("config", [{"root": "relative"}, {"root": 7}, {"nope": 1}], ids=str)
def test_config_when_wrong_then_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(NotConfigured):
        MemoryProvider(router_id="r", clock=time.time, config=config)


async def test_create_when_the_root_cannot_be_made_then_says_so(tmp_path: Path) -> None:
    (tmp_path / "machines").write_text("in the way")
    with pytest.raises(NotConfigured, match="machines"):
        await new_provider(tmp_path).check()


async def test_create_when_cut_before_the_start_then_is_pending_and_finished_later(
    provider: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_id = ids.new_machine_id()
    spec = MachineSpec(machine_id, "o", "r", "core", 1.0, 1 << 28, GuestBoot(machine_id, "0" * 64))

    def die(_self: object, _folder: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MemoryProvider, "_start", die)
        with pytest.raises(KeyboardInterrupt):
            await provider.create(spec)
    assert [seen.state for seen in await listed(provider)] == [base.PENDING]
    await provider.create(spec)
    assert [seen.state for seen in await listed(provider)] == [base.RUNNING]


async def test_changes_when_somebody_else_has_the_machine_then_wait(provider: MemoryProvider, tmp_path: Path) -> None:
    handle, _inside = await born(provider)
    other = new_provider(tmp_path)
    folder = MachineFolder(provider._root, handle.data["machine_id"])
    async with folder.locked():
        waiting = asyncio.create_task(other.delete(handle))
        done, _pending = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        assert (await provider.inspect(handle)).state == base.RUNNING
    await waiting
    assert (await provider.inspect(handle)).state == base.GONE
    assert os.listdir(provider._root) == []
