"""Measuring real containers: the kernel's counters and the engine's statistics tell the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloudrouter.providers.docker import DockerProvider
from cloudrouter.testing.stage import Stage

pytestmark = pytest.mark.engine


async def test_both_ways_of_measuring_when_used_then_agree(stage: Stage) -> None:
    provider, spec = stage.provider(), stage.spec()
    assert isinstance(provider, DockerProvider)
    handle = await provider.create(spec)
    inside = stage.inside(provider, handle, spec)
    await inside.run("python3", "-c", "import time\nwhile time.process_time() < 0.3: pass")
    await inside.run("sh", "-c", "head -c 20000000 /dev/zero > ~/written; sync")
    here = await provider.measure(handle)
    if not (await provider._host()).is_local:
        pytest.skip("the engine is on another host")
    assert provider._meter._groups, "the kernel's counters were not used"

    asked = stage.provider()
    assert isinstance(asked, DockerProvider)
    facts: Any = replace(await asked._host(), is_local=False)
    asked._facts = facts
    there = await asked.measure(handle)
    assert not asked._meter._groups
    assert here.cpu_seconds is not None
    assert there.cpu_seconds is not None
    assert 0.3 <= here.cpu_seconds <= there.cpu_seconds + 1e-6 <= here.cpu_seconds + 5
    assert here.memory_bytes is not None
    assert abs((there.memory_bytes or 0) - here.memory_bytes) < 32 << 20
    assert here.processes == pytest.approx(there.processes, abs=4)
    assert here.network_received_bytes == pytest.approx(there.network_received_bytes, abs=1 << 20)
    for seen in (here, there):
        assert seen.disk_bytes is not None
        assert 20_000_000 <= seen.disk_bytes < 60_000_000
