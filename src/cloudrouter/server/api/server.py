"""`/v1/server`, `/v1/doctor`, `/v1/events`, `/v1/images`: the router itself and what it keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream

from cloudrouter.server.api.machines import NDJSON, strict_body
from cloudrouter.server.api.state import Asked
from cloudrouter.server.services.views import rfc3339
from cloudrouter.wire import routes
from cloudrouter.wire.machines import BuildImage, Event


@get(routes.SERVER, summary="The router's facts")
async def show_server(services: Asked) -> dict[str, Any]:
    """pid, version, socket, gateway_url, router_id, state_dir, started_at, machines, providers."""
    return services.status.facts()


@post(routes.SERVER_STOP, summary="Stop the router", status_code=202)
async def stop_server(services: Asked) -> dict[str, Any]:
    """End this router; machines and their background commands go on."""
    services.status.stopping.set()
    return {"stopping": True, "pid": services.status.facts()["pid"]}


@get(routes.DOCTOR, summary="Check this host")
async def show_doctor(services: Asked) -> dict[str, Any]:
    """Every check with its remedy."""
    return {"checks": await services.doctor.checks()}


@get(routes.EVENTS, summary="Read the event log")
async def list_events(
    services: Asked, after: FromQuery[int] = 0, machine: FromQuery[str | None] = None
) -> dict[str, list[Event]]:
    """Events with a greater sequence number, at most 1000, oldest first."""
    rows = await services.event_store.after(after, machine_id=machine)
    return {"events": [Event(**{**row, "at": rfc3339(row["at"])}) for row in rows]}


@get(routes.IMAGES, summary="List images")
async def list_images(services: Asked, provider: FromQuery[str | None] = None) -> dict[str, Any]:
    """Our images in the engine."""
    return {"images": [dict(one) for one in await services.images.list(provider)]}


@post(routes.IMAGE_BUILD, summary="Build an image", status_code=200)
async def build_image(request: Request[Any, Any, Any], services: Asked, data: JSONBody[BuildImage]) -> Stream:
    """NDJSON: progress, then `{"image": ...}` or `{"error": ...}`; a closed connection cancels the build."""
    wanted = await strict_body(request, BuildImage)

    async def lines() -> AsyncIterator[bytes]:
        steps = services.images.build(wanted.name, provider=wanted.provider, rebuild=wanted.rebuild)
        async for message in steps:
            yield msgspec.json.encode(message) + b"\n"

    return Stream(lines(), media_type=NDJSON)


@delete(f"{routes.IMAGES}/{{name:str}}", summary="Remove an image", status_code=200)
async def remove_image(services: Asked, name: FromPath[str], provider: FromQuery[str | None] = None) -> dict[str, Any]:
    """Remove one of our images; refused while a machine uses it."""
    await services.images.remove(name, provider)
    return {"removed": name}


HANDLERS = [show_server, stop_server, show_doctor, list_events, list_images, build_image, remove_image]
