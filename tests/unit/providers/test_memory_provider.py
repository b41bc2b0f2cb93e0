"""The memory provider under the contract's suite, and what is its own: process trees, files, folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.testing.provider_suite import ProviderSuite, Residue


class TestMemoryProvider(ProviderSuite):
    provider_name = "memory"

    @pytest.fixture
    def config(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"root": str(tmp_path / "machines")}

    @pytest.fixture
    def residue(self, tmp_path: Path) -> Residue:
        async def look(_router_id: str) -> list[str]:
            root = tmp_path / "machines"
            return [*os.listdir(root), *processes_below(str(root))]

        return look


def processes_below(root: str) -> list[str]:
    """Processes whose environment names a folder below the root."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if root.encode() in Path(f"/proc/{name}/environ").read_bytes():
                found.append(f"process {name}")
        except OSError:
            continue
    return found
