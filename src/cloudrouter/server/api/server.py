"""`/v1/server`, `/v1/doctor`, `/v1/uninstall`: the router itself and what it keeps."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post
from litestar.params import JSONBody

from cloudrouter.server.api.machines import strict_body
from cloudrouter.server.api.state import Asked
from cloudrouter.wire import routes
from cloudrouter.wire.machines import RemoveLeftovers


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


@get(routes.UNINSTALL, summary="What uninstalling would remove")
async def plan_uninstall(services: Asked) -> dict[str, Any]:
    """Machines, and what this router has on the backends besides; nothing is changed."""
    return await services.uninstall.plan()


@post(routes.UNINSTALL, summary="Remove what the router has made", status_code=200)
async def remove_leftovers(
    request: Request[Any, Any, Any], services: Asked, data: JSONBody[RemoveLeftovers]
) -> dict[str, Any]:
    """Networks and rules, images and volumes where they are asked for; refused while there are machines."""
    return await services.uninstall.remove(await strict_body(request, RemoveLeftovers))


HANDLERS = [
    show_server,
    stop_server,
    show_doctor,
    plan_uninstall,
    remove_leftovers,
]
