"""The part of the providers' contract about ends: deleting, being cut, neighbours, and keeping the event loop free."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import replace

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Need, Provider
from cloudrouter.providers.errors import (
    NotFound,
    Unreachable,
    provider_errors,
)
from cloudrouter.testing.provider_ground import Ground, Residue
from cloudrouter.testing.stage import Stage, listed, watchdog

HOSTILE_TEXTS = (
    "line\nbreak \"quoted\" 'twice' \\ $(id) `id` ${HOME} %s {{x}}",
    "x" * 65536,
    "snow\N{SNOWMAN}man \N{PILE OF POO} \u202e",
    f"{base.LABEL_ROUTER}=other,{base.LABEL_MACHINE}=cr_22222222",
)


class EndChecks(Ground):
    """Death, interruption, isolation, pace."""

    # Death

    async def test_delete_when_repeated_then_is_success_and_nothing_is_left(
        self, provider: Provider, stage: Stage, residue: Residue
    ) -> None:
        handle, _spec, inside = await self.born(provider, stage)
        await inside.run("sh", "-c", "mkdir -p ~/a/b && chmod 000 ~/a; setsid sleep 1000 >/dev/null 2>&1 &")
        await provider.delete(handle)
        await provider.delete(handle)
        await stage.provider().delete(handle)
        await self.until(provider, handle, base.GONE, patience_s=provider.features().gone_within_s)
        assert await listed(provider) == []
        await self.clear_router(provider)
        assert await residue(stage.router_id) == []

    async def test_missing_machine_when_stopped_then_is_success_and_when_started_then_is_not_found(
        self, provider: Provider, stage: Stage
    ) -> None:
        handle = await provider.create(stage.spec())
        await provider.delete(handle)
        await provider.stop(handle)
        assert (await provider.inspect(handle)).state == base.GONE
        with pytest.raises(NotFound):
            await provider.start(handle)

    async def test_delete_when_stopped_or_half_made_then_removes(self, provider: Provider, stage: Stage) -> None:
        handle, _spec, _inside = await self.born(provider, stage)
        await provider.stop(handle, grace_s=0)
        await provider.delete(handle)
        assert (await provider.inspect(handle)).state == base.GONE

    async def test_leftovers_when_removed_then_nothing_of_the_router_is_left(
        self, provider: Provider, stage: Stage, residue: Residue
    ) -> None:
        if not isinstance(provider, base.Removable):
            pytest.skip("this provider leaves nothing")
        handle, _spec, _inside = await self.born(provider, stage)
        await provider.delete(handle)
        for leftover in await _own(provider):
            await provider.remove_leftover(leftover)
            await provider.remove_leftover(leftover)
        assert await _own(provider) == []
        assert await residue(stage.router_id) == []

    # Interruption

    async def test_create_when_cancelled_anywhere_then_is_listed_or_leaves_nothing(
        self, provider: Provider, stage: Stage, residue: Residue
    ) -> None:
        began = time.monotonic()
        first = stage.spec()
        await provider.delete(await provider.create(first))
        usual_s = time.monotonic() - began
        for seed in range(self.cancel_seeds):
            spec = stage.spec()
            task = asyncio.create_task(provider.create(spec))
            await asyncio.wait({task}, timeout=random.Random(seed).uniform(0, usual_s))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if seed % 2:
                handle = await provider.create(spec)
                assert [seen.handle for seen in await listed(provider)] == [handle], f"seed {seed}"
                await self.until(provider, handle, base.RUNNING)
            for seen in await listed(provider):
                assert seen.machine_id == spec.machine_id, f"seed {seed}"
                await provider.delete(seen.handle)
            assert await listed(provider) == [], f"seed {seed}"
        await self.clear_router(provider)
        assert await residue(stage.router_id) == []

    async def test_delete_and_stop_when_cancelled_then_can_be_repeated(self, provider: Provider, stage: Stage) -> None:
        for seed in range(4):
            handle, _spec, _inside = await self.born(provider, stage)
            for change in (provider.stop(handle, grace_s=1.0), provider.delete(handle)):
                task = asyncio.create_task(change)
                await asyncio.wait({task}, timeout=random.Random(seed).uniform(0, 0.1))
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await provider.stop(handle, grace_s=0)
            await provider.delete(handle)
            assert (await provider.inspect(handle)).state == base.GONE

    # Isolation

    async def test_list_when_two_routers_share_a_backend_then_each_sees_its_own(
        self, provider: Provider, stage: Stage
    ) -> None:
        neighbour_id = secrets.token_hex(8)
        neighbour = stage.provider(router_id=neighbour_id)
        mine, theirs = stage.spec(), stage.spec(router_id=neighbour_id)
        await asyncio.gather(provider.create(mine), neighbour.create(theirs))
        assert [seen.machine_id for seen in await listed(provider)] == [mine.machine_id]
        assert [seen.machine_id for seen in await listed(neighbour)] == [theirs.machine_id]

    async def test_create_when_another_router_has_that_id_then_refuses(self, provider: Provider, stage: Stage) -> None:
        neighbour_id = secrets.token_hex(8)
        neighbour = stage.provider(router_id=neighbour_id)
        spec = stage.spec()
        await provider.create(spec)
        with pytest.raises(provider_errors):
            await neighbour.create(replace(spec, router_id=neighbour_id))
        assert await listed(neighbour) == []
        assert len(await listed(provider)) == 1

    @pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=["quotes", "long", "unicode", "labels"])
    async def test_labels_and_owner_when_hostile_then_stay_what_they_are(
        self, provider: Provider, stage: Stage, text: str
    ) -> None:
        spec = stage.spec(owner=text, labels={text[:200]: text, base.LABEL_ROUTER: text, base.LABEL_MACHINE: text})
        handle = await provider.create(spec)
        for seen in (await provider.inspect(handle), *await listed(provider)):
            assert (seen.machine_id, seen.owner) == (spec.machine_id, text)
        await provider.delete(handle)
        assert await listed(provider) == []

    # Pace

    async def test_event_loop_when_calls_run_then_never_stands_still(self, provider: Provider, stage: Stage) -> None:
        await provider.delete(await provider.create(stage.spec()))  # imports and first connections
        worst = []
        for _ in range(3):
            async with watchdog() as gaps:
                handle, spec, _inside = await self.born(provider, stage)
                await provider.offers(Need())
                await listed(provider)
                try:
                    (await provider.dial(handle, port=spec.boot.port)).close()
                except Unreachable:
                    assert (await provider.inspect(handle)).state == base.RUNNING
                await provider.stop(handle, grace_s=1.0)
                await provider.delete(handle)
            worst.append(max(gaps))
        # The best of three, because the host may stand still on its own account.
        assert min(worst) < self.pace_s, f"the loop stood still for {min(worst) * 1000:.0f} ms"


async def _own(provider: base.Removable) -> list[base.Leftover]:
    """What nobody else misses. Images stay: they take minutes to make anew, and the tests after this one need them."""
    return [one for one in await provider.leftovers() if not one.shared and one.kind != "image"]
