"""A whole cache in the test's own loop, between a tool and a registry."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tests.unit.cache.client import Answer, Tool
from tests.unit.cache.fake_registry import Registry

from cloudrouter.cache import process
from cloudrouter.wire.packages import HOSTS, NPM, SOCKET

BOUND = 8 * 1024 * 1024


class Setting:
    """The cache, the registry behind it, and a clock that the test moves."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder = folder
        self.registry = registry
        self.time = time.time()  # certificates are looked at by the real clock
        self.cache: process.Cache
        self._task: asyncio.Task[None] | None = None
        self._tools: list[Tool] = []

    @property
    def socket(self) -> str:
        return str(self.folder / "door" / SOCKET)

    async def open(self, *, bound: int = BOUND) -> None:
        """Begin the cache; what is kept in the folder is there again."""
        (self.folder / "door").mkdir(parents=True, exist_ok=True)
        mirrors = dict.fromkeys(HOSTS, self.registry.url)
        self.cache = process.Cache(str(self.folder), bound_bytes=bound, mirrors=mirrors, now=lambda: self.time)
        self._task = asyncio.create_task(self.cache.door.serve())
        while not Path(self.socket).exists():
            assert not self._task.done(), self._task
            await asyncio.sleep(0)

    async def close(self) -> None:
        for tool in self._tools:
            await tool.close()
        self._tools.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self.cache.aclose()
            os.unlink(self.socket)

    async def tool(self, host: str = NPM) -> Tool:
        """A connection that is closed at the end."""
        tool = await Tool.connect(self.socket, host, self.cache.authority.pem)
        self._tools.append(tool)
        return tool

    async def get(self, target: str, host: str = NPM, **headers: str) -> Answer:
        """One request on a connection of its own."""
        tool = await self.tool(host)
        return await tool.ask(target, **headers)


@asynccontextmanager
async def make_setting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setting]:
    registry = Registry(folder)
    monkeypatch.setenv("SSL_CERT_FILE", str(registry.authority))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    await registry.start()
    setting = Setting(folder / "packages", registry)
    try:
        await setting.open()
        yield setting
    finally:
        await setting.close()
        await registry.stop()


@pytest_asyncio.fixture
async def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setting]:
    async with make_setting(tmp_path, monkeypatch) as made:
        yield made
