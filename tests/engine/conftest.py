"""Machines on the real engine for tests: one build of our image, routers that leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiodocker
import pytest

from cloudrouter.providers.base import LABEL_ROUTER, Handle
from cloudrouter.providers.docker import DockerProvider
from cloudrouter.testing.stage import Stage


def new_provider(router_id: str, **config: Any) -> DockerProvider:
    """A provider of its own for one test."""
    return DockerProvider(router_id=router_id, clock=time.time, config=config)


async def traces(router_id: str) -> list[str]:
    """Names of everything on the engine that carries a router's label."""
    label = {"label": [f"{LABEL_ROUTER}={router_id}"]}
    async with aiodocker.Docker() as docker:
        containers = await docker.containers.list(all=True, filters=json.dumps(label))
        networks = await docker.networks.list(filters=label)
        volumes = (await docker.volumes.list(filters=label))["Volumes"] or ()
    names = [*(container["Names"][0] for container in containers), *(network["Name"] for network in networks)]
    return [*names, *(volume["Name"] for volume in volumes)]


@pytest.fixture(scope="session")
def core_image() -> str:
    """A current build of our image; seconds when only the guest changed."""

    async def build() -> str:
        provider = new_provider(secrets.token_hex(8))
        try:
            return await provider.build_image("core", progress=lambda _step: None)
        finally:
            await provider.aclose()

    return asyncio.run(build())


@pytest.fixture(scope="module")
def shared_router_id() -> Iterator[str]:
    """One router for a module's tests, so that they share a network; nothing of it may be left at the end."""
    identity = secrets.token_hex(8)
    yield identity

    async def clear() -> list[str]:
        provider = new_provider(identity)
        try:
            await provider.remove_network()
        finally:
            await provider.aclose()
        return await traces(identity)

    assert asyncio.run(clear()) == []


@pytest.fixture
async def stage(core_image: str, shared_router_id: str) -> AsyncIterator[Stage]:
    """Providers and machines of one test of the docker provider."""

    async def clear_router(provider: Any, identity: str) -> None:
        if identity != shared_router_id:
            await provider.remove_network()

    made = Stage(
        "docker", None, router_id=shared_router_id, image=core_image, patience_s=30.0, clear_router=clear_router
    )
    try:
        yield made
    finally:
        await made.clear()


async def show(handle: Handle) -> Mapping[str, Any]:
    """What the engine says of a machine's container."""
    async with aiodocker.Docker() as docker:
        container = await docker.containers.get(handle.data["container_id"])
        return await container.show()
