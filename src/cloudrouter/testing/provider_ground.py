"""What the parts of the providers' contract stand on: the fixtures that a subclass overrides, and machines to test."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, ClassVar

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Handle, MachineSpec, Observation, Provider
from cloudrouter.testing.inside import Inside
from cloudrouter.testing.stage import Stage

POLL_S = 0.02

Residue = Callable[[str], Awaitable[list[str]]]


class Ground:
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
