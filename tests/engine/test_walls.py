"""The walls, from inside real machines: what must be closed is closed, what work needs is open."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import aiodocker
import pytest

from cloudrouter.providers.base import LABEL_ROUTER, Handle
from cloudrouter.providers.docker import DockerProvider, walls
from cloudrouter.providers.errors import NotConfigured
from cloudrouter.testing.inside import Inside
from cloudrouter.testing.stage import Stage, listed

from .conftest import new_provider, show, traces

pytestmark = pytest.mark.engine

TRY = """
import json, socket, sys
found = {}
for target in json.loads(sys.argv[1]):
    sock = socket.socket()
    sock.settimeout(1.0)
    try:
        sock.connect((target[0], target[1]))
        sock.settimeout(3.0)
        found[target[0]] = "open"
    except TimeoutError:
        found[target[0]] = "silent"
    except OSError as error:
        found[target[0]] = error.strerror or str(error)
    finally:
        sock.close()
print(json.dumps(found))
"""

ONLINE = "http://deb.debian.org/debian/dists/bookworm/InRelease"


@pytest.fixture
async def host_port() -> AsyncIterator[int]:
    """A service of the host on all its addresses."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "0.0.0.0", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def machine(stage: Stage, provider: DockerProvider) -> tuple[Handle, Inside]:
    spec = stage.spec(cpu=0.5)
    handle = await provider.create(spec)
    inside = stage.inside(provider, handle, spec)
    assert (await inside.run("true")).code == 0
    return handle, inside


async def try_all(inside: Inside, targets: dict[str, int]) -> dict[str, str]:
    done = await inside.run("python3", "-c", TRY, json.dumps(list(targets.items())))
    found: dict[str, str] = json.loads(done.stdout)
    return found


def own_address() -> str:
    """The address by which this host goes out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))
        return str(probe.getsockname()[0])


async def run_with_nft(stage: Stage, image: str, *command: str) -> str:
    """A command in the engine host's network."""
    config: dict[str, Any] = {
        "Image": image,
        "Entrypoint": [],
        "Cmd": list(command),
        "User": "0:0",
        "Labels": {LABEL_ROUTER: stage.router_id},
        "HostConfig": {"NetworkMode": "host", "CapAdd": ["NET_ADMIN"]},
    }
    async with aiodocker.Docker() as docker:
        container = await docker.containers.create(config)
        try:
            await container.start()
            await container.wait()
            return "".join(await container.log(stdout=True, stderr=True))
        finally:
            await container.delete(force=True)


async def test_machine_when_it_tries_host_neighbour_private_and_metadata_then_all_are_closed(
    stage: Stage, host_port: int, core_image: str
) -> None:
    provider = stage.provider()
    assert isinstance(provider, DockerProvider)
    handle, inside = await machine(stage, provider)
    neighbour, _inside = await machine(stage, provider)
    (mine,) = (await show(handle))["NetworkSettings"]["Networks"].values()
    (theirs,) = (await show(neighbour))["NetworkSettings"]["Networks"].values()
    async with aiodocker.Docker() as docker:
        config = {
            "Image": core_image,
            "Entrypoint": [],
            "Cmd": ["python3", "-c", TRY, json.dumps([["172.17.0.1", host_port], [own_address(), host_port]])],
            "Labels": {LABEL_ROUTER: stage.router_id},
        }
        control = await docker.containers.create(config)
        await control.start()
        await control.wait()
        unwalled = json.loads("".join(await control.log(stdout=True)))
        await control.delete(force=True)
    # Without walls the same program finds the host open: so its silence below says something.
    assert unwalled[own_address()] == "open"
    targets = {
        mine["Gateway"]: host_port,
        own_address(): host_port,
        theirs["IPAddress"]: 7070,
        "172.17.0.1": host_port,
        "169.254.169.254": 80,
        "10.11.12.13": 80,
        "100.100.100.200": 80,
        "192.168.77.1": 80,
    }
    assert await try_all(inside, targets) == dict.fromkeys(targets, "silent")


