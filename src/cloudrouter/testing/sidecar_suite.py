"""The part of the providers' contract about sidecars; `ProviderSuite` has it, and it asks nothing of those without."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Handle, Provider, SidecarSeen
from cloudrouter.providers.errors import InvalidSpec, NotFound, NotRunning, Unsupported
from cloudrouter.testing.provider_ground import Ground, Residue
from cloudrouter.testing.stage import Stage, listed
from cloudrouter.wire.sidecars import Sidecar

ANSWERS = (
    "import socket\nserver = socket.create_server(('127.0.0.1', 7999))\nprint('up', flush=True)\n"
    "while True:\n    peer = server.accept()[0]\n    peer.sendall(b'beside')\n    peer.close()\n"
)
ASKS = "import socket; print(socket.create_connection(('127.0.0.1', 7999), 5).recv(99).decode())"
POLL_S = 0.05
GRACE_S = 1.0


class SidecarChecks(Ground):
    """The contract's part about sidecars; they run the machines' own image, of which only Python is needed."""

    def beside(self, stage: Stage, name: str = "side", script: str = ANSWERS, **changes: Any) -> Sidecar:
        """A sidecar that answers at port 7999."""
        return Sidecar(name, stage.spec().image, command=["python3", "-u", "-c", script], **changes)

    async def until_sidecar(self, provider: base.Sidecars, handle: Handle, state: str) -> SidecarSeen:
        """The machine's only sidecar, once it is in this state."""
        async with asyncio.timeout(self.patience_s):
            while True:
                (seen,) = await provider.list_sidecars(handle)
                if seen.state == state:
                    return seen
                await asyncio.sleep(POLL_S)

    async def test_create_when_sidecars_are_wanted_and_there_are_none_then_is_unsupported(
        self, provider: Provider, stage: Stage
    ) -> None:
        if isinstance(provider, base.Sidecars):
            pytest.skip("this provider has sidecars")
        with pytest.raises(Unsupported):
            await provider.create(stage.spec(sidecars=(self.beside(stage),)))
        assert await listed(provider) == []

    async def test_sidecar_when_its_machine_is_born_then_answers_on_its_localhost_and_is_no_machine(
        self, provider: Provider, stage: Stage
    ) -> None:
        sidecars = _sidecars_of(provider)
        handle, spec, inside = await self.born(provider, stage, sidecars=(self.beside(stage),))
        assert (await inside.run("sh", "-c", _patiently(ASKS))).stdout == b"beside\n"
        assert [seen.machine_id for seen in await listed(provider)] == [spec.machine_id]
        (seen,) = await sidecars.list_sidecars(handle, measure=True)
        assert (seen.name, seen.state, seen.limits in (base.NESTED, base.SHARED_OUT)) == ("side", base.RUNNING, True)
        assert seen.memory_bytes is None or seen.memory_bytes > 0
        assert await sidecars.read_sidecar_log(handle, name="side") == b"up\n"
        assert await provider.create(spec) == handle
        assert len(await sidecars.list_sidecars(handle)) == 1

    async def test_sidecar_when_its_machine_stops_and_starts_then_goes_along(
        self, provider: Provider, stage: Stage
    ) -> None:
        sidecars = _sidecars_of(provider)
        handle, _spec, inside = await self.born(provider, stage, sidecars=(self.beside(stage),))
        await provider.stop(handle, grace_s=GRACE_S)
        (seen,) = await sidecars.list_sidecars(handle)
        assert seen.state == base.STOPPED
        with pytest.raises(NotRunning):
            await sidecars.start_sidecar(handle, name="side")
        await provider.start(handle)
        await self.until_sidecar(sidecars, handle, base.RUNNING)
        assert (await inside.run("sh", "-c", _patiently(ASKS))).stdout == b"beside\n"

    async def test_sidecar_when_it_ends_by_itself_then_is_found_and_can_be_started_again(
        self, provider: Provider, stage: Stage
    ) -> None:
        sidecars = _sidecars_of(provider)
        ends = self.beside(stage, script="import sys; print('bye', flush=True); sys.exit(7)")
        handle, spec, _inside = await self.born(provider, stage, sidecars=(ends,))
        seen = await self.until_sidecar(sidecars, handle, base.STOPPED)
        assert (seen.exit_code, seen.ended_at is not None) == (7, True)
        assert await sidecars.machines_with_ended_sidecars() == [spec.machine_id]
        await sidecars.start_sidecar(handle, name="side")
        await self.until_sidecar(sidecars, handle, base.STOPPED)
        assert await sidecars.read_sidecar_log(handle, name="side", tail=1) == b"bye\n"

    async def test_sidecar_when_started_and_stopped_twice_then_is_success_and_unknown_is_not_found(
        self, provider: Provider, stage: Stage
    ) -> None:
        sidecars = _sidecars_of(provider)
        handle, _spec, _inside = await self.born(provider, stage, sidecars=(self.beside(stage),))
        for _ in range(2):
            await sidecars.stop_sidecar(handle, name="side", grace_s=GRACE_S)
        assert (await sidecars.list_sidecars(handle))[0].state == base.STOPPED
        for _ in range(2):
            await sidecars.start_sidecar(handle, name="side")
        for asked in (
            sidecars.start_sidecar(handle, name="other"),
            sidecars.stop_sidecar(handle, name="other"),
            sidecars.read_sidecar_log(handle, name="other"),
        ):
            with pytest.raises(NotFound):
                await asked

    async def test_create_when_a_sidecar_cannot_be_started_then_is_refused_and_leaves_nothing(
        self, provider: Provider, stage: Stage
    ) -> None:
        _sidecars_of(provider)
        for wrong in (
            Sidecar("side", stage.spec().image, command=["/no/such/program"]),
            Sidecar("side", self.unknown_image),
        ):
            with pytest.raises(InvalidSpec, match="side"):
                await provider.create(stage.spec(sidecars=(self.beside(stage, "good"), wrong)))
            assert await listed(provider) == []

    async def test_create_with_sidecars_when_cancelled_anywhere_then_is_listed_or_leaves_nothing(
        self, provider: Provider, stage: Stage, residue: Residue
    ) -> None:
        _sidecars_of(provider)
        loop = asyncio.get_running_loop()
        began = loop.time()
        both = (self.beside(stage, workspace="rw"), self.beside(stage, "other", "import time; time.sleep(99)"))
        await provider.delete(await provider.create(stage.spec(sidecars=both)))
        usual_s = loop.time() - began
        for seed in range(self.cancel_seeds):
            task = asyncio.create_task(provider.create(stage.spec(sidecars=both)))
            await asyncio.wait({task}, timeout=random.Random(seed).uniform(0, usual_s))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for seen in await listed(provider):
                await provider.delete(seen.handle)
            assert await listed(provider) == [], f"seed {seed}"
        await self.clear_router(provider)
        assert await residue(stage.router_id) == []

    async def test_workspace_when_a_sidecar_has_it_then_both_see_the_same_and_read_only_is_kept(
        self, provider: Provider, stage: Stage, residue: Residue
    ) -> None:
        sidecars = _sidecars_of(provider)
        script = "import time; open('/workspace/{0}', 'w').write('{0}'); print('wrote', flush=True); time.sleep(99)"
        writer = self.beside(stage, "writer", script.format("rw"), workspace="rw")
        reader = self.beside(stage, "reader", script.format("ro"), workspace="ro")
        handle, _spec, inside = await self.born(provider, stage, sidecars=(writer, reader))
        done = await inside.run("sh", "-c", _patiently("open('rw').read()", loud=False) + "; ls; touch mine && ls")
        assert (done.code, done.stdout) == (0, b"rw\nmine\nrw\n")
        async with asyncio.timeout(self.patience_s):
            while b"Read-only" not in (said := await sidecars.read_sidecar_log(handle, name="reader")):
                assert b"wrote" not in said
                await asyncio.sleep(POLL_S)
        await provider.stop(handle, grace_s=GRACE_S)
        await provider.start(handle)
        assert (await inside.run("ls")).stdout == b"mine\nrw\n"
        await provider.delete(handle)
        await self.clear_router(provider)
        assert await residue(stage.router_id) == []


def _patiently(script: str, *, loud: bool = True) -> str:
    """A shell's loop around Python until it succeeds; the machine's own end is near enough."""
    errors = "2>/dev/null" if loud else ">/dev/null 2>&1"
    return f'for i in $(seq 200); do python3 -c "{script}" {errors} && break; sleep 0.05; done'


def _sidecars_of(provider: Provider) -> base.Sidecars:
    if not isinstance(provider, base.Sidecars):
        pytest.skip("this provider has no sidecars")
    return provider
