"""Images: what can be run, building and preparing them, removing them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from cloudrouter.images.folders import FolderBuild
from cloudrouter.providers.base import Images, Progress
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.ownapps import OwnApps
from cloudrouter.server.services.readying import Readying
from cloudrouter.wire import flavours
from cloudrouter.wire.errors import CloudRouterError, Conflict, Unsupported
from cloudrouter.wire.machines import BuildFolder

Message = dict[str, Any]
PIECES_AHEAD = 8
"""So many pieces of a folder wait for an engine that is slower than the sender."""


class ImageService:
    """Verbs on the images of one provider."""

    def __init__(self, context: Context, readying: Readying) -> None:
        self._context = context
        self._readying = readying
        self.own_apps = OwnApps(f"{context.settings.state_dir}/apps")
        for provider in context.providers.values():
            if isinstance(provider, Images):
                provider.use_apps(self.own_apps.folder)

    def _provider(self, name: str | None) -> Images:
        provider = self._context.provider(name or self._context.settings.default_provider)
        if not isinstance(provider, Images):
            raise Unsupported(f"The provider {provider.name} has no images.", feature="images")
        return provider

    async def list(self, provider: str | None = None) -> list[Mapping[str, Any]]:
        """Ours, newest first, behind what is being built in the background."""
        images = self._provider(provider)
        name = provider or self._context.settings.default_provider
        return [*self._readying.list(name), *await images.list_images()]

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

    async def prune(self, provider: str | None, *, everything: bool, dry_run: bool) -> Mapping[str, Any]:
        """Remove builds that nobody needs, see the provider contract, and people's apps that are in none any more."""
        images = self._provider(provider)
        answer = await images.prune_images(everything=everything, dry_run=dry_run)
        if not dry_run:
            needed = {app for row in self._context.store.living() for app in flavours.split(row.image)[1]}
            for one in await images.list_images():
                needed.update(one.get("apps") or ())
            await self.own_apps.forget(needed)
        return answer

    def build(self, name: str, *, provider: str | None, rebuild: bool) -> AsyncIterator[Message]:
        """Build and tell: progress steps, then `{"image": {...}}` or `{"error": {...}}`. Leaving early cancels."""
        images = self._provider(provider)

        async def work(progress: Progress) -> Mapping[str, Any]:
            await images.check_image(name)
            return {"name": name, "reference": await images.build_image(name, progress=progress, rebuild=rebuild)}

        return _Work(work).messages()

    def begin_folder(self, wanted: BuildFolder) -> FolderWork:
        """Begin to build from a person's folder, whose tar is fed to what this returns."""
        images = self._provider(wanted.provider)
        order = FolderBuild(
            source=wanted.source,
            origin=wanted.origin,
            dockerfile=wanted.dockerfile,
            target=wanted.target,
            buildargs=wanted.buildargs,
            proxies=wanted.proxies,
            tag=wanted.tag,
            rebuild=wanted.rebuild,
        )
        order.check()
        return FolderWork(images, order)


class _Work:
    """A build that runs beside its listener."""

    def __init__(self, work: Callable[[Progress], Awaitable[Mapping[str, Any]]]) -> None:
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.ensure_future(work(lambda step: self._queue.put_nowait({"progress": dict(step)})))
        self._task.add_done_callback(lambda _task: self._queue.put_nowait({}))

    def cancel(self) -> None:
        """End it; nobody listens any more."""
        self._task.cancel()

    async def messages(self) -> AsyncIterator[Message]:
        """Progress as it comes, then the image or the error. Leaving early cancels the build."""
        try:
            while message := await self._queue.get():
                yield message
            try:
                yield {"image": self._task.result()}
            except CloudRouterError as error:
                yield {"error": error.to_json()}
        finally:
            self._task.cancel()


class FolderWork(_Work):
    """A build whose folder comes in pieces."""

    def __init__(self, images: Images, order: FolderBuild) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(PIECES_AHEAD)

        async def tar() -> AsyncIterator[bytes]:
            while piece := await self._pieces.get():
                yield piece

        super().__init__(lambda progress: images.build_folder(order, tar(), progress=progress))

    async def feed(self, piece: bytes) -> None:
        """The next piece of the tar; waits for a slow engine, and drops what a failed build does not take."""
        if piece:
            await self._put(piece)

    async def end(self) -> None:
        """That was all."""
        await self._put(b"")

    async def _put(self, piece: bytes) -> None:
        putting = asyncio.ensure_future(self._pieces.put(piece))
        await asyncio.wait({putting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        putting.cancel()
