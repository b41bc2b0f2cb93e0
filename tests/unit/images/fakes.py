"""An engine made of dictionaries, which keeps what it was asked to build."""

from __future__ import annotations

import asyncio
import io
import itertools
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from cloudrouter.images.engine import BuildOrder, ImageFacts, ImageSettings
from cloudrouter.wire.errors import NotFound, ProviderBug

Script = Callable[[BuildOrder], list[Mapping[str, Any]]]


def names_in(context: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(context)) as archive:
        return {entry.name: entry for entry in archive.getmembers()}


def read_from(context: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(context)) as archive:
        source = archive.extractfile(name)
        assert source is not None
        return source.read()


class FakeEngine:
    """`pulls` says whether a registry answers; `script` gives the output of a build; `keeps` whether it tags."""

    def __init__(self, *, pulls: bool = True) -> None:
        self.images: dict[str, ImageFacts] = {}
        self.orders: list[BuildOrder] = []
        self.removed: list[str] = []
        self.pulls = pulls
        self.keeps = True
        self.own_apps = ""
        self.started = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.script: Script = lambda order: [{"stream": "Step 1/1 : FROM x\n"}, {"stream": "fine\n"}]
        self.imported = b""
        self.leaves_stage = True
        self._numbers = itertools.count(1)
        self.now = 1000.0
        self.settings: dict[str, dict[str, Any]] = {}
        """Tag -> what is unusual about that image."""
        self.used: set[str] = set()
        self.contexts: list[bytes] = []
        self.sizes: list[int | None] = []
        """What `count_bytes` answers, one after the other."""
        self.refusal = "no such host"
        """Why a registry gives nothing."""

    def add(self, tag: str, labels: Mapping[str, str] | None = None, *, created_at: float = 0.0) -> ImageFacts:
        key = f"sha256:{next(self._numbers):012x}{'0' * 52}"
        for other, facts in list(self.images.items()):
            if tag in facts.tags:
                left = tuple(name for name in facts.tags if name != tag)
                self.images[other] = ImageFacts(other, left, facts.labels, 1, facts.created_at)
        tags = (tag,) if tag else ()
        self.images[key] = ImageFacts(key, tags, dict(labels or {}), 1, created_at)
        return self.images[key]

    async def pull(self, reference: str) -> AsyncGenerator[Mapping[str, Any], None]:
        if not self.pulls:
            raise ProviderBug(self.refusal)
        yield {"id": "abc", "status": "Pulling"}
        self.add(reference)

    async def import_tar(self, chunks: AsyncIterator[bytes], *, reference: str, changes: Sequence[str]) -> None:
        data = b""
        async for chunk in chunks:
            data += chunk
        self.imported = data
        self.add(reference)

    async def build(self, order: BuildOrder) -> AsyncGenerator[Mapping[str, Any], None]:
        self.orders.append(order)
        self.started.set()
        if not isinstance(order.context, bytes):
            self.contexts.append(b"".join([piece async for piece in order.context]))
        if self.hold is not None:
            await self.hold.wait()
        if self.leaves_stage and "LEFTOVER" in order.buildargs:
            self.add("", {"cloudrouter.dev/leftover": order.buildargs["LEFTOVER"]}, created_at=self.now)
        events = self.script(order)
        for event in events:
            yield event
        if self.keeps and not any(event.get("error") for event in events):
            self.add(order.tag, order.labels, created_at=self.now)

    async def inspect_image(self, reference: str) -> ImageFacts | None:
        for key, facts in self.images.items():
            if reference == key or reference in facts.tags:
                return facts
        return None

    async def inspect_settings(self, reference: str) -> ImageSettings | None:
        facts = await self.inspect_image(reference)
        if facts is None:
            return None
        usual: dict[str, Any] = {"os": "linux", "architecture": "amd64", "labels": facts.labels}
        return ImageSettings(id=facts.id, **{**usual, **self.settings.get(reference, {})})

    async def architecture(self) -> str:
        return "amd64"

    async def images_in_use(self) -> set[str]:
        return self.used

    async def count_bytes(self) -> int | None:
        return self.sizes.pop(0) if self.sizes else None

    async def find_images(self, *, label: str, dangling: bool = False) -> list[ImageFacts]:
        key, _, value = label.partition("=")
        return [
            facts
            for facts in self.images.values()
            if key in facts.labels and (not value or facts.labels[key] == value) and not (dangling and facts.tags)
        ]

    async def untag_image(self, reference: str) -> None:
        facts = await self.inspect_image(reference)
        if facts is None:
            raise NotFound(f"no {reference}")
        self.removed.append(reference)
        left = tuple(tag for tag in facts.tags if tag != reference)
        if left:
            self.images[facts.id] = ImageFacts(facts.id, left, facts.labels, 1, facts.created_at)
        else:
            del self.images[facts.id]

    async def tag_image(self, reference: str, *, new: str) -> None:
        facts = await self.inspect_image(reference)
        assert facts is not None
        if new not in facts.tags:
            for key, other in list(self.images.items()):
                left = tuple(tag for tag in other.tags if tag != new)
                self.images[key] = ImageFacts(key, left, other.labels, 1, other.created_at)
            self.images[facts.id] = ImageFacts(facts.id, (*facts.tags, new), facts.labels, 1, facts.created_at)
