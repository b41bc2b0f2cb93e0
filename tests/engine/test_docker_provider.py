"""The docker provider on a real engine: the contract's suite, and what containers alone promise."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiodocker
import pytest

from cloudrouter.providers.base import LABEL_ROUTER, Provider
from cloudrouter.providers.docker import DockerProvider
from cloudrouter.testing.provider_suite import ProviderSuite, Residue

pytestmark = pytest.mark.engine


def build_core() -> str:
    """A current build of our image; seconds when only the guest changed."""

    async def build() -> str:
        provider = DockerProvider(router_id=secrets.token_hex(8), clock=time.time)
        try:
            return await provider.build_image("core", progress=lambda _step: None)
        finally:
            await provider.aclose()

    return asyncio.run(build())


async def traces(router_id: str) -> list[str]:
    """Names of everything on the engine that carries a router's label."""
    filters = json.dumps({"label": [f"{LABEL_ROUTER}={router_id}"]})
    async with aiodocker.Docker() as docker:
        containers = await docker.containers.list(all=True, filters=filters)
        networks = await docker.networks.list(filters={"label": [f"{LABEL_ROUTER}={router_id}"]})
    return [*(container["Names"][0] for container in containers), *(network["Name"] for network in networks)]


class TestDockerProvider(ProviderSuite):
    provider_name = "docker"
    cancel_seeds = 10
    keeps_router = True

    @pytest.fixture(scope="class")
    @classmethod
    def image(cls) -> str:
        return build_core()

    @pytest.fixture(scope="class")
    @classmethod
    def router_id(cls) -> Iterator[str]:
        identity = secrets.token_hex(8)
        yield identity

        async def clear() -> list[str]:
            provider = DockerProvider(router_id=identity, clock=time.time)
            try:
                await provider.remove_network()
            finally:
                await provider.aclose()
            return await traces(identity)

        assert asyncio.run(clear()) == []

    async def clear_router(self, provider: Provider) -> None:
        assert isinstance(provider, DockerProvider)
        await provider.remove_network()

    @pytest.fixture
    def residue(self) -> Residue:
        return traces

