"""The pure parts of the docker provider: settings, addresses, bodies, observations, sets of cpus."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.providers import base
from cloudrouter.providers.base import LABEL_MACHINE, LABEL_OWNER, LABEL_ROUTER, MachineSpec
from cloudrouter.providers.docker import container, host, network, streams
from cloudrouter.providers.docker.config import DockerConfig
from cloudrouter.providers.docker.endpoint import find_endpoint
from cloudrouter.providers.docker.host import HostFacts
from cloudrouter.providers.docker.refusals import refuse_size
from cloudrouter.providers.errors import InvalidSpec, NotConfigured
from cloudrouter.wire.boot import GuestBoot

MACHINE = "cr_22222222"


def spec(**changes: Any) -> MachineSpec:
    values = {"owner": "me", "router_id": "r", "image": "core:1", "cpu": 2.0, "memory_bytes": 4 << 30, **changes}
    return MachineSpec(machine_id=MACHINE, boot=GuestBoot(MACHINE, "ab" * 32), **values)


def body(**changes: Any) -> dict[str, Any]:
    return container.create_body(spec(**changes), network="n", cpus="0-1", ulimits=[])


# Settings


@pytest.mark.parametrize(
    "config",
    [
        {"nope": 1},
        {"dial": "pigeon"},
        {"host": 3},
        {"dns": "10.0.0.1"},
        {"dns": ["fe80::1"]},
        {"dns": 7},
        {"creates_at_once": 0},
        {"creates_at_once": True},
        {"creates_at_once": "4"},
    ],
    ids=str,
)
def test_config_when_wrong_then_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(NotConfigured):
        DockerConfig.from_mapping(config)


def test_config_when_right_then_is_kept() -> None:
    made = DockerConfig.from_mapping({"dns": ["10.0.0.1"], "dial": "exec"})
    assert (made.dns, made.dial, made.creates_at_once) == (("10.0.0.1",), "exec", 4)
    assert DockerConfig.from_mapping(None) == DockerConfig()


# Addresses of engines


def test_endpoint_when_docker_host_is_set_then_wins_over_the_current_context(tmp_path: Path) -> None:
    write_context(tmp_path, "far", "tcp://far:1", current=True)
    env = {"HOME": str(tmp_path), "DOCKER_HOST": "unix:///x/y.sock"}
    assert find_endpoint(env, uid=0).socket_path == "/x/y.sock"


def test_endpoint_when_a_context_is_current_or_named_then_is_its_own(tmp_path: Path) -> None:
    write_context(tmp_path, "far", "tcp://far:2375", current=True)
    write_context(tmp_path, "near", "unix:///near.sock")
    env = {"HOME": str(tmp_path)}
    assert find_endpoint(env, uid=0).address == ("far", 2375)
    named = {**env, "DOCKER_CONTEXT": "near", "DOCKER_HOST": "tcp://other:1"}
    assert find_endpoint(named, uid=0).socket_path == "/near.sock"
    with pytest.raises(NotConfigured, match="moon"):
        find_endpoint({**env, "DOCKER_CONTEXT": "moon"}, uid=0)


def test_endpoint_when_the_context_is_default_then_sockets_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "default"}')
    run = tmp_path / "run"
    (run / "podman").mkdir(parents=True)
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run / "podman/podman.sock"))
        found = find_endpoint({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(run)}, uid=0)
    assert found.socket_path in ("/var/run/docker.sock", str(run / "podman/podman.sock"))


def test_endpoint_when_nothing_is_there_then_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrouter.providers.docker.endpoint._is_socket", lambda _path: False)
    with pytest.raises(NotConfigured) as caught:
        find_endpoint({"HOME": str(tmp_path)}, uid=0)
    assert caught.value.next == "cloudrouter doctor"
    assert "docker.io" in caught.value.fix


def test_endpoint_when_ssh_then_names_the_way_round(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured) as caught:
        find_endpoint({"HOME": str(tmp_path), "DOCKER_HOST": "ssh://me@far"}, uid=0)
    assert "ssh -L" in caught.value.fix


def test_endpoint_when_tls_is_asked_for_then_the_host_is_verified(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "DOCKER_HOST": "tcp://far", "DOCKER_TLS_VERIFY": "1"}
    found = find_endpoint(env, uid=0)
    assert found.address == ("far", 2376)
    assert found.tls is not None
    assert found.tls.verify_mode == ssl.CERT_REQUIRED


def test_endpoint_when_the_config_is_broken_then_names_the_file(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text("{")
    with pytest.raises(NotConfigured, match=r"config\.json"):
        find_endpoint({"HOME": str(tmp_path)}, uid=0)


def write_context(home: Path, name: str, url: str, *, current: bool = False) -> None:
    import hashlib

    folder = home / ".docker/contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": url}}}))
    if current:
        (home / ".docker/config.json").write_text(json.dumps({"currentContext": name}))


# Create requests


def test_body_when_made_then_bounds_everything_and_grants_little() -> None:
    settings = body()["HostConfig"]
    assert settings["Memory"] == settings["MemorySwap"] == 4 << 30
    assert (settings["NanoCpus"], settings["PidsLimit"], settings["CpusetCpus"]) == (2 * 10**9, 4096, "0-1")
    assert settings["CapDrop"] == ["ALL"]
    assert not {"NET_RAW", "NET_ADMIN", "SYS_ADMIN", "MKNOD"} & set(settings["CapAdd"])
    assert settings["LogConfig"]["Config"]["max-size"] == "1m"
    assert "Binds" not in settings
    assert settings["ShmSize"] == 1 << 30
    assert body(memory_bytes=256 << 20)["HostConfig"]["ShmSize"] == 128 << 20


def test_body_when_labels_are_ours_by_name_then_identity_wins() -> None:
    labels = body(labels={LABEL_MACHINE: "x", LABEL_OWNER: "y", "a": "b"})["Labels"]
    assert (labels[LABEL_MACHINE], labels[LABEL_OWNER], labels[LABEL_ROUTER]) == (MACHINE, "me", "r")
    assert labels["cloudrouter.dev/label.a"] == "b"
    assert labels[f"cloudrouter.dev/label.{LABEL_MACHINE}"] == "x"


def test_body_when_made_then_the_image_decides_what_runs() -> None:
    assert not {"Cmd", "Entrypoint", "User"} & set(body())
    assert body()["Hostname"] == "cr-22222222"
    assert f"CLOUDROUTER_MACHINE_ID={MACHINE}" in body()["Env"]


@given(cpu=st.integers(1, 64), host_cpus=st.integers(1, 128), machines=st.integers(0, 40))
def test_cpus_when_chosen_one_after_another_then_groups_are_used_evenly(
    cpu: int, host_cpus: int, machines: int
) -> None:
    taken: list[str] = []
    for _ in range(machines):
        taken.append(container.choose_cpus(float(cpu), host_cpus=host_cpus, taken=taken))
    if cpu >= host_cpus or host_cpus % cpu:
        assert set(taken) <= {""}
        return
    counts = [taken.count(group) for group in set(taken)]
    assert not counts or max(counts) - min(counts) <= 1
    assert len(set(taken)) == min(machines, host_cpus // cpu)


@pytest.mark.parametrize("cpu", [0.5, 1.5, 2.5])
def test_cpus_when_not_whole_then_none_are_reserved(cpu: float) -> None:
    assert container.choose_cpus(cpu, host_cpus=8, taken=[]) == ""


@pytest.mark.parametrize("taken", ["0-", "x", "0-999999999999", "9999-0", "-1", "1,,2", "0-7"])
def test_cpus_when_labels_of_others_are_rubbish_then_are_passed_over(taken: str) -> None:
    assert container.choose_cpus(4.0, host_cpus=8, taken=[taken, "0-3"]) == "4-7"


# Observations


@pytest.mark.parametrize(
    ("state", "word", "reason"),
    [
        ({"Status": "running"}, base.RUNNING, ""),
        ({"Status": "paused"}, base.PAUSED, ""),
        ({"Status": "created"}, base.PENDING, ""),
        ({"Status": "created", "Error": "no such port"}, base.PENDING, "no such port"),
        ({"Status": "exited", "ExitCode": 143}, base.STOPPED, ""),
        ({"Status": "exited", "ExitCode": 3}, base.STOPPED, "its first process ended with status 3"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, base.STOPPED, "it ran out of memory"),
        ({"Status": "dead"}, base.FAILED, "the engine says dead"),
        ({"Status": "removing"}, base.FAILED, "the engine says removing"),
        ({}, base.FAILED, "the engine says nothing"),
    ],
)
def test_observation_when_the_engine_says_so_then_state_and_reason_follow(
    state: dict[str, Any], word: str, reason: str
) -> None:
    seen = container.observe({"Id": "f" * 64, "Config": {"Labels": {LABEL_MACHINE: MACHINE}}, "State": state})
    assert (seen.machine_id, seen.state, seen.reason) == (MACHINE, word, reason)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:10.5Z", 10.5),
        ("2026-11-24T04:13:17.123456789Z", 1795493597.123457),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1969-12-31T19:30:00-05:00", 1800.0),
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_time_when_parsed_then_is_seconds_since_the_epoch(text: str, seconds: float | None) -> None:
    assert container.parse_time(text) == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(("grace", "seconds"), [(0, 0), (0.1, 1), (5.0, 5), (-1, 0)])
def test_grace_when_not_whole_then_is_never_shortened(grace: float, seconds: int) -> None:
    assert container.whole_seconds(grace) == seconds


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50))), st.integers(0, 7))
def test_output_when_split_then_both_streams_are_whole_and_a_cut_header_is_left_out(
    pieces: list[tuple[int, bytes]], cut: int
) -> None:
    data = b"".join(streams.HEADER.pack(number, len(text)) + text for number, text in pieces)
    expected = tuple(b"".join(text for number, text in pieces if number == wanted) for wanted in (1, 2))
    assert streams.split_output(data + b"\1\0\0\0\0\0\0\0"[:cut]) == expected


def test_network_when_router_ids_are_odd_then_names_stay_short_and_apart() -> None:
    assert network.short_id("0123456789abcdef") == "01234567"
    odd = {network.short_id(text) for text in ("x", "../..", "a b\n", "", "0123ABCD0123")}
    assert len(odd) == 5
    assert all(len(f"crb-{word}") <= 15 and word.isalnum() for word in odd)


# Host


def test_size_when_not_a_number_or_out_of_bounds_then_is_refused() -> None:
    facts = HostFacts(cpus=4, memory_bytes=8 << 30, is_local=True, is_podman=False)
    refuse_size(4.0, 8 << 30, facts)
    for cpu, memory in ((float("nan"), 1 << 30), (float("inf"), 1 << 30), (4.1, 1 << 30), (1, (8 << 30) + 1), (1, 1)):
        with pytest.raises(InvalidSpec):
            refuse_size(cpu, memory, facts)


def test_ulimits_when_podman_then_processes_are_said_too() -> None:
    names = [limit["Name"] for limit in host.ulimits(is_podman=True, modest=False)]
    assert names == ["nofile", "nproc"]
    (only,) = host.ulimits(is_podman=False, modest=True)
    assert only == {"Name": "nofile", "Soft": 4096, "Hard": 4096}


async def test_memory_when_the_engine_is_elsewhere_then_is_its_own_size() -> None:
    facts = HostFacts(cpus=4, memory_bytes=123 << 30, is_local=False, is_podman=False)
    assert await host.available_memory(facts) == 123 << 30
    assert await host.route_mtu(facts) is None
