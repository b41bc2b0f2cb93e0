"""The docker provider on a real engine: the contract's suite, and what containers alone promise."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiodocker
import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import LABEL_MACHINE, LABEL_ROUTER, Handle, MachineSpec, Provider
from cloudrouter.providers.docker import DockerProvider, container, dialling
from cloudrouter.providers.errors import Conflict, NotRunning, Unreachable
from cloudrouter.testing.inside import Inside, exchange
from cloudrouter.testing.provider_suite import ProviderSuite, Residue
from cloudrouter.testing.stage import Stage, listed
from cloudrouter.wire import ids

from .conftest import new_provider, show, traces

pytestmark = pytest.mark.engine


class TestDockerProvider(ProviderSuite):
    provider_name = "docker"
    cancel_seeds = 10
    keeps_router = True

    @pytest.fixture
    def image(self, core_image: str) -> str:
        return core_image

    @pytest.fixture
    def router_id(self, shared_router_id: str) -> str:
        return shared_router_id

    async def clear_router(self, provider: Provider) -> None:
        assert isinstance(provider, DockerProvider)
        await provider.remove_network()

    @pytest.fixture
    def residue(self) -> Residue:
        return traces


async def born(stage: Stage, **changes: Any) -> tuple[DockerProvider, Handle, MachineSpec, Inside]:
    """A machine whose guest answers."""
    provider, spec = stage.provider(), stage.spec(**changes)
    assert isinstance(provider, DockerProvider)
    handle = await provider.create(spec)
    inside = stage.inside(provider, handle, spec)
    assert (await inside.run("true")).code == 0
    return provider, handle, spec, inside


async def say(inside: Inside, script: str) -> str:
    """The output of a shell script inside."""
    done = await inside.run("sh", "-c", script)
    return done.stdout.decode().strip() + done.stderr.decode().strip()


# What a machine is


async def test_machine_when_born_then_limits_are_in_its_cgroup_and_nproc_tells_the_truth(stage: Stage) -> None:
    provider, handle, _spec, inside = await born(stage, cpu=1.0, memory_bytes=300 * 1024**2, pids=200)
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    assert str(300 * 1024**2) in (await say(inside, f"cat {files} 2>/dev/null")).split()
    files = "/sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max"
    assert "200" in (await say(inside, f"cat {files} 2>/dev/null")).split()
    host_cpus = (await provider.offers(base.Need()))[0].cpus
    assert await say(inside, "nproc") == "1"
    await provider.resize(handle, cpu=float(host_cpus), memory_bytes=600 * 1024**2)
    assert await say(inside, "nproc") == str(host_cpus)
    limits = (await show(handle))["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"], limits["MemorySwap"]) == (host_cpus * 10**9, 600 << 20, 600 << 20)


async def test_machine_when_it_eats_more_memory_than_it_has_then_only_the_eater_dies(stage: Stage) -> None:
    _provider, _handle, _spec, inside = await born(stage, memory_bytes=200 * 1024**2)
    done = await inside.run("python3", "-c", "x = bytearray(400 << 20)")
    assert done.code == 137
    assert await say(inside, "echo alive") == "alive"


async def test_machine_when_it_forks_without_end_then_the_pids_limit_bites(stage: Stage) -> None:
    _provider, _handle, _spec, inside = await born(stage, pids=64)
    assert await say(inside, f"timeout 20 python3 -c '{FORK}'; pkill -9 -f [F]ORKING; true") == "11"
    assert (await inside.run("true")).code == 0


FORK = """
import os, signal  # FORKING
try:
    while os.fork():
        pass
    signal.pause()
except OSError as error:
    print(error.errno)
