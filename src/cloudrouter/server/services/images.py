"""Images: what can be run, building ours, removing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from cloudrouter.providers.base import Images
from cloudrouter.server.services.context import Context
from cloudrouter.wire.errors import CloudRouterError, Conflict, Unsupported


class ImageService:
    """Verbs on the images of one provider."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def _provider(self, name: str | None) -> Images:
        provider = self._context.provider(name or self._context.settings.default_provider)
        if not isinstance(provider, Images):
            raise Unsupported(f"The provider {provider.name} has no images.", feature="images")
        return provider

    async def list(self, provider: str | None = None) -> list[Mapping[str, Any]]:
        """Our images, newest first."""
        return await self._provider(provider).list_images()

    async def remove(self, name: str, provider: str | None = None) -> None:
        """Remove one; Conflict while machines use it."""
        users = [row.id for row in self._context.store.living() if row.image == name]
        if users:
            raise Conflict(
                f"The image {name} is used by {', '.join(users[:5])}.",
                fix="Delete these machines first.",
                next=f"cloudrouter delete {users[0]}",
            )
        await self._provider(provider).remove_image(name)

    async def build(self, name: str, *, provider: str | None, rebuild: bool) -> AsyncIterator[dict[str, Any]]:
        """Build and tell: progress steps, then `{"image": {...}}` or `{"error": {...}}`. Leaving early cancels."""
        images = self._provider(provider)
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        task = asyncio.ensure_future(
            images.build_image(name, progress=lambda step: queue.put_nowait({"progress": dict(step)}), rebuild=rebuild)
        )
        task.add_done_callback(lambda _task: queue.put_nowait({}))
        try:
            while message := await queue.get():
                yield message
            try:
                yield {"image": {"name": name, "reference": task.result()}}
            except CloudRouterError as error:
                yield {"error": error.to_json()}
        finally:
            task.cancel()
