"""docs/providers.md says what the code says."""

from __future__ import annotations

import re
import time
from dataclasses import fields
from pathlib import Path

import pytest

from cloudrouter.providers.base import Features
from cloudrouter.providers.docker.config import DockerConfig
from cloudrouter.providers.registry import BUILT_IN, load_provider

PAGE = (Path(__file__).parents[3] / "docs/providers.md").read_text()


def said(provider: str) -> dict[str, str]:
    """The column of a provider in the table of features."""
    rows = [re.findall(r"[^|]+", line) for line in PAGE.splitlines() if line.startswith("|")]
    column = [cell.strip().strip("`") for cell in rows[0]].index(provider)
    return {row[0].strip(): row[column].strip() for row in rows[2:]}


def words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else "none" if not value else str(value)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_table_when_compared_with_the_code_then_is_exact(name: str) -> None:
    features = load_provider(name)(router_id="r", clock=time.time).features()
    assert said(name) == {field.name: words(getattr(features, field.name)) for field in fields(Features)}


def test_settings_when_there_are_some_then_are_on_the_page() -> None:
    for field in fields(DockerConfig):
        assert f"`{field.name}`" in PAGE
