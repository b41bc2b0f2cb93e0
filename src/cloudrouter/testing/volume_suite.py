"""The part of the providers' contract about volumes; `ProviderSuite` has it, and it asks nothing of those without."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Provider
from cloudrouter.providers.errors import Conflict, InvalidSpec, Unsupported
from cloudrouter.testing.provider_ground import Ground
from cloudrouter.testing.stage import Stage, listed
from cloudrouter.wire.machines import Mount

DATA = Mount("data", "/data")


class VolumeChecks(Ground):
    """The contract's part about volumes."""

    async def test_create_when_volumes_are_wanted_and_there_are_none_then_is_unsupported(
        self, provider: Provider, stage: Stage
    ) -> None:
        if isinstance(provider, base.Volumes):
            pytest.skip("this provider has volumes")
        with pytest.raises(Unsupported, match="volumes"):
            await provider.create(stage.spec(mounts=(DATA,)))
        assert await listed(provider) == []

    async def test_volume_when_made_twice_then_is_one_and_when_removed_twice_then_is_gone(
        self, provider: Provider, stage: Stage
    ) -> None:
        volumes = _volumes_of(provider)
        assert await volumes.ensure_volume("one", owner="suite") is True
        assert await volumes.ensure_volume("one", owner="suite") is False
        (found,) = await volumes.list_volumes(owner="suite")
        assert (found.name, found.owner) == ("one", "suite")
        assert dict(await volumes.measure_volumes(owner="suite")).keys() <= {"one"}
        for _ in range(2):
            await volumes.remove_volume("one", owner="suite")
        assert await volumes.list_volumes() == []
        assert stage

    async def test_volume_when_made_by_many_at_once_then_is_one(self, provider: Provider, stage: Stage) -> None:
        _volumes_of(provider)
        objects: list[Any] = [stage.provider() for _ in range(4)]
        await asyncio.gather(*(one.ensure_volume("one", owner="suite") for one in objects))
        assert [one.name for one in await objects[0].list_volumes()] == ["one"]

    @pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "a" * 32, "1a", "a\n"], ids=repr)
    async def test_volume_when_its_name_is_none_then_is_refused(
        self, provider: Provider, stage: Stage, name: str
    ) -> None:
        volumes = _volumes_of(provider)
        with pytest.raises(InvalidSpec):
            await volumes.ensure_volume(name, owner="suite")
        with pytest.raises(InvalidSpec):
            await volumes.remove_volume(name, owner="suite")
        assert await volumes.list_volumes() == []
        assert stage

    async def test_volume_when_its_machine_is_deleted_then_keeps_its_files_for_the_next(
        self, provider: Provider, stage: Stage
    ) -> None:
        volumes = _volumes_of(provider)
        first, _spec, inside = await self.born(provider, stage, mounts=(DATA,))
        assert (await inside.run("sudo", "-n", "sh", "-c", "echo kept > /data/mark")).code == 0
        with pytest.raises(Conflict):
            await volumes.remove_volume("data", owner="suite")
        await provider.delete(first)
        assert [one.name for one in await volumes.list_volumes(owner="suite")] == ["data"]
        _second, _spec, inside = await self.born(provider, stage, mounts=(DATA,))
        assert (await inside.run("cat", "/data/mark")).stdout == b"kept\n"

    async def test_volume_when_read_only_then_nobody_inside_can_write_it(
        self, provider: Provider, stage: Stage
    ) -> None:
        _volumes_of(provider)
        await self.born(provider, stage, mounts=(DATA,))
        _handle, _spec, inside = await self.born(provider, stage, mounts=(Mount("data", "/data", read_only=True),))
        tried = "touch /data/x; sudo -n touch /data/x; sudo -n mount -o remount,rw /data; sudo -n touch /data/x"
        done = await inside.run("sh", "-c", f"{tried}; test ! -e /data/x")
        assert done.code == 0
        assert b"Read-only" in done.stderr

    async def test_volume_when_two_machines_have_it_then_both_see_the_same(
        self, provider: Provider, stage: Stage
    ) -> None:
        _volumes_of(provider)
        both = [
            await self.born(provider, stage, mounts=(Mount("data", path, read_only=read_only),))
            for path, read_only in (("/data", False), ("/other/place", True))
        ]
        assert (await both[0][2].run("sudo", "-n", "sh", "-c", "echo seen > /data/mark")).code == 0
        assert (await both[1][2].run("cat", "/other/place/mark")).stdout == b"seen\n"

    async def test_volume_when_the_machine_is_stopped_then_is_kept_and_found_again(
        self, provider: Provider, stage: Stage
    ) -> None:
        volumes = _volumes_of(provider)
        handle, _spec, inside = await self.born(provider, stage, mounts=(DATA,))
        await inside.run("sudo", "-n", "sh", "-c", "echo kept > /data/mark")
        await provider.stop(handle, grace_s=1.0)
        with pytest.raises(Conflict):
            await volumes.remove_volume("data", owner="suite")
        await provider.start(handle)
        assert (await inside.run("cat", "/data/mark")).stdout == b"kept\n"

    async def test_volume_when_another_owner_or_router_has_one_of_that_name_then_is_another(
        self, provider: Provider, stage: Stage
    ) -> None:
        volumes = _volumes_of(provider)
        neighbour: Any = stage.provider(router_id=secrets.token_hex(8))
        await volumes.ensure_volume("data", owner="suite")
        assert await volumes.ensure_volume("data", owner='hostile "owner"\n') is True
        assert await neighbour.ensure_volume("data", owner="suite") is True
        assert [one.owner for one in await volumes.list_volumes(owner="suite")] == ["suite"]
        await neighbour.remove_volume("data", owner="suite")
        await volumes.remove_volume("data", owner='hostile "owner"\n')
        assert [(one.name, one.owner) for one in await volumes.list_volumes()] == [("data", "suite")]


def _volumes_of(provider: Provider) -> base.Volumes:
    if not isinstance(provider, base.Volumes):
        pytest.skip("this provider has no volumes")
    return provider