async def test_machine_when_it_asks_names_and_package_indexes_then_both_are_open(stage: Stage) -> None:
    try:
        with urllib.request.urlopen(ONLINE, timeout=10) as answer:
            answer.read(1)
    except (urllib.error.URLError, OSError):
        pytest.skip("this host itself reaches no package index")
    provider = stage.provider()
    assert isinstance(provider, DockerProvider)
    _handle, inside = await machine(stage, provider)
    done = await inside.run("curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", ONLINE)
    assert (done.stdout, done.stderr) == (b"200", b"")
    done = await inside.run("python3", "-c", "import socket; print(len(socket.getaddrinfo('pypi.org', 443)) > 0)")
    assert done.stdout.strip() == b"True"


async def test_walls_when_they_vanished_then_are_put_up_before_the_next_machine_once_the_look_is_old(
    stage: Stage, core_image: str, host_port: int
) -> None:
    now = time.time()
    provider = DockerProvider(router_id=stage.router_id, clock=lambda: now)
    try:
        handle, inside = await machine(stage, provider)
        targets = {own_address(): host_port}
        assert await try_all(inside, targets) == {own_address(): "silent"}
        await run_with_nft(stage, core_image, "nft", "delete", "table", "inet", "cloudrouter")
        assert await try_all(inside, targets) == {own_address(): "open"}
        now += walls.RECHECK_S + 1
        await machine(stage, provider)
        assert await try_all(inside, targets) == {own_address(): "silent"}
        assert (await provider.inspect(handle)).state == "running"
    finally:
        await provider.aclose()


async def test_walls_when_two_routers_put_them_up_at_once_then_both_succeed(stage: Stage) -> None:
    neighbour_id = "0123456789abcdef"
    one, other = stage.provider(), stage.provider(router_id=neighbour_id)
    await asyncio.gather(one.create(stage.spec()), other.create(stage.spec(router_id=neighbour_id)))


async def test_create_when_the_walls_cannot_be_put_up_then_refuses_and_leaves_nothing(stage: Stage) -> None:
    provider = new_provider(stage.router_id, helper_image="cloudrouter-no-such-image:0")
    try:
        with pytest.raises(NotConfigured, match="walls") as caught:
            await provider.create(stage.spec())
        assert caught.value.next == "cloudrouter image build"
        assert await listed(provider) == []
    finally:
        await provider.aclose()


async def test_create_when_the_helper_may_not_load_rules_then_refuses_and_says_why(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = stage.provider()
    monkeypatch.setattr(walls, "_CAPABILITIES", [])  # as where the engine does not grant NET_ADMIN
    with pytest.raises(NotConfigured, match="nft") as caught:
        await provider.create(stage.spec())
    assert caught.value.next == "cloudrouter doctor"
    assert await listed(provider) == []
    assert [name for name in await traces(stage.router_id) if name.startswith("/")] == []


async def test_helper_when_its_process_was_killed_then_is_removed_once_it_is_old(stage: Stage, core_image: str) -> None:
    now = time.time()
    async with aiodocker.Docker() as docker:
        labels = {LABEL_ROUTER: stage.router_id, walls.LABEL_HELPER: "walls"}
        helper = await docker.containers.create({"Image": core_image, "Cmd": ["true"], "Labels": labels})
        try:
            provider = DockerProvider(router_id=stage.router_id, clock=lambda: now)
            await provider.delete(await provider.create(stage.spec()))
            assert (await helper.show())["Id"] == helper.id  # it may be another process's, at work
            now += walls.RECHECK_S + 1
            await provider.delete(await provider.create(stage.spec()))
            await provider.aclose()
            with pytest.raises(aiodocker.DockerError, match="No such container"):
                await helper.show()
        finally:
            filters = json.dumps({"label": [f"{LABEL_ROUTER}={stage.router_id}", walls.LABEL_HELPER]})
            for left in await docker.containers.list(all=True, filters=filters):
                await left.delete(force=True)


async def test_machine_when_ping_is_used_then_it_works_without_raw_sockets(stage: Stage) -> None:
    provider = stage.provider()
    assert isinstance(provider, DockerProvider)
    _handle, inside = await machine(stage, provider)
    script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); print('icmp')"
    done = await inside.run("python3", "-c", script)
    assert done.stdout.strip() == b"icmp"
    raw = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)"
    assert (await inside.run("sudo", "python3", "-c", raw)).code == 1
