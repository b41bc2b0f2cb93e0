"""Sidecars on a real engine: whose network, rights and limits they have, what is left when somebody interferes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import aiodocker
import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import LABEL_SIDECAR, Handle, MachineSpec
from cloudrouter.providers.docker import DockerProvider, container, sidecarspec, volumes
from cloudrouter.providers.errors import InvalidSpec
from cloudrouter.testing.inside import Inside
from cloudrouter.testing.stage import Stage, listed
from cloudrouter.wire.machines import Mount
from cloudrouter.wire.sidecars import Sidecar

from .conftest import show, traces
from .sidecars import base_image, built

pytestmark = pytest.mark.engine

MIB = 1024**2
HOG = "import time\nheld = []\nwhile True:\n    held.append(b'x' * (8 << 20)); print(len(held), flush=True)"
PING = (
    "import socket; s = socket.create_connection(('127.0.0.1', 6379), 5); s.sendall(b'PING\\r\\n'); print(s.recv(99))"
)


def plain(stage: Stage, name: str = "side", script: str = "sleep 1000", **changes: Any) -> Sidecar:
    """A sidecar of the machine's own image that runs a shell's script."""
    return Sidecar(name, stage.spec().image, command=["sh", "-c", script], **changes)


async def born(stage: Stage, *sidecars: Sidecar, **changes: Any) -> tuple[DockerProvider, Handle, MachineSpec, Inside]:
    """A machine with sidecars whose guest answers."""
    provider, spec = stage.provider(), stage.spec(sidecars=sidecars, **changes)
    assert isinstance(provider, DockerProvider)
    handle = await provider.create(spec)
    inside = stage.inside(provider, handle, spec)
    assert (await inside.run("true")).code == 0
    return provider, handle, spec, inside


async def shown(spec: MachineSpec, name: str = "side") -> Mapping[str, Any]:
    """What the engine says of a sidecar's container."""
    async with aiodocker.Docker() as docker:
        found = await docker.containers.get(sidecarspec.engine_name(spec.machine_id, name))
        return await found.show()


async def log_of(provider: DockerProvider, handle: Handle, until: bytes, name: str = "side") -> bytes:
    """The sidecar's log, once that stands in it."""
    async with asyncio.timeout(20):
        while until not in (said := await provider.read_sidecar_log(handle, name=name)):
            await asyncio.sleep(0.05)
    return said


async def say(inside: Inside, script: str) -> str:
    """The output of a shell script in the machine."""
    done = await inside.run("sh", "-c", script)
    return done.stdout.decode().strip() + done.stderr.decode().strip()


def group_file(body: Mapping[str, Any], controller: str, file: str) -> str:
    """A file of a container's control group of version 1, as this host sees it."""
    with open(f"/proc/{body['State']['Pid']}/cgroup", encoding="ascii") as groups:
        (path,) = [line.split(":", 2)[2].strip() for line in groups if controller in line.split(":")[1].split(",")]
    with open(f"/sys/fs/cgroup/{controller}{path}/{file}", encoding="ascii") as found:
        return found.read().strip()


# What a sidecar is


async def test_redis_when_beside_a_machine_then_answers_on_its_localhost_alone(stage: Stage) -> None:
    redis = await asyncio.to_thread(built, "redis")
    _provider, _handle, spec, inside = await born(stage, Sidecar("cache", redis, port=6379))
    pinged = await say(inside, f'for i in $(seq 100); do python3 -c "{PING}" 2>/dev/null && break; sleep 0.1; done')
    assert pinged == "b'+PONG\\r\\n'"
    body = await shown(spec, "cache")
    assert body["NetworkSettings"]["Ports"] in (None, {})
    assert body["HostConfig"]["PublishAllPorts"] is False
    assert body["Config"]["User"] == "redis"


