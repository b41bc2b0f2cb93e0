"""Short folders for sockets, and fake routers that are stopped again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.client.fake_router import FakeRouter


@pytest.fixture
def short_dir() -> Iterator[str]:
    """A private folder whose path leaves room for a socket's name (108 bytes at most)."""
    folder = tempfile.mkdtemp(prefix="cr-", dir="/tmp")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def fake_router(short_dir: str) -> Iterator[Callable[..., FakeRouter]]:
    """Make a running fake router: `fake_router(handle=..., talk=...)`."""
    made: list[FakeRouter] = []

    def make(**given: Any) -> FakeRouter:
        router = FakeRouter(f"{short_dir}/{len(made)}.sock", **given)
        router.start()
        made.append(router)
        return router

    yield make
    for router in made:
        router.stop()
        assert not router.errors
