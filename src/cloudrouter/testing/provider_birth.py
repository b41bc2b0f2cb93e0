"""The part of the providers' contract about who a provider is, and how machines are made or refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Handle, Need, Provider
from cloudrouter.providers.errors import (
    InvalidSpec,
    NoCapacity,
    NotConfigured,
    Unsupported,
    provider_errors,
)
from cloudrouter.providers.registry import known_providers, load_provider
from cloudrouter.testing.provider_ground import Ground
from cloudrouter.testing.stage import Stage, listed
from cloudrouter.wire import ids

PROTOCOLS = {
    "pause": base.Pausable,
    "resize": base.Resizable,
    "snapshots": base.Snapshots,
    "volumes": base.Volumes,
    "sidecars": base.Sidecars,
    "console": base.Console,
    "images": base.Images,
    "stats": base.Measurable,
    "removable": base.Removable,
}
"""Feature flag -> the optional protocol that it stands for."""


class BirthChecks(Ground):
    """Identity, birth, refusals."""

    # Identity

    def test_name_when_looked_up_then_is_the_registrys(self, provider: Provider) -> None:
        assert provider.name == self.provider_name
        assert self.provider_name in known_providers()

    def test_features_when_asked_twice_then_are_equal(self, provider: Provider) -> None:
        assert provider.features() == provider.features()

    @pytest.mark.parametrize("flag", sorted(PROTOCOLS))
    def test_feature_flag_when_set_then_and_only_then_is_the_protocol_there(
        self, provider: Provider, flag: str
    ) -> None:
        assert getattr(provider.features(), flag) == isinstance(provider, PROTOCOLS[flag])

    def test_config_when_a_setting_is_unknown_then_is_refused(self, config: Mapping[str, Any] | None) -> None:
        with pytest.raises(NotConfigured, match="no_such_setting"):
            load_provider(self.provider_name)(
                router_id="r", clock=time.time, config={**(config or {}), "no_such_setting": 1}
            )

    async def test_check_when_the_backend_answers_then_passes_quickly(self, provider: Provider) -> None:
        async with asyncio.timeout(5):
            await provider.check()

    async def test_offers_when_asked_openly_then_name_a_size_and_when_asked_too_much_then_are_empty(
        self, provider: Provider
    ) -> None:
        offers = await provider.offers(Need())
        assert offers
        for offer in offers:
            assert offer.cpus >= 1
            assert 0 <= offer.available_memory_bytes <= offer.memory_bytes
        assert await provider.offers(Need(memory_bytes=1 << 60)) == []

    async def test_handle_and_observation_when_printed_then_show_no_key(self, provider: Provider, stage: Stage) -> None:
        handle, spec, _inside = await self.born(provider, stage)
        shown = f"{json.dumps(dict(handle.data))} {await provider.inspect(handle)!r} {provider!r}"
        assert spec.boot.token_sha256 not in shown

    # Birth

    async def test_create_when_it_returns_then_the_machine_can_be_found(self, provider: Provider, stage: Stage) -> None:
        spec = stage.spec()
        handle = await provider.create(spec)
        seen = await provider.inspect(handle)
        assert seen.state in (base.PENDING, base.RUNNING)
        assert (seen.machine_id, seen.owner) == (spec.machine_id, spec.owner)
        seen = await self.until(provider, handle, base.RUNNING)
        assert seen.started_at is None or abs(seen.started_at - time.time()) < 3600

    async def test_create_when_called_twice_then_gives_the_same_machine(self, provider: Provider, stage: Stage) -> None:
        spec = stage.spec()
        assert await provider.create(spec) == await provider.create(spec)
        assert [seen.machine_id for seen in await listed(provider)] == [spec.machine_id]

    async def test_create_when_called_at_once_from_two_objects_then_makes_one_machine(self, stage: Stage) -> None:
        one, other, spec = stage.provider(), stage.provider(), stage.spec()
        handles = await asyncio.gather(one.create(spec), other.create(spec), one.create(spec))
        assert handles[0] == handles[1] == handles[2]
        assert len(await listed(one)) == 1

    async def test_create_when_the_machine_is_stopped_then_starts_it(self, provider: Provider, stage: Stage) -> None:
        handle, spec, _inside = await self.born(provider, stage)
        await provider.stop(handle)
        assert await provider.create(spec) == handle
        await self.until(provider, handle, base.RUNNING)

    async def test_handle_when_it_went_through_json_then_serves_a_new_object(
        self, provider: Provider, stage: Stage
    ) -> None:
        handle, spec, _inside = await self.born(provider, stage)
        await provider.aclose()
        again = Handle(handle.provider, json.loads(json.dumps(dict(handle.data))))
        fresh = stage.provider()
        assert (await fresh.inspect(again)).state == base.RUNNING
        assert (await stage.inside(fresh, again, spec).run("true")).code == 0

    async def test_boot_when_the_guest_answers_then_it_knows_its_machine_and_its_key(
        self, provider: Provider, stage: Stage
    ) -> None:
        _handle, spec, inside = await self.born(provider, stage)
        done = await inside.run("sh", "-c", 'printf %s "$CLOUDROUTER_MACHINE_ID"; hostname >&2; exit 7')
        assert (done.code, done.stdout.decode()) == (7, spec.machine_id)
        if provider.features().own_root:
            assert done.stderr.decode().strip() == ids.dns_label(spec.machine_id)
        with pytest.raises(Exception, match=r"401|403"):
            await inside.try_open(token="wrong")

    # Refusals

    @pytest.mark.parametrize(
        "changes",
        [
            {"cpu": 100_000.0},
            {"cpu": -1.0},
            {"memory_bytes": 1 << 60},
            {"memory_bytes": 0},
            {"options": {"no_such_option": True}},
            {"machine_id": "../../etc"},
            {"router_id": "somebody-else"},
        ],
        ids=lambda changes: "-".join(changes),
    )
    async def test_create_when_the_spec_cannot_be_then_refuses_and_leaves_nothing(
        self, provider: Provider, stage: Stage, changes: dict[str, Any]
    ) -> None:
        with pytest.raises((InvalidSpec, NoCapacity)):
            await provider.create(stage.spec(**changes))
        assert await listed(provider) == []

    async def test_create_when_the_image_is_unknown_then_says_so_and_leaves_nothing(
        self, provider: Provider, stage: Stage
    ) -> None:
        with pytest.raises(InvalidSpec, match=self.unknown_image) as caught:
            await provider.create(stage.spec(image=self.unknown_image))
        assert caught.value.details["field"] == "image"
        assert await listed(provider) == []

    async def test_create_when_the_network_class_is_unknown_then_is_unsupported(
        self, provider: Provider, stage: Stage
    ) -> None:
        with pytest.raises(Unsupported, match="moon"):
            await provider.create(stage.spec(network="moon"))
        assert await listed(provider) == []

    async def test_create_when_a_disk_limit_is_wanted_then_it_holds_or_is_unsupported(
        self, provider: Provider, stage: Stage
    ) -> None:
        if provider.features().disk_limit:
            _handle, _spec, inside = await self.born(provider, stage, disk_bytes=256 << 20)
            done = await inside.run("sh", "-c", "head -c 400M /dev/zero > ~/much")
            assert done.code != 0
            assert (await inside.run("true")).code == 0
            return
        with pytest.raises(Unsupported, match="disk"):
            await provider.create(stage.spec(disk_bytes=1 << 30))
        assert await listed(provider) == []

    async def test_create_when_refused_then_the_error_is_of_the_family(self, provider: Provider, stage: Stage) -> None:
        for changes in ({"cpu": float("nan")}, {"image": ""}, {"image": "\n\0"}, {"image": "../../x"}):
            with pytest.raises(provider_errors) as caught:
                await provider.create(stage.spec(**changes))
            assert caught.value.message.endswith(".")
        assert await listed(provider) == []
