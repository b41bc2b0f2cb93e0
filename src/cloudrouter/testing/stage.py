"""What one conformance test stands on: providers and machines that are all removed at its end, and a watchdog."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from cloudrouter.providers.base import Handle, MachineSpec, Observation, Provider, Volumes
from cloudrouter.providers.registry import load_provider
from cloudrouter.testing.inside import Inside
from cloudrouter.wire import ids
from cloudrouter.wire.boot import GuestBoot

TICK_S = 0.002

Clearing = Callable[[Provider, str], Awaitable[None]]


class Stage:
    """One test's providers and machines; everything is removed when it ends, and what stays fails the test."""

    def __init__(
        self,
        provider_name: str,
        config: Mapping[str, Any] | None,
        *,
        router_id: str,
        image: str,
        patience_s: float,
        clear_router: Clearing,
    ) -> None:
        self._provider_name = provider_name
        self._config = config
        self._image = image
        self._patience_s = patience_s
        self._clear_router = clear_router
        self.router_id = router_id
        self._providers: list[Provider] = []
        self._router_ids: set[str] = set()
        self._tokens: dict[str, str] = {}

    def provider(self, *, router_id: str | None = None) -> Provider:
        """A new provider object on the same backend."""
        identity = router_id or self.router_id
        made = load_provider(self._provider_name)(router_id=identity, clock=time.time, config=self._config)
        self._providers.append(made)
        self._router_ids.add(identity)
        return made

    def spec(self, **changes: Any) -> MachineSpec:
        """A small machine that nobody else has."""
        machine_id, token = ids.new_machine_id(), secrets.token_urlsafe(32)
        self._tokens[machine_id] = token
        made = MachineSpec(
            machine_id=machine_id,
            owner="suite",
            router_id=self.router_id,
            image=self._image,
            cpu=1.0,
            memory_bytes=512 * 1024**2,
            boot=GuestBoot(machine_id, hashlib.sha256(token.encode()).hexdigest()),
            labels={"purpose": "suite"},
        )
        return replace(made, **changes)

    def inside(self, provider: Provider, handle: Handle, spec: MachineSpec) -> Inside:
        """A way into a machine of this stage."""
        token = self._tokens[spec.machine_id]
        return Inside(provider, handle, token=token, port=spec.boot.port, patience_s=self._patience_s)

    async def clear(self) -> None:
        """Delete every machine and volume of every router of this test, and close the providers."""
        for identity in sorted(self._router_ids):
            provider = self.provider(router_id=identity)
            for seen in await listed(provider):
                await provider.delete(seen.handle)
            if isinstance(provider, Volumes):
                for volume in await provider.list_volumes():
                    await provider.remove_volume(volume.name, owner=volume.owner)
            await self._clear_router(provider, identity)
        for provider in self._providers:
            await provider.aclose()


async def listed(provider: Provider) -> list[Observation]:
    """All that `list` shows."""
    return [seen async for seen in provider.list()]


@asynccontextmanager
async def watchdog() -> AsyncIterator[list[float]]:
    """Ticks on the event loop; the list holds by how many seconds each tick was late."""
    gaps = [0.0]

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_S)
            gaps.append(time.perf_counter() - before - TICK_S)

    task = asyncio.create_task(tick())
    try:
        yield gaps
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
