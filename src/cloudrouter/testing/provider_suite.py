"""The contract of `providers.base` in code: subclass, say how the provider is made, and pytest does the rest.

    class TestMine(ProviderSuite):
        provider_name = "mine"

        @pytest.fixture
        def config(self): return {...}

The machines' image must hold our guest: the suite looks into machines through it.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Handle, MachineSpec, Need, Observation, Provider
from cloudrouter.providers.errors import (
    InvalidSpec,
    NoCapacity,
    NotConfigured,
    NotFound,
    NotRunning,
    Unreachable,
    Unsupported,
    provider_errors,
)
from cloudrouter.providers.registry import known_providers, load_provider
from cloudrouter.testing.inside import Inside, exchange
from cloudrouter.testing.stage import Stage, listed, watchdog
from cloudrouter.wire import ids

PROTOCOLS = {
    "pause": base.Pausable,
    "resize": base.Resizable,
    "snapshots": base.Snapshots,
    "volumes": base.Volumes,
    "console": base.Console,
    "images": base.Images,
}
"""Feature flag -> the optional protocol that it stands for."""

HOSTILE_TEXTS = (
    "line\nbreak \"quoted\" 'twice' \\ $(id) `id` ${HOME} %s {{x}}",
    "x" * 65536,
    "snow\N{SNOWMAN}man \N{PILE OF POO} \u202e",
    f"{base.LABEL_ROUTER}=other,{base.LABEL_MACHINE}=cr_22222222",
)

POLL_S = 0.02

UNTIL_CLOSED = """
import socket, sys, time
while not socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(0.02)
"""

Residue = Callable[[str], Awaitable[list[str]]]


class ProviderSuite:
    """Override what stands on top; leave the tests alone."""

    provider_name: ClassVar[str]
    patience_s: ClassVar[float] = 30.0
    """How long a machine may take to be running and its guest to answer."""
    cancel_seeds: ClassVar[int] = 50
    """So many creations are cut at random moments."""
    pace_s: ClassVar[float] = 0.05
    """The event loop may not stand still for longer than this."""
    keeps_router: ClassVar[bool] = False
    """Tests share a router id, and the subclass calls `clear_router` for it at the end: for slow backends."""
    unknown_image: ClassVar[str] = "cloudrouter-no-such-image:0"

    @pytest.fixture
    def config(self) -> Mapping[str, Any] | None:
        """The provider's config."""
        return None

    @pytest.fixture
    def image(self) -> str:
        """An image with our guest."""
        return "core"

    @pytest.fixture
    def router_id(self) -> str:
        """The router that the machines belong to."""
        return secrets.token_hex(8)

    async def clear_router(self, provider: Provider) -> None:
        """Remove what belongs to a router as a whole, such as its network."""

    @pytest.fixture
    def residue(self) -> Residue:
        """Looks at the backend itself for what a router id left there; names of the leftovers."""

        async def nothing(_router_id: str) -> list[str]:
            return []

        return nothing

    @pytest.fixture
    async def stage(self, config: Mapping[str, Any] | None, router_id: str, image: str) -> AsyncIterator[Stage]:
        """Providers and specs of one test."""

        async def clear_router(provider: Provider, identity: str) -> None:
            if identity != router_id or not self.keeps_router:
                await self.clear_router(provider)

        made = Stage(
            self.provider_name,
            config,
            router_id=router_id,
            image=image,
            patience_s=self.patience_s,
            clear_router=clear_router,
        )
        try:
            yield made
        finally:
            await made.clear()

    @pytest.fixture
    def provider(self, stage: Stage) -> Provider:
        """The provider under test."""
        return stage.provider()

    async def until(
        self, provider: Provider, handle: Handle, *states: str, patience_s: float | None = None
    ) -> Observation:
        """The first observation in one of these states; fails when patience ends."""
        ends_at = time.monotonic() + (patience_s or self.patience_s)
        while True:
            seen = await provider.inspect(handle)
            if seen.state in states:
                return seen
            if time.monotonic() > ends_at:
                pytest.fail(f"{seen.machine_id} is {seen.state} ({seen.reason}) for too long, not {states}")
            await asyncio.sleep(POLL_S)

    async def born(self, provider: Provider, stage: Stage, **changes: Any) -> tuple[Handle, MachineSpec, Inside]:
        """A running machine."""
        spec = stage.spec(**changes)
        handle = await provider.create(spec)
        await self.until(provider, handle, base.RUNNING)
        return handle, spec, stage.inside(provider, handle, spec)

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

    async def test_create_when_the_disk_cannot_be_limited_then_is_unsupported(
        self, provider: Provider, stage: Stage
    ) -> None:
        if provider.features().disk_limit:
            pytest.skip("this provider limits disks")
        with pytest.raises(Unsupported, match="disk"):
            await provider.create(stage.spec(disk_bytes=1 << 30))
        assert await listed(provider) == []

    async def test_create_when_refused_then_the_error_is_of_the_family(self, provider: Provider, stage: Stage) -> None:
        for changes in ({"cpu": float("nan")}, {"image": ""}, {"image": "\n\0"}, {"image": "../../x"}):
            with pytest.raises(provider_errors) as caught:
                await provider.create(stage.spec(**changes))
            assert caught.value.message.endswith(".")
        assert await listed(provider) == []

    # Life

    async def test_stop_and_start_when_repeated_then_are_success(self, provider: Provider, stage: Stage) -> None:
        handle, _spec, inside = await self.born(provider, stage)
        await inside.run("true")
        for _ in range(2):
            await provider.stop(handle, grace_s=2.0)
            assert (await provider.inspect(handle)).state == base.STOPPED
        for _ in range(2):
            await provider.start(handle)
            await self.until(provider, handle, base.RUNNING)
        assert (await inside.run("true")).code == 0

    async def test_stop_when_commands_ignore_their_end_then_ends_them_all(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not provider.features().stop_keeps_disk:
            pytest.skip("nothing tells afterwards what went on")
        handle, _spec, inside = await self.born(provider, stage)
        stubborn = "trap '' TERM HUP INT; while :; do date +%s%N > ~/beat; sleep 0.02; done"
        await inside.run("sh", "-c", f'setsid sh -c "{stubborn}" >/dev/null 2>&1 </dev/null &')
        await inside.run("sh", "-c", "until [ -s ~/beat ]; do sleep 0.02; done")
        await provider.stop(handle, grace_s=0.5)
        assert (await provider.inspect(handle)).state == base.STOPPED
        await provider.start(handle)
        done = await inside.run("sh", "-c", "cat ~/beat; sleep 0.3; cat ~/beat")
        first, second = done.stdout.split()
        assert first == second

    async def test_disk_when_stopped_and_started_then_is_kept_if_and_only_if_the_flag_says_so(
        self, provider: Provider, stage: Stage
    ) -> None:
        handle, _spec, inside = await self.born(provider, stage)
        await inside.run("sh", "-c", "echo kept > ~/mark && sync")
        await provider.stop(handle)
        await provider.start(handle)
        done = await inside.run("sh", "-c", "cat ~/mark")
        assert (done.stdout == b"kept\n") is provider.features().stop_keeps_disk

    async def test_pause_when_repeated_then_freezes_and_keeps_memory(self, provider: Provider, stage: Stage) -> None:
        if not isinstance(provider, base.Pausable):
            pytest.skip("this provider cannot pause")
        handle, _spec, inside = await self.born(provider, stage)
        await inside.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $! > ~/pid")
        for _ in range(2):
            await provider.pause(handle)
            assert (await provider.inspect(handle)).state == base.PAUSED
        with pytest.raises(NotRunning):
            await provider.dial(handle, port=_spec.boot.port)
        for _ in range(2):
            await provider.resume(handle)
            await self.until(provider, handle, base.RUNNING)
        done = await inside.run("sh", "-c", "kill -0 $(cat ~/pid)")
        assert (done.code == 0) is provider.features().pause_keeps_memory

    async def test_pause_when_stopped_then_is_not_running_and_when_gone_then_is_not_found(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not isinstance(provider, base.Pausable):
            pytest.skip("this provider cannot pause")
        handle, _spec, _inside = await self.born(provider, stage)
        await provider.stop(handle, grace_s=0)
        with pytest.raises(NotRunning):
            await provider.pause(handle)
        await provider.delete(handle)
        with pytest.raises(NotFound):
            await provider.resume(handle)

    async def test_stop_and_delete_when_frozen_then_work(self, provider: Provider, stage: Stage) -> None:
        if not isinstance(provider, base.Pausable):
            pytest.skip("this provider cannot pause")
        handle, _spec, _inside = await self.born(provider, stage)
        await provider.pause(handle)
        await provider.stop(handle, grace_s=1)
        assert (await provider.inspect(handle)).state == base.STOPPED
        await provider.start(handle)
        await provider.pause(handle)
        await provider.delete(handle)
        assert (await provider.inspect(handle)).state == base.GONE

    async def test_resize_when_it_cannot_be_then_is_refused(self, provider: Provider, stage: Stage) -> None:
        if not isinstance(provider, base.Resizable):
            pytest.skip("this provider cannot resize")
        handle, spec, _inside = await self.born(provider, stage)
        await provider.resize(handle, cpu=spec.cpu, memory_bytes=spec.memory_bytes * 2)
        with pytest.raises((InvalidSpec, NoCapacity)):
            await provider.resize(handle, cpu=spec.cpu, memory_bytes=1 << 60)
        await provider.delete(handle)
        with pytest.raises(NotFound):
            await provider.resize(handle, cpu=spec.cpu, memory_bytes=spec.memory_bytes)

    async def test_console_when_read_then_is_bounded_and_when_gone_then_is_not_found(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not isinstance(provider, base.Console):
            pytest.skip("this provider has no console")
        handle, _spec, _inside = await self.born(provider, stage)
        assert len(await provider.read_console(handle, limit_bytes=10)) <= 10
        await provider.delete(handle)
        with pytest.raises(NotFound):
            await provider.read_console(handle)

    async def test_dial_when_connected_then_carries_a_mebibyte_both_ways_and_a_half_close(
        self, provider: Provider, stage: Stage
    ) -> None:
        handle, _spec, inside = await self.born(provider, stage)
        data = random.Random(1).randbytes(1 << 20)
        async with inside.serving_echo() as port:
            sock = await provider.dial(handle, port=port)
            with sock:
                assert sock.gettimeout() == 0.0
                async with asyncio.timeout(self.patience_s):
                    assert await exchange(sock, data) == data

    async def test_dial_when_nothing_listens_then_is_unreachable(self, provider: Provider, stage: Stage) -> None:
        handle, _spec, inside = await self.born(provider, stage)
        async with inside.serving_echo() as port:
            pass
        # The server ends soon after its stream.
        await inside.run("python3", "-c", UNTIL_CLOSED, str(port))
        with pytest.raises(Unreachable):
            await provider.dial(handle, port=port)

    async def test_dial_when_stopped_or_gone_then_is_not_running(self, provider: Provider, stage: Stage) -> None:
        handle, spec, _inside = await self.born(provider, stage)
        await provider.stop(handle, grace_s=0)
        with pytest.raises(NotRunning):
            await provider.dial(handle, port=spec.boot.port)
        await provider.delete(handle)
        with pytest.raises(NotRunning):
            await provider.dial(handle, port=spec.boot.port)

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
