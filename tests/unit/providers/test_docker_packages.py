"""The package cache's door in a container: read-only, and left out where the engine has not our folders."""

from __future__ import annotations

from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from cloudrouter.images.known import Known
from cloudrouter.providers.base import MachineSpec
from cloudrouter.providers.docker.config import DockerConfig
from cloudrouter.providers.docker.containers import Containers
from cloudrouter.providers.docker.host import HostFacts
from cloudrouter.providers.errors import InvalidSpec
from cloudrouter.wire.boot import GuestBoot

MACHINE = "cr_22222222"
DOOR = {"Type": "bind", "Source": "/s/door", "Target": "/run/cloudrouter/packages", "ReadOnly": True}


class Api:
    """Takes create requests; refuses those with a bind mount when told so."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        self.mounts: list[list[dict[str, Any]]] = []

    async def settle(self, work: Awaitable[Any]) -> Any:
        return await work

    async def call(self, _method: str, _path: str, *, body: dict[str, Any], **_more: Any) -> dict[str, str]:
        self.mounts.append(body["HostConfig"]["Mounts"])
        if self.refusal and self.mounts[-1]:
            raise InvalidSpec(self.refusal)
        return {"Id": "made"}


async def create(api: Api, *, is_local: bool = True, door: str | None = "/s/door") -> str:
    unused: Any = None
    named: Any = SimpleNamespace(name="n")
    containers = Containers(
        api,  # type: ignore[arg-type]
        router_id="r",
        network=named,
        walls=unused,
        volumes=unused,
        config=DockerConfig(),
        known=Known(),
    )
    spec = MachineSpec(MACHINE, "me", "r", "core:1", 1.0, 1 << 30, GuestBoot(MACHINE, "ab" * 32), package_door=door)
    return await containers._post(spec, "", HostFacts(2, 1 << 34, is_local, is_podman=False))


async def test_the_door_when_the_engine_is_this_host_then_is_mounted_read_only() -> None:
    api = Api()
    assert await create(api) == "made"
    assert api.mounts == [[DOOR]]


async def test_the_door_when_none_is_wanted_or_the_engine_is_elsewhere_then_is_left_out() -> None:
    api = Api()
    await create(api, door=None)
    await create(api, is_local=False)
    assert api.mounts == [[], []]


async def test_the_door_when_the_engine_does_not_have_that_folder_then_the_machine_is_made_without() -> None:
    api = Api('invalid mount config for type "bind": bind source path does not exist: /s/door')
    assert await create(api) == "made"
    assert api.mounts == [[DOOR], []]


async def test_another_refusal_when_it_comes_then_is_told_as_it_is() -> None:
    api = Api("no such thing")
    with pytest.raises(InvalidSpec, match="no such thing"):
        await create(api)
    assert len(api.mounts) == 1
