"""`/v1/machines/{ref}/open` and what is behind doors: apps and ports."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post
from litestar.params import FromPath, JSONBody

from cloudrouter.server.api.machines import strict_body
from cloudrouter.server.api.state import Asked, Owner, Ref
from cloudrouter.wire import routes
from cloudrouter.wire.apps import AppState, Port
from cloudrouter.wire.doors import Door, OpenDoor

OF_MACHINE = f"{routes.MACHINES}/{{ref:str}}"


@post(f"{OF_MACHINE}/open", summary="Open a machine to a browser", status_code=200)
async def open_door(
    request: Request[Any, Any, Any], services: Asked, owner: Owner, ref: Ref, data: JSONBody[OpenDoor]
) -> Door:
    """An address with a ticket that is good once, for a minute, for an app or a port of a running machine."""
    return await services.doors.open(owner, ref, await strict_body(request, OpenDoor))


@post(f"{OF_MACHINE}/close", summary="Close a machine to browsers", status_code=200)
async def close_doors(services: Asked, owner: Owner, ref: Ref) -> dict[str, int]:
    """Every ticket, cookie and open connection of people at this machine ends; `closed` says how many of the first."""
    return {"closed": await services.doors.close(owner, ref)}


@get(f"{OF_MACHINE}/apps", summary="List a machine's apps")
async def list_apps(services: Asked, owner: Owner, ref: Ref) -> dict[str, list[AppState]]:
    """Every app in the machine's image, with its state and its address."""
    return {"apps": await services.apps.list(owner, ref)}


@post(f"{OF_MACHINE}/apps/{{app:str}}/start", summary="Start an app", status_code=200)
async def start_app(services: Asked, owner: Owner, ref: Ref, app: FromPath[str]) -> AppState:
    """Start it, with those it requires; answers when it is healthy."""
    return await services.apps.start(owner, ref, app)


@post(f"{OF_MACHINE}/apps/{{app:str}}/stop", summary="Stop an app", status_code=200)
async def stop_app(services: Asked, owner: Owner, ref: Ref, app: FromPath[str]) -> AppState:
    """Stop it, and those that require it."""
    return await services.apps.stop(owner, ref, app)


@get(f"{OF_MACHINE}/ports", summary="List what listens in a machine")
async def list_ports(services: Asked, owner: Owner, ref: Ref) -> dict[str, list[Port]]:
    """TCP ports that the gateway and `forward` reach, with their addresses."""
    return {"ports": await services.apps.ports(owner, ref)}


HANDLERS = [open_door, close_doors, list_apps, start_app, stop_app, list_ports]
