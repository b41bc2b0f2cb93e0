"""`/v1/volumes`: disks that outlive machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from cloudrouter.server.api.machines import strict_body
from cloudrouter.server.api.state import Asked, Owner
from cloudrouter.wire import routes
from cloudrouter.wire.volumes import CreateVolume, Volume, VolumeList


@get(routes.VOLUMES, summary="List volumes")
async def list_volumes(
    services: Asked,
    owner: Owner,
    size: FromQuery[bool] = False,  # noqa: FBT002
    provider: FromQuery[str | None] = None,
) -> VolumeList:
    """The owner's volumes and who uses them; `size=true` measures each, which may take seconds."""
    return VolumeList(await services.volumes.list(owner, provider=provider, size=size))


@post(routes.VOLUMES, summary="Make a volume", status_code=201)
async def create_volume(
    request: Request[Any, Any, Any], services: Asked, owner: Owner, data: JSONBody[CreateVolume]
) -> dict[str, Any]:
    """The volume, with `made`: whether it was not there before."""
    wanted = await strict_body(request, CreateVolume)
    volume, made = await services.volumes.create(owner, wanted.name, provider=wanted.provider)
    return {**asdict(volume), "made": made}


@get(f"{routes.VOLUMES}/{{name:str}}", summary="Show a volume")
async def show_volume(
    services: Asked, owner: Owner, name: FromPath[str], provider: FromQuery[str | None] = None
) -> Volume:
    """One volume, measured."""
    return await services.volumes.get(owner, name, provider=provider)


@delete(f"{routes.VOLUMES}/{{name:str}}", summary="Remove a volume", status_code=200)
async def remove_volume(
    services: Asked, owner: Owner, name: FromPath[str], provider: FromQuery[str | None] = None
) -> dict[str, Any]:
    """Remove it and all that is in it; refused while a machine has it, also a stopped one."""
    await services.volumes.remove(owner, name, provider=provider)
    return {"removed": name}


HANDLERS = [list_volumes, create_volume, show_volume, remove_volume]
