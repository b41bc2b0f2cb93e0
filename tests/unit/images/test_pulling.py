"""Fetching images: patience with registries, and what is said of those that give nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from tests.unit.images.fakes import FakeEngine

from cloudrouter.images import pulling
from cloudrouter.wire.errors import CloudRouterError, NoCapacity, NotFound, Unreachable


async def test_pull_when_registry_is_silent_then_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    class Silent(FakeEngine):
        async def pull(self, reference: str) -> AsyncGenerator[Mapping[str, Any], None]:
            try:
                await asyncio.Event().wait()
                yield {}
            finally:
                ended.append(reference)

    monkeypatch.setattr(pulling, "ANSWER_S", 0.01)
    assert "no answer" in await pulling.pull(Silent(), "debian:x", note=lambda text: None)
    assert ended == ["debian:x"]


async def test_pull_when_engine_is_gone_then_that_is_the_error() -> None:
    class Gone(FakeEngine):
        async def pull(self, reference: str) -> AsyncGenerator[Mapping[str, Any], None]:
            raise Unreachable("no engine")
            yield {}

    with pytest.raises(Unreachable, match="no engine"):
        await pulling.pull(Gone(), "debian:x", note=lambda text: None)


async def test_pull_when_the_registry_gives_it_then_there_is_no_reason() -> None:
    engine, said = FakeEngine(), []
    assert await pulling.pull(engine, "debian:x", note=said.append) == ""
    assert said == ["abc Pulling"]
    assert await engine.inspect_image("debian:x") is not None


@pytest.mark.parametrize(
    ("reason", "kind", "words"),
    [
        ('The container engine answered 500: Get "https://r/v2/": dial tcp: lookup r: no such host', Unreachable,
         ["docker load", "--build", "mmdebstrap", "no such host"]),
        ("no answer within 10 s", Unreachable, ["no answer within 10 s", "docker load"]),
        ("The container engine has no such thing: pull access denied for x, repository does not exist", NotFound,
         ["docker login", "pull access denied"]),
        ("manifest for debian:nope not found: manifest unknown", NotFound, ["Check the name"]),
        ("write /var: no space left on device", NoCapacity, ["image prune"]),
    ],
)  # fmt: skip
def test_refused_when_told_why_then_error_has_three_lines_that_help(
    reason: str, kind: type[CloudRouterError], words: list[str]
) -> None:
    error = pulling.refused("debian:nope", reason)
    assert type(error) is kind
    text = error.to_text()
    assert len(text.splitlines()) == 3
    assert "debian:nope" in text
    assert "answered 500" not in text
    for word in words:
        assert word in text