"""


async def test_machines_when_small_then_are_spread_over_the_cpus(stage: Stage) -> None:
    provider = stage.provider()
    if (await provider.offers(base.Need()))[0].cpus < 2:
        pytest.skip("this host has one cpu")
    handles = await asyncio.gather(*(provider.create(stage.spec(cpu=1.0)) for _ in range(2)))
    sets = {(await show(handle))["HostConfig"]["CpusetCpus"] for handle in handles}
    assert len(sets) == 2


async def test_container_when_made_then_holds_no_privilege_and_no_secret(stage: Stage) -> None:
    _provider, handle, spec, inside = await born(stage)
    body = await show(handle)
    settings = body["HostConfig"]
    assert (settings["Privileged"], settings["RestartPolicy"]["Name"], settings["Init"]) == (False, "no", True)
    assert settings["Binds"] is None
    assert not {"NET_RAW", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "MKNOD"} & set(settings["CapAdd"])
    assert stage._tokens[spec.machine_id] not in json.dumps(body)
    assert stage._tokens[spec.machine_id] not in await say(
        inside, "sudo cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'"
    )
    assert (
        await say(
            inside,
            "sudo sh -c 'mknod /tmp/x b 8 0 2>&1; echo $?; ip link set lo down 2>&1; echo $?' | grep -c '^[1-9]'",
        )
        == "2"
    )


async def test_user_inside_when_it_works_then_has_what_work_needs(stage: Stage) -> None:
    _provider, _handle, _spec, inside = await born(stage)
    assert (await say(inside, "id -un; sudo id -un; ulimit -Hn")).split() == ["user", "root", str(hard_files())]
    assert int(await say(inside, "df --output=size -B1M /dev/shm | tail -1")) == 256  # half of its 512 MiB
    assert await say(inside, "sudo -n chown user /etc/hostname && sudo -u nobody id -un") == "nobody"


def hard_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)


# Half-made things


async def test_create_when_only_the_container_is_there_then_starts_it(stage: Stage) -> None:
    provider, spec = stage.provider(), stage.spec()
    handle = await provider.create(spec)
    body = await show(handle)
    await provider.delete(handle)
    async with aiodocker.Docker() as docker:
        config = {**body["Config"], "HostConfig": body["HostConfig"]}
        made = await docker.containers.create(config, name=ids.dns_label(spec.machine_id))
    (half,) = await listed(provider)
    assert (half.machine_id, half.state) == (spec.machine_id, base.PENDING)
    finished = await provider.create(spec)
    assert finished.data["container_id"] == made.id
    assert (await provider.inspect(finished)).state == base.RUNNING


async def test_create_when_a_foreign_container_has_the_name_then_is_a_conflict_and_it_stays(
    stage: Stage, core_image: str
) -> None:
    provider, spec = stage.provider(), stage.spec()
    async with aiodocker.Docker() as docker:
        config = {"Image": core_image, "Cmd": ["true"], "Labels": {LABEL_MACHINE: spec.machine_id}}
        foreign = await docker.containers.create(config, name=ids.dns_label(spec.machine_id))
        try:
            with pytest.raises(Conflict, match="not this router's"):
                await provider.create(spec)
            assert (await foreign.show())["State"]["Status"] == "created"
            assert await listed(provider) == []
        finally:
            await foreign.delete(force=True)


async def test_start_when_the_network_was_pruned_then_makes_it_again(stage: Stage) -> None:
    provider, handle, _spec, inside = await born(stage)
    await provider.stop(handle, grace_s=1)
    async with aiodocker.Docker() as docker:
        await (await docker.networks.get((await show(handle))["HostConfig"]["NetworkMode"])).delete()
    await provider.start(handle)
    assert await say(inside, "echo back") == "back"


async def test_list_when_other_containers_carry_our_label_then_shows_machines_alone(
    stage: Stage, core_image: str
) -> None:
    provider = stage.provider()
    async with aiodocker.Docker() as docker:
        labels = {LABEL_ROUTER: stage.router_id, LABEL_MACHINE: "../x"}
        forged = await docker.containers.create({"Image": core_image, "Cmd": ["true"], "Labels": labels})
        try:
            assert await listed(provider) == []
        finally:
            await forged.delete(force=True)


async def test_inspect_when_the_first_process_ends_badly_then_says_how(stage: Stage) -> None:
    provider, handle, _spec, inside = await born(stage)
    crash = "sleep 0.1; pkill -SEGV -fx '/bin/sh /opt/cloudrouter/supervise'"
    await inside.run("sudo", "setsid", "sh", "-c", f"({crash}) >/dev/null 2>&1 &")
    async with aiodocker.Docker() as docker:
        async with asyncio.timeout(20):
            await docker.containers.container(handle.data["container_id"]).wait()
    seen = await provider.inspect(handle)
    assert seen.state == base.STOPPED
    assert "139" in seen.reason
    assert [(one.state, one.reason) for one in await listed(provider)] == [(base.STOPPED, seen.reason)]


async def test_many_creates_when_at_once_then_all_are_made(stage: Stage) -> None:
    provider = stage.provider()
    specs = [stage.spec(cpu=0.1) for _ in range(8)]
    await asyncio.gather(*(provider.create(spec) for spec in specs))
    assert {seen.machine_id for seen in await listed(provider)} == {spec.machine_id for spec in specs}


# Dialling


@pytest.fixture
async def by_exec(stage: Stage) -> AsyncIterator[DockerProvider]:
    """A provider that cannot use addresses."""
    provider = new_provider(stage.router_id, dial="exec")
    yield provider
    await provider.aclose()


async def test_dial_when_addresses_work_then_the_socket_is_the_machines_own(stage: Stage) -> None:
    provider, handle, spec, _inside = await born(stage)
    with await provider.dial(handle, port=spec.boot.port) as sock:
        assert sock.family == socket.AF_INET
        assert sock.getpeername()[1] == spec.boot.port


async def test_dial_when_by_exec_then_guest_answers_and_bytes_and_half_close_arrive(
    stage: Stage, by_exec: DockerProvider
) -> None:
    _provider, handle, spec, inside = await born(stage)
    bridged = stage.inside(by_exec, handle, spec)
    assert await say(bridged, "echo over exec") == "over exec"
    data = random.Random(2).randbytes(3 << 20)
    async with inside.serving_echo() as port:
        with await by_exec.dial(handle, port=port) as sock:
            assert sock.family == socket.AF_UNIX
            async with asyncio.timeout(30):
                assert await exchange(sock, data) == data


async def test_dial_when_by_exec_and_hung_up_then_nothing_of_it_stays_inside(
    stage: Stage, by_exec: DockerProvider
) -> None:
    _provider, handle, _spec, inside = await born(stage)
    async with inside.serving_echo() as port:
        for _ in range(3):
            (await by_exec.dial(handle, port=port)).close()
        async with asyncio.timeout(20):
            while (count := await say(inside, "pgrep -fc 'Runs inside a [m]achine' || true")) != "0":
                assert count.isdigit()
                await asyncio.sleep(0.05)


async def test_dial_when_by_exec_and_nothing_listens_or_stopped_then_says_which(
    stage: Stage, by_exec: DockerProvider
) -> None:
    provider, handle, spec, _inside = await born(stage)
    with pytest.raises(Unreachable, match="port 9 "):
        await by_exec.dial(handle, port=9)
    await provider.stop(handle, grace_s=0)
    with pytest.raises(NotRunning):
        await by_exec.dial(handle, port=spec.boot.port)


async def test_dial_when_the_address_is_silent_then_exec_is_tried_and_remembered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, handle, spec, _inside = await born(stage)
    fresh = new_provider(stage.router_id)
    # An address that nobody has, as those of an engine in a virtual machine look from here.
    gateway = next(iter((await show(handle))["NetworkSettings"]["Networks"].values()))["Gateway"]
    silent = gateway.rsplit(".", 1)[0] + ".250"
    monkeypatch.setattr(container, "address_of", lambda _body, _network: silent)
    monkeypatch.setattr(dialling, "ADDRESS_DEADLINE_S", 0.2)
    try:
        (await fresh.dial(handle, port=spec.boot.port)).close()
        assert fresh._dialler.mode == "exec"
        (await fresh.dial(handle, port=spec.boot.port)).close()
    finally:
        await fresh.aclose()
    assert (await provider.inspect(handle)).state == base.RUNNING


# Engines that are not there


async def test_calls_when_no_engine_listens_then_are_unreachable_with_a_remedy(tmp_path: Path) -> None:
    provider = new_provider("r", host=f"unix://{tmp_path}/none.sock")
    try:
        with pytest.raises(Unreachable) as caught:
            await provider.check()
        assert caught.value.next == "cloudrouter doctor"
    finally:
        await provider.aclose()