async def test_sidecar_when_looked_into_then_shares_the_network_and_nothing_else(stage: Stage) -> None:
    script = "grep Cap /proc/self/status; env; ls /run/cloudrouter-packages /home; ps ax; sleep 1000"
    secret = {"PASSWORD": "hunter22"}
    provider, handle, spec, inside = await born(stage, plain(stage, script=script, env=secret))
    said = (await log_of(provider, handle, b"sleep 1000")).decode()
    machine, side = await show(handle), await shown(spec)
    mine = {kind: await say(inside, f"readlink /proc/self/ns/{kind}") for kind in ("net", "pid", "mnt", "ipc")}
    body = {"Cmd": ["sh", "-c", "cd /proc/self/ns; readlink net pid mnt ipc"], "AttachStdout": True}
    assert side["HostConfig"]["NetworkMode"] == f"container:{machine['Id']}"
    theirs = (await ran_in(spec, body)).split()
    assert theirs[0] == mine["net"]
    assert not {mine["pid"], mine["mnt"], mine["ipc"]} & set(theirs[1:])
    for key in ("CapAdd", "CapDrop", "SecurityOpt", "Privileged"):
        assert side["HostConfig"][key] == machine["HostConfig"][key], key
    assert "CLOUDROUTER_TOKEN_SHA256" not in said
    assert "CLOUDROUTER_MACHINE_ID" not in said
    assert "supervise" not in said
    assert side["HostConfig"]["LogConfig"] == container.LOG_CONFIG
    assert "hunter22" not in json.dumps(machine)


async def ran_in(spec: MachineSpec, body: dict[str, Any], name: str = "side") -> str:
    """What a command in a sidecar prints."""
    async with aiodocker.Docker() as docker:
        found = docker.containers.container(sidecarspec.engine_name(spec.machine_id, name))
        execution = await found.exec(body["Cmd"])
        output = b""
        async with execution.start() as stream:
            while (message := await stream.read_out()) is not None:
                output += message.data
    return output.decode()


async def test_image_when_fetched_then_our_guest_is_not_put_into_it(stage: Stage) -> None:
    root = await base_image()
    provider = stage.provider()
    assert isinstance(provider, DockerProvider)
    await provider.fetch_sidecar_image(root, progress=lambda _step: None)
    one = Sidecar("side", root, command=["sh", "-c", "ls -d /opt/cloudrouter; cat /etc/debian_version; sleep 1000"])
    provider, handle, spec, _inside = await born(stage, one)
    assert b"No such file" in await log_of(provider, handle, b"No such file")
    async with aiodocker.Docker() as docker:
        assert (await shown(spec))["Image"] == (await docker.images.inspect(root))["Id"]


async def test_image_when_it_carries_our_labels_then_is_refused(stage: Stage) -> None:
    name = "cloudrouter-test/labelled:1"
    async with aiodocker.Docker() as docker:
        made = await docker.containers.create({"Image": await base_image(), "Cmd": ["true"]})
        try:
            await made.commit(repository="cloudrouter-test/labelled", tag="1", changes=f"LABEL {LABEL_SIDECAR}=x")
            provider = stage.provider()
            assert isinstance(provider, DockerProvider)
            with pytest.raises(InvalidSpec, match="carries the label"):
                await provider.fetch_sidecar_image(name, progress=lambda _step: None)
        finally:
            await made.delete(force=True)
            await docker.images.delete(name)


# Workspace


async def test_workspace_when_volumes_stand_in_it_then_the_sidecar_sees_them_too(stage: Stage) -> None:
    look = "cat /workspace/deep/mark; touch /workspace/deep/x; touch /workspace/y && echo wrote; sleep 1000"
    mount = Mount("kept", "/home/user/workspace/deep", read_only=False)
    other = dataclasses.replace(plain(stage, "late", "true"), workspace="")
    one = plain(stage, script=f"until test -e /workspace/deep/mark; do sleep 0.05; done; {look}", workspace="rw")
    provider, handle, spec, inside = await born(stage, one, other, mounts=(mount,))
    assert await say(inside, "sudo sh -c 'echo seen > ~user/workspace/deep/mark'") == ""
    assert await log_of(provider, handle, b"wrote") == b"seen\nwrote\n"
    assert await say(inside, "ls ~/workspace ~/workspace/deep; stat -c %U ~/workspace") == (
        "/home/user/workspace:\ndeep\ny\n\n/home/user/workspace/deep:\nmark\nx\nuser"
    )
    await provider.delete(handle)
    assert [one.name for one in await provider.list_volumes()] == ["kept"]
    assert volumes.workspace_name(spec.router_id, spec.machine_id) not in await traces(spec.router_id)


