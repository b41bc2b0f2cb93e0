"""`/v1/images`: what machines boot from; built, listed, removed, pruned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream

from cloudrouter.server.api.machines import NDJSON, strict_body
from cloudrouter.server.api.state import Asked, Services
from cloudrouter.server.services.images import FolderWork
from cloudrouter.wire import routes
from cloudrouter.wire.decode import decode
from cloudrouter.wire.errors import CloudRouterError, UsageError
from cloudrouter.wire.machines import BuildFolder, BuildImage, PruneImages

HEAD_LIMIT = 1 << 20
"""The first line of a folder's build: its settings; build arguments may be long."""


@get(routes.IMAGES, summary="List images")
async def list_images(services: Asked, provider: FromQuery[str | None] = None) -> dict[str, Any]:
    """Ours on the engine, with their parts, foreign images that have our guest, and what was built from folders."""
    return {"images": [dict(one) for one in await services.images.list(provider)]}


@post(routes.IMAGE_BUILD, summary="Build an image", status_code=200)
async def build_image(request: Request[Any, Any, Any], services: Asked, data: JSONBody[BuildImage]) -> Stream:
    """NDJSON: progress, then `{"image": ...}` or `{"error": ...}`; a closed connection cancels the build."""
    wanted = await strict_body(request, BuildImage)
    return _stream(services.images.build(wanted.name, provider=wanted.provider, rebuild=wanted.rebuild))


@post(
    routes.IMAGE_BUILD_FOLDER,
    summary="Build an image from a folder with a Dockerfile",
    status_code=200,
    request_max_body_size=None,
)
async def build_folder(request: Request[Any, Any, Any], services: Asked) -> Stream:
    """Body: one line of JSON (BuildFolder), then the folder as a tar. The answer is as for a build."""
    work = await _take_folder(request, services)
    return _stream(work.messages())


@post(
    routes.IMAGE_APP,
    summary="Give an app of one's own",
    status_code=200,
    request_max_body_size=None,
)
async def give_app(request: Request[Any, Any, Any], services: Asked) -> dict[str, str]:
    """Body: a dev container Feature's folder as a tar, 64 MiB at most. `{"app": "name@digest"}`, for images' names."""
    return {"app": await services.images.own_apps.take(request.stream())}


@post(routes.IMAGE_PRUNE, summary="Remove builds that nobody needs", status_code=200)
async def prune_images(
    request: Request[Any, Any, Any], services: Asked, data: JSONBody[PruneImages]
) -> Mapping[str, Any]:
    """What is neither current nor used by a machine; `all` takes what is current, too, `dry_run` only tells."""
    wanted = await strict_body(request, PruneImages)
    return await services.images.prune(wanted.provider, everything=wanted.all, dry_run=wanted.dry_run)


@delete(f"{routes.IMAGES}/{{name:path}}", summary="Remove an image", status_code=200)
async def remove_image(services: Asked, name: FromPath[str], provider: FromQuery[str | None] = None) -> dict[str, Any]:
    """Remove one of ours by name or reference; refused while a machine uses it."""
    plain = name.lstrip("/")
    await services.images.remove(plain, provider)
    return {"removed": plain}


async def _take_folder(request: Request[Any, Any, Any], services: Services) -> FolderWork:
    """Hand the body on as it comes. It is read to its end whatever happens, so that the sender hears the answer."""
    head = b""
    work: FolderWork | None = None
    fault: CloudRouterError | None = None
    try:
        async for piece in request.stream():
            if fault is not None:
                continue
            if work is None:
                head += piece
                try:
                    found = _read_head(head)
                    if found is None:
                        continue
                    work = services.images.begin_folder(found[0])
                except CloudRouterError as error:
                    fault = error
                    continue
                piece = found[1]
            await work.feed(piece)
    except BaseException:
        if work is not None:
            work.cancel()
        raise
    if fault is not None:
        raise fault
    if work is None:
        raise UsageError("The body must begin with a line of JSON that says what is built.")
    await work.end()
    return work


def _read_head(head: bytes) -> tuple[BuildFolder, bytes] | None:
    """(what is built, the tar's beginning); None while the line is not whole."""
    line, newline, rest = head.partition(b"\n")
    if len(line) > HEAD_LIMIT:
        raise UsageError("The first line of the body is too long.", fix="Shorten the build arguments.")
    if not newline:
        return None
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"The first line of the body is not JSON: {error}.") from error
    wanted: BuildFolder = decode(BuildFolder, value)
    return wanted, rest


def _stream(messages: AsyncIterator[Mapping[str, Any]]) -> Stream:
    async def lines() -> AsyncIterator[bytes]:
        async for message in messages:
            yield msgspec.json.encode(message) + b"\n"

    return Stream(lines(), media_type=NDJSON)


HANDLERS = [list_images, build_image, build_folder, give_app, prune_images, remove_image]
