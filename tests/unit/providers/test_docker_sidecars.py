"""Sidecars of the docker provider against an engine of ours: order, shares, what is left over, what is forged."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.providers import base
from cloudrouter.providers.base import LABEL_MACHINE, LABEL_OWNER, LABEL_ROUTER, LABEL_SIDECAR, MachineSpec
from cloudrouter.providers.docker import DockerProvider, cgroups, container, sidecars, sidecarspec, streams, volumes
from cloudrouter.providers.docker.sidecarspec import Place, Share
from cloudrouter.providers.docker.sidecarverbs import NO_CONTAINER
from cloudrouter.providers.errors import Conflict, InvalidSpec, NotFound, NotRunning, provider_errors
from cloudrouter.testing.stage import listed
from cloudrouter.wire import ids
from cloudrouter.wire.boot import GuestBoot
from cloudrouter.wire.machines import Mount
from cloudrouter.wire.sidecars import Sidecar

from .fake_engine import FakeEngine

ROUTER = "0123456789abcdef"
MIB = 1024**2
LIMITS = st.tuples(st.none() | st.floats(0.1, 4), st.none() | st.integers(16 * MIB, 1 << 30))
EVERYTHING = Share(None, None)
DB = Sidecar("db", "image:1", env={"PASSWORD": "hunter22"}, workspace="ro", port=5432)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    async with FakeEngine().serving(str(tmp_path / "engine.sock")) as made:
        yield made


@pytest.fixture
async def provider(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[DockerProvider]:
    settings = {"host": f"unix://{tmp_path}/engine.sock", "helper_image": "sha256:helper"}
    made = DockerProvider(router_id=ROUTER, clock=lambda: 1000.0, config=settings)
    yield made
    await made.aclose()


def spec(*wanted: Sidecar, **changes: Any) -> MachineSpec:
    machine_id = ids.new_machine_id()
    values = {"owner": "o", "router_id": ROUTER, "image": "image:1", "cpu": 2.0, "memory_bytes": 1 << 30, **changes}
    return MachineSpec(machine_id=machine_id, boot=GuestBoot(machine_id, "0" * 64), sidecars=wanted, **values)


def body_of(wanted: MachineSpec, one: Sidecar = DB, share: Share = EVERYTHING, parent: str = "") -> dict[str, Any]:
    return sidecarspec.create_body(wanted, one, share, beside="f" * 64, place=Place(parent), ulimits=())


def named(engine: FakeEngine, name: str) -> dict[str, Any]:
    (found,) = [one for one in engine.containers.values() if one["Name"] == name]
    return found


# What the engine is asked for


def test_body_when_made_then_has_the_machines_network_and_rights_and_none_of_its_secrets() -> None:
    wanted = spec(DB)
    body = body_of(wanted)
    machine = container.create_body(wanted, network="n", cpus="", ulimits=())
    host = body["HostConfig"]
    assert host["NetworkMode"] == f"container:{'f' * 64}"
    assert {key: host[key] for key in container.security()} == {
        key: machine["HostConfig"][key] for key in container.security()
    }
    assert {"Hostname", "ExposedPorts", "NetworkingConfig", "User", "Entrypoint", "Cmd"}.isdisjoint(body)
    assert {"PortBindings", "PublishAllPorts", "Init", "PidMode", "IpcMode", "CgroupParent"}.isdisjoint(host)
    assert host["LogConfig"]["Config"] == {"max-size": "1m", "max-file": "2"}
    assert host["RestartPolicy"] == {"Name": "no"}
    assert body["Env"] == ["PASSWORD=hunter22"]
    assert json.dumps(body).count("hunter22") == 1
    assert not [one for one in host["Mounts"] if one["Type"] == "bind"]
    assert "hunter22" not in json.dumps(machine)


def test_body_when_limits_lie_inside_then_names_the_machines_group_and_only_what_was_asked() -> None:
    body = body_of(spec(DB), parent="/docker/x")
    assert body["HostConfig"]["CgroupParent"] == "/docker/x"
    assert {"Memory", "NanoCpus"}.isdisjoint(body["HostConfig"])
    body = body_of(spec(DB), share=Share(0.5, 64 * MIB), parent="/docker/x")
    found = [body["HostConfig"][key] for key in ("Memory", "MemorySwap", "NanoCpus")]
    assert found == [64 * MIB, 64 * MIB, 500_000_000]


@pytest.mark.parametrize(
    ("workspace", "mounts", "seen"),
    [
        ("ro", (), [("/workspace", True)]),
        ("rw", (), [("/workspace", False)]),
        ("", (Mount("a", "/home/user/workspace/a"),), []),
        (
            "rw",
            (Mount("a", "/home/user/workspace/a", read_only=True), Mount("b", "/data")),
            [("/workspace", False), ("/workspace/a", True)],
        ),
        ("ro", (Mount("a", "/home/user/workspace"),), [("/workspace", True)]),
        ("rw", (Mount("a", "/home/user/workspace-not"),), [("/workspace", False)]),
    ],
)
def test_workspace_when_asked_for_then_is_mounted_with_what_stands_in_it(
    workspace: str, mounts: tuple[Mount, ...], seen: list[tuple[str, bool]]
) -> None:
    one = replace(DB, workspace=workspace)
    wanted = spec(one, mounts=mounts)
    shown = body_of(wanted, one)["HostConfig"]["Mounts"]
    assert [(mount["Target"], mount["ReadOnly"]) for mount in shown] == seen
    machine = container.create_body(wanted, network="n", cpus="", ulimits=())["HostConfig"]["Mounts"]
    sources = {mount["Source"]: mount["ReadOnly"] for mount in machine}
    assert {mount["Source"] for mount in shown} <= set(sources), "a sidecar has nothing that its machine has not"
    own = volumes.workspace_name(ROUTER, wanted.machine_id)
    assert (own in sources) == (workspace != "" and not any(one.path == "/home/user/workspace" for one in mounts))


@given(
    st.lists(LIMITS, min_size=1, max_size=16),
    st.floats(0.1, 64),
    st.integers(64 * MIB, 1 << 36),
)
def test_shares_when_taken_off_the_machine_then_are_never_more_than_it_has(
    asked: list[tuple[float | None, int | None]], cpu: float, memory: int
) -> None:
    wanted = [Sidecar(f"s{at}", "i", cpu=one, memory_bytes=other) for at, (one, other) in enumerate(asked)]
    try:
        shares, left = sidecarspec.shares_beside(wanted, cpu=cpu, memory_bytes=memory)
    except InvalidSpec:
        return
    assert left.cpu is not None
    assert left.memory_bytes is not None
    assert left.memory_bytes >= 64 * MIB
    assert left.cpu >= sidecarspec.MIN_CPU
    assert sum(one.memory_bytes or 0 for one in shares.values()) + left.memory_bytes == memory
    assert sum(one.cpu or 0 for one in shares.values()) + left.cpu == pytest.approx(cpu, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9:memory:/docker/ID\n3:cpu,cpuacct:/docker/ID\n", "/docker/ID"),
        ("9:memory:/mine/docker/ID\n3:cpuacct,cpu:/mine/docker/ID\n", "/mine/docker/ID"),
        ("9:memory:/system.slice/docker-ID.scope\n3:cpu:/system.slice/docker-ID.scope\n", ""),
        ("0::/docker/ID\n", ""),
        ("9:memory:/docker/ID\n3:cpu:/\n", ""),
        ("9:memory:/../docker/ID\n3:cpu:/../docker/ID\n", ""),
        ("9:memory:/docker/ID/x\n3:cpu:/docker/ID/x\n", ""),
        ("", ""),
    ],
)
def test_group_when_looked_for_then_is_the_containers_own_or_none(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(text)
    assert cgroups.find_path(7, "ID", proc=str(tmp_path)) == found
    assert cgroups.find_path(8, "ID", proc=str(tmp_path)) == ""


def test_log_when_of_two_streams_then_is_in_the_order_of_writing_and_a_cut_piece_is_left_out() -> None:
    pieces = [(1, b"a"), (2, b"b"), (1, b"c")]
    data = b"".join(struct.pack(">BxxxL", number, len(text)) + text for number, text in pieces)
    assert streams.join_output(data + struct.pack(">BxxxL", 1, 9)[:5]) == b"abc"


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        ({"Status": "running", "StartedAt": "1970-01-01T00:00:10Z"}, (base.RUNNING, None, "", 10.0, None)),
        ({"Status": "running", "Health": {"Status": "unhealthy"}}, (base.RUNNING, None, "unhealthy", None, None)),
        ({"Status": "running", "Health": {"Status": "none"}}, (base.RUNNING, None, "", None, None)),
        ({"Status": "exited", "ExitCode": 3, "FinishedAt": "1970-01-01T00:00:20Z"}, (base.STOPPED, 3, "", None, 20.0)),
        ({"Status": "created", "FinishedAt": "0001-01-01T00:00:00Z"}, (base.PENDING, None, "", None, None)),
    ],
)
def test_observation_when_read_then_says_what_the_engine_says(state: Mapping[str, Any], seen: tuple[Any, ...]) -> None:
    labels = {LABEL_SIDECAR: "db", LABEL_MACHINE: "cr_7k2m9xqd", sidecarspec.LABEL_LIMITS: base.NESTED}
    found = sidecarspec.observe({"Id": "f" * 64, "Config": {"Labels": labels}, "State": dict(state)})
    started = found.last_started_at if found.state == base.RUNNING else None
    assert (found.state, found.exit_code, found.health, started, found.ended_at) == seen
    assert (found.name, found.limits) == ("db", base.NESTED)


# Life


async def test_create_when_there_are_sidecars_then_machine_first_and_a_second_call_changes_nothing(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB, Sidecar("cache", "image:1"))
    handle = await provider.create(wanted)
    label = ids.dns_label(wanted.machine_id)
    names = [one["Name"] for one in engine.containers.values() if one["Name"]]
    assert names[0] == label
    assert sorted(names[1:]) == [f"{label}-cache", f"{label}-db"]
    assert named(engine, f"{label}-db")["HostConfig"]["NetworkMode"] == f"container:{handle.data['container_id']}"
    count = len(engine.containers)
    assert await provider.create(wanted) == handle
    assert len(engine.containers) == count


async def test_create_when_cut_before_the_last_sidecar_then_the_next_call_finishes_it(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB, Sidecar("cache", "image:1"))
    handle = await provider.create(wanted)
    del engine.containers[named(engine, f"{ids.dns_label(wanted.machine_id)}-cache")["Id"]]
    assert await provider.create(wanted) == handle
    assert [one.name for one in await provider.list_sidecars(handle)] == ["cache", "db"]


@pytest.mark.parametrize("wrong", [Sidecar("side", "missing:1"), Sidecar("side", "missing:1", env={"A": "hunter22"})])
async def test_create_when_a_sidecar_cannot_be_made_then_machine_and_workspace_go_and_no_value_is_told(
    engine: FakeEngine, provider: DockerProvider, wrong: Sidecar
) -> None:
    with pytest.raises(InvalidSpec, match="The sidecar side cannot be started") as caught:
        await provider.create(spec(DB, wrong))
    assert "hunter22" not in json.dumps(caught.value.to_json())
    assert [one for one in engine.containers.values() if one["Name"]] == []
    assert engine.volumes == {}


async def test_create_when_a_stranger_has_a_sidecars_name_then_is_a_conflict_and_the_stranger_stays(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB)
    name = f"{ids.dns_label(wanted.machine_id)}-db"
    engine._create(name, {"Image": "image:1", "Labels": {}, "HostConfig": {"NetworkMode": "none"}})
    with pytest.raises(Conflict, match="not this router's"):
        await provider.create(wanted)
    assert named(engine, name)["State"]["Status"] == "created"


async def test_delete_when_frozen_then_thaws_and_removes_sidecars_machine_workspace_in_that_order(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB)
    handle = await provider.create(wanted)
    await provider.pause(handle)
    side = named(engine, f"{ids.dns_label(wanted.machine_id)}-db")["Id"]
    engine.calls.clear()
    await provider.delete(handle)
    own = handle.data["container_id"]
    changes = [call for call in engine.calls if not call.startswith("GET")]
    workspace = volumes.workspace_name(ROUTER, wanted.machine_id)
    assert changes == [
        *(f"POST containers/{own}/unpause", f"DELETE containers/{side}", f"DELETE containers/{own}"),
        f"DELETE volumes/{workspace}",
    ]
    assert engine.volumes == {}
    assert await listed(provider) == []


async def test_delete_when_somebody_else_uses_the_workspace_then_says_who_to_look_for(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB)
    handle = await provider.create(wanted)
    workspace = volumes.workspace_name(ROUTER, wanted.machine_id)
    mount = {"Type": "volume", "Source": workspace, "Target": "/x", "ReadOnly": True, "VolumeOptions": {"Labels": {}}}
    engine._create(
        "by-hand", {"Image": "image:1", "Labels": {}, "HostConfig": {"NetworkMode": "none", "Mounts": [mount]}}
    )
    with pytest.raises(Conflict, match="not its own") as caught:
        await provider.delete(handle)
    assert workspace in caught.value.fix
    del engine.containers[named(engine, "by-hand")["Id"]]
    (stray,) = await listed(provider)
    await provider.delete(stray.handle)
    assert engine.volumes == {}


async def test_stop_and_start_when_there_are_sidecars_then_they_stop_first_and_start_last(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB)
    handle = await provider.create(wanted)
    own, side = handle.data["container_id"], named(engine, f"{ids.dns_label(wanted.machine_id)}-db")["Id"]
    engine.calls.clear()
    await provider.stop(handle)
    await provider.start(handle)
    changes = [
        call for call in engine.calls if call.startswith("POST containers/") and call.split("/")[1] in (own, side)
    ]
    order = ((side, "stop"), (own, "stop"), (own, "start"), (side, "start"))
    assert changes == [f"POST containers/{one}/{verb}" for one, verb in order]


async def test_start_when_sidecars_outlived_the_machine_then_they_are_stopped_before(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB)
    handle = await provider.create(wanted)
    own, side = handle.data["container_id"], named(engine, f"{ids.dns_label(wanted.machine_id)}-db")["Id"]
    engine.containers[own]["State"] = {"Status": "exited", "ExitCode": 137}
    engine.calls.clear()
    await provider.start(handle)
    assert engine.calls.index(f"POST containers/{side}/stop") < engine.calls.index(f"POST containers/{own}/start")


async def test_verbs_when_there_is_no_such_sidecar_then_are_not_found(provider: DockerProvider) -> None:
    handle = await provider.create(spec(DB))
    for asked in (
        provider.start_sidecar(handle, name="x"),
        provider.stop_sidecar(handle, name="x"),
        provider.read_sidecar_log(handle, name="x"),
    ):
        with pytest.raises(NotFound, match="no sidecar 'x'"):
            await asked


@pytest.mark.parametrize("told", ["cannot join network of a non running container: x", "No such container: x"])
async def test_start_of_one_when_its_machine_does_not_run_then_says_so(
    engine: FakeEngine, provider: DockerProvider, told: str
) -> None:
    handle = await provider.create(spec(DB))
    await provider.stop(handle)
    engine.start_errors = [told]
    with pytest.raises((NotRunning, InvalidSpec)):
        await provider.start_sidecar(handle, name="db")


async def test_ended_when_asked_for_then_is_one_question_and_names_their_machines(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    first, second = spec(DB), spec(DB, Sidecar("cache", "image:1"))
    await provider.create(first)
    handle = await provider.create(second)
    assert await provider.machines_with_ended_sidecars() == []
    await provider.stop_sidecar(handle, name="cache")
    engine.calls.clear()
    assert await provider.machines_with_ended_sidecars() == [second.machine_id]
    assert len(engine.calls) == 1


# What is left over, and what is forged


async def test_list_when_sidecars_lost_their_machine_then_shows_what_can_be_deleted(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB)
    handle = await provider.create(wanted)
    del engine.containers[handle.data["container_id"]]
    (stray,) = await listed(provider)
    assert (stray.machine_id, stray.handle, stray.state, stray.owner) == (wanted.machine_id, handle, base.GONE, "o")
    await provider.delete(stray.handle)
    assert await listed(provider) == []
    assert engine.volumes == {}


async def test_list_when_only_the_workspace_is_left_then_shows_it_and_delete_takes_it(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB)
    name = volumes.workspace_name(ROUTER, wanted.machine_id)
    engine.volumes[name] = {
        "Name": name,
        "Labels": {LABEL_ROUTER: ROUTER, LABEL_MACHINE: wanted.machine_id, LABEL_OWNER: "o"},
    }
    (stray,) = await listed(provider)
    assert (stray.machine_id, stray.handle.data["container_id"]) == (wanted.machine_id, NO_CONTAINER)
    assert (await provider.inspect(stray.handle)).state == base.GONE
    assert await provider.list_volumes() == []
    await provider.delete(stray.handle)
    assert engine.volumes == {}


@pytest.mark.parametrize(
    ("labels", "mode"),
    [
        ({LABEL_ROUTER: ROUTER, LABEL_SIDECAR: "x"}, "none"),
        ({LABEL_ROUTER: ROUTER, LABEL_SIDECAR: "x", LABEL_MACHINE: "../x"}, "container:" + "f" * 64),
        ({LABEL_ROUTER: ROUTER, LABEL_SIDECAR: "", LABEL_MACHINE: "../x"}, "none"),
    ],
)
async def test_list_when_labels_are_forged_then_shows_no_machine(
    engine: FakeEngine, provider: DockerProvider, labels: dict[str, str], mode: str
) -> None:
    engine._create("forged", {"Image": "image:1", "Labels": labels, "HostConfig": {"NetworkMode": mode}})
    assert await listed(provider) == []


@pytest.mark.parametrize("mode", ["container:../../x", "container:", "container:name", "bridge"])
async def test_list_when_the_network_of_a_stray_is_forged_then_its_handle_is_harmless(
    engine: FakeEngine, provider: DockerProvider, mode: str
) -> None:
    labels = {LABEL_ROUTER: ROUTER, LABEL_SIDECAR: "x", LABEL_MACHINE: "cr_7k2m9xqd"}
    engine._create("forged", {"Image": "image:1", "Labels": labels, "HostConfig": {"NetworkMode": mode}})
    (stray,) = await listed(provider)
    assert stray.handle.data["container_id"] == NO_CONTAINER
    await provider.delete(stray.handle)
    assert await listed(provider) == []


async def test_workspace_when_removed_by_hand_then_the_start_says_which(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    wanted = spec(DB)
    handle = await provider.create(wanted)
    await provider.stop(handle)
    name = volumes.workspace_name(ROUTER, wanted.machine_id)
    engine.lost_volumes[name] = (404, f"get {name}: no such volume")
    with pytest.raises(NotFound, match="The volume with the machine's workspace"):
        await provider.start(handle)


@pytest.mark.parametrize("answer", [{}, [], 7, [{}], [{"Id": 1, "Labels": 2}], "x"], ids=repr)
async def test_any_call_when_the_engine_says_rubbish_then_the_error_is_of_the_family(
    engine: FakeEngine, provider: DockerProvider, answer: Any
) -> None:
    handle = await provider.create(spec(DB))
    for ask in (
        lambda: provider.list_sidecars(handle),
        lambda: provider.machines_with_ended_sidecars(),
        lambda: provider.start_sidecar(handle, name="db"),
        lambda: provider.stop_sidecar(handle, name="db"),
        lambda: provider.read_sidecar_log(handle, name="db"),
    ):
        engine.fault_at, engine.fault = len(engine.calls), lambda _request: web.json_response(answer)
        try:
            await ask()
        except provider_errors as error:
            assert error.message.endswith(".")
        engine.fault = None


async def test_image_when_it_cannot_be_pulled_then_is_refused_before_anything_is_made(
    engine: FakeEngine, provider: DockerProvider
) -> None:
    for name in ("UPPER", "a b", "", "-x"):
        with pytest.raises(InvalidSpec):
            await provider.check_sidecar_image(name)
    assert engine.containers == {}
    assert sidecars.LOG_BYTES == MIB