async def test_workspace_when_it_is_a_persons_volume_then_the_sidecar_has_that_one(stage: Stage) -> None:
    one = plain(stage, script="cat /workspace/mark; touch /workspace/x; sleep 1000", workspace="ro")
    work = Mount("work", "/home/user/workspace")
    provider, handle, spec, inside = await born(stage, one, mounts=(work,))
    await say(inside, "sudo sh -c 'echo seen > ~user/workspace/mark'")
    await provider.stop_sidecar(handle, name="side", grace_s=0)
    await provider.start_sidecar(handle, name="side")
    said = await log_of(provider, handle, b"seen")
    assert said.count(b"Read-only file system") >= 1
    assert volumes.workspace_name(spec.router_id, spec.machine_id) not in await traces(spec.router_id)


async def test_disk_when_measured_then_workspace_and_sidecars_count(stage: Stage) -> None:
    write = "head -c 30000000 /dev/zero > /workspace/w; head -c 20000000 /dev/zero > /own; sync; echo done; sleep 1000"
    provider, handle, _spec, _inside = await born(stage, plain(stage, script=write, workspace="rw"))
    await log_of(provider, handle, b"done")
    async with asyncio.timeout(30):
        while (seen := await provider.measure(handle)).disk_bytes is None:
            await asyncio.sleep(0.1)
    assert 50_000_000 <= seen.disk_bytes < 60_000_000


# Limits


async def test_limits_when_nested_then_a_hog_takes_neither_its_neighbours_nor_the_hosts_memory(stage: Stage) -> None:
    bounded = Sidecar("side", stage.spec().image, command=["python3", "-c", HOG], memory_bytes=64 * MIB)
    provider, handle, spec, inside = await born(stage, bounded, memory_bytes=400 * MIB)
    await until_ended(provider, handle)
    (seen,) = await provider.list_sidecars(handle)
    if seen.limits != base.NESTED:
        pytest.skip("control groups cannot be nested here")
    assert seen.exit_code == 137
    assert await say(inside, "echo alive") == "alive"
    assert int(group_file(await show(handle), "memory", "memory.max_usage_in_bytes")) < 200 * MIB

    greedy = Sidecar("side", stage.spec().image, command=["python3", "-c", HOG])
    _provider, handle, spec, inside = await born(stage, greedy, memory_bytes=400 * MIB)
    await until_ended(provider, handle)
    machine = await show(handle)
    assert 300 * MIB < int(group_file(machine, "memory", "memory.max_usage_in_bytes")) <= 400 * MIB
    assert await say(inside, "echo alive") == "alive"
    assert (await provider.inspect(handle)).state == base.RUNNING
    assert spec.memory_bytes == 400 * MIB


async def test_limits_when_the_machines_root_makes_namespaces_then_cannot_be_raised(stage: Stage) -> None:
    _provider, _handle, _spec, inside = await born(stage, plain(stage), memory_bytes=400 * MIB)
    group = "/tmp/groups"
    raise_it = (
        f"mkdir -p {group}; mount -t cgroup -o memory none {group} || mount -t cgroup2 none {group}; cd {group}; "
        "for one in memory.memsw.limit_in_bytes memory.limit_in_bytes memory.max; do echo 900000000 > $one; done"
    )
    for flags in ("-Urm", "-UrmC", "-m", "-mC"):
        await inside.run("sudo", "-n", "unshare", flags, "sh", "-c", raise_it)
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    assert await say(inside, f"cat {files} 2>/dev/null") == str(400 * MIB)


async def until_ended(provider: DockerProvider, handle: Handle) -> None:
    """The machine's only sidecar has ended."""
    async with asyncio.timeout(60):
        while (await provider.list_sidecars(handle))[0].state != base.STOPPED:
            await asyncio.sleep(0.1)


async def test_cpu_when_nested_then_machine_and_sidecars_together_get_what_the_machine_has(stage: Stage) -> None:
    burn = "while :; do :; done"
    two = (plain(stage, "one", burn), plain(stage, "two", burn, cpu=0.1))
    provider, handle, spec, inside = await born(stage, *two, cpu=0.5)
    if (await provider.list_sidecars(handle))[0].limits != base.NESTED:
        pytest.skip("control groups cannot be nested here")
    burning = asyncio.create_task(inside.run("timeout", "4", "sh", "-c", burn))
    await asyncio.sleep(0.5)
    loop = asyncio.get_running_loop()
    began, before = loop.time(), (await provider.measure(handle)).cpu_seconds
    small = int(group_file(await shown(spec, "two"), "cpuacct", "cpuacct.usage"))
    await burning
    used = ((await provider.measure(handle)).cpu_seconds or 0) - (before or 0)
    passed = loop.time() - began
    assert used / passed < 0.65, "all of them together"
    small = int(group_file(await shown(spec, "two"), "cpuacct", "cpuacct.usage")) - small
    assert small / 1e9 / passed < 0.2, "the one with a limit of its own"


async def test_limits_when_they_cannot_be_nested_then_are_taken_off_the_machines_own(stage: Stage) -> None:
    provider = stage.provider()
    assert isinstance(provider, DockerProvider)
    provider._facts = dataclasses.replace(await provider._host(), can_nest=False)
    wanted = (plain(stage, "one", memory_bytes=100 * MIB, cpu=0.25), plain(stage, "two"))
    spec = stage.spec(sidecars=wanted, cpu=1.0, memory_bytes=600 * MIB)
    handle = await provider.create(spec)
    bodies = [await show(handle), await shown(spec, "one"), await shown(spec, "two")]
    assert [body["HostConfig"]["Memory"] // MIB for body in bodies] == [350, 100, 150]
    assert [body["HostConfig"]["NanoCpus"] / 1e9 for body in bodies] == [0.5, 0.25, 0.25]
    assert {one.limits for one in await provider.list_sidecars(handle)} == {base.SHARED_OUT}
    assert int(group_file(bodies[0], "memory", "memory.limit_in_bytes")) == 350 * MIB
    assert await provider.create(spec) == handle
    inside = stage.inside(provider, handle, spec)
    assert (await inside.run("true")).code == 0
    alone = await provider._meter.measure(spec.machine_id, handle.data["container_id"])
    assert ((await provider.measure(handle)).processes or 0) >= (alone.processes or 0) + 2
    await provider.pause(handle)
    assert {one.state for one in await provider.list_sidecars(handle)} == {base.PAUSED}
    await provider.resume(handle)
    assert {one.state for one in await provider.list_sidecars(handle)} == {base.RUNNING}
    await provider.resize(handle, cpu=1.0, memory_bytes=800 * MIB)
    assert (await show(handle))["HostConfig"]["Memory"] == 550 * MIB
    with pytest.raises(InvalidSpec):
        await provider.resize(handle, cpu=1.0, memory_bytes=260 * MIB)
    greedy = stage.spec(sidecars=(plain(stage, memory_bytes=580 * MIB),), memory_bytes=600 * MIB)
    with pytest.raises(InvalidSpec, match="too little"):
        await provider.create(greedy)
    assert [seen.machine_id for seen in await listed(provider)] == [spec.machine_id]


async def test_resize_when_sidecars_are_nested_then_they_stay_inside(stage: Stage) -> None:
    provider, handle, spec, inside = await born(stage, plain(stage, cpu=0.5), cpu=1.0, memory_bytes=512 * MIB)
    if (await provider.list_sidecars(handle))[0].limits != base.NESTED:
        pytest.skip("control groups cannot be nested here")
    most = float((await provider.offers(base.Need()))[0].cpus)
    for cpu in (most, 1.0):
        await provider.resize(handle, cpu=cpu, memory_bytes=600 * MIB)
        assert await say(inside, "nproc") == f"{cpu:g}"
        cpus = {group_file(body, "cpuset", "cpuset.cpus") for body in (await show(handle), await shown(spec))}
        assert len(cpus) == 1
    with pytest.raises(InvalidSpec, match="more cpu"):
        await provider.resize(handle, cpu=0.25, memory_bytes=600 * MIB)


# Life


async def test_frozen_machine_when_deleted_then_its_sidecars_go_at_once(stage: Stage) -> None:
    provider, handle, spec, _inside = await born(stage, plain(stage, workspace="ro"))
    await provider.pause(handle)
    async with asyncio.timeout(8):
        await provider.delete(handle)
    assert not [name for name in await traces(spec.router_id) if "-" in name.removeprefix("cloudrouter-")]


async def test_machine_when_it_ended_by_itself_then_starts_with_its_sidecars_on_the_new_network(stage: Stage) -> None:
    serve = "python3 -m http.server --bind 127.0.0.1 7998"
    provider, handle, spec, inside = await born(stage, plain(stage, script=serve))
    async with aiodocker.Docker() as docker:
        await docker.containers.container(handle.data["container_id"]).kill()
    assert (await provider.list_sidecars(handle))[0].state == base.RUNNING
    await provider.stop(handle)
    assert (await provider.list_sidecars(handle))[0].state == base.STOPPED
    await provider.start(handle)
    ask = "curl -s --retry 50 --retry-connrefused --retry-delay 0 --retry-max-time 10 -o /dev/null -w %{http_code}"
    assert await say(inside, f"{ask} http://127.0.0.1:7998/") == "200"
    assert (
        await ran_in(spec, {"Cmd": ["readlink", "/proc/self/ns/net"]})
        == await say(inside, "readlink /proc/self/ns/net") + "\n"
    )


async def test_machine_when_removed_by_hand_then_what_is_left_is_listed_and_can_be_deleted(stage: Stage) -> None:
    provider, handle, spec, _inside = await born(stage, plain(stage, workspace="rw"))
    async with aiodocker.Docker() as docker:
        await docker.containers.container(handle.data["container_id"]).delete(force=True)
        (stray,) = await listed(provider)
        assert (stray.machine_id, stray.state, stray.handle) == (spec.machine_id, base.GONE, handle)
        side = docker.containers.container(sidecarspec.engine_name(spec.machine_id, "side"))
        await side.delete(force=True)
    (stray,) = await listed(provider)
    assert (stray.machine_id, stray.owner) == (spec.machine_id, "suite")
    assert (await provider.inspect(stray.handle)).state == base.GONE
    await provider.delete(stray.handle)
    assert await listed(provider) == []
    assert volumes.workspace_name(spec.router_id, spec.machine_id) not in await traces(spec.router_id)


async def test_postgres_when_its_machine_stops_and_starts_then_keeps_its_data(stage: Stage) -> None:
    postgres = await asyncio.to_thread(built, "postgres")
    one = Sidecar("db", postgres, port=5432, env={"POSTGRES_PASSWORD": "hunter22"})
    provider, handle, spec, _inside = await born(stage, one)
    await until_healthy(provider, handle)
    psql = ["env", "PGPASSWORD=hunter22", "psql", "-h", "127.0.0.1", "-U", "postgres", "-qtAc"]
    assert await ran_in(spec, {"Cmd": [*psql, "create table t (x int); insert into t values (42)"]}, "db") == ""
    await provider.stop(handle)
    (seen,) = await provider.list_sidecars(handle)
    assert (seen.state, seen.exit_code) == (base.STOPPED, 0), "a fast shutdown of its own"
    await provider.start(handle)
    await until_healthy(provider, handle)
    assert (await ran_in(spec, {"Cmd": [*psql, "select x from t"]}, "db")).strip() == "42"
    own = [mount["Name"] for mount in (await shown(spec, "db"))["Mounts"] if mount["Type"] == "volume"]
    assert len(own) == 1
    await provider.delete(handle)
    async with aiodocker.Docker() as docker:
        left = {one["Name"] for one in (await docker.volumes.list())["Volumes"] or ()}
    assert own[0] not in left


async def until_healthy(provider: DockerProvider, handle: Handle) -> None:
    """The image's own check of the only sidecar has succeeded."""
    async with asyncio.timeout(60):
        while (await provider.list_sidecars(handle))[0].health != "healthy":
            await asyncio.sleep(0.1)
