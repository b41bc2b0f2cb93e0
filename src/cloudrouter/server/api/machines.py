"""`/v1/machines`: the verbs on machines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from cloudrouter.server.api.state import Asked, Owner, Ref
from cloudrouter.server.services.selecting import read_selection
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import routes
from cloudrouter.wire.decode import decode
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.machines import ExtendMachine, Machine, MachineList, RenameMachine, StartMachine

NDJSON = "application/x-ndjson"


async def strict_body(request: Request[Any, Any, Any], kind: type[Any]) -> Any:
    """The body as one of the wire's dataclasses; unknown fields are refused, not ignored."""
    raw = await request.body()
    try:
        value = msgspec.json.decode(raw or b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"The body is not JSON: {error}.") from error
    return decode(kind, value)


@get(routes.MACHINES, summary="List machines")
async def list_machines(
    services: Asked,
    owner: Owner,
    all: FromQuery[bool] = False,  # noqa: A002, FBT002
    label: FromQuery[list[str] | None] = None,
    machine_state: Annotated[list[str] | None, QueryParameter(name="state")] = None,
    provider: FromQuery[str | None] = None,
    name: FromQuery[str | None] = None,
    sort: FromQuery[str | None] = None,
    reverse: FromQuery[bool] = False,  # noqa: FBT002
) -> MachineList:
    """Living machines, oldest first; `all=true` shows gone ones too.

    `label` (`key` or `key=value`, repeatable), `state` (repeatable), `provider` and `name` (a pattern) narrow it down;
    `sort` is one of created, name, state, deadline, cpu, memory, image.
    """
    wanted = read_selection(
        labels=label or (), in_states=machine_state or (), provider=provider, name=name, sort=sort, reverse=reverse
    )
    rows = await services.machines.list(owner, all_states=all, selection=wanted)
    doubts = await services.machines.doubts(rows)
    return MachineList([services.view(row) for row in rows], [doubt.to_json() for doubt in doubts])


@post(routes.MACHINES, summary="Start a machine", status_code=201)
async def start_machine(
    request: Request[Any, Any, Any], services: Asked, owner: Owner, data: JSONBody[StartMachine]
) -> Machine:
    """Begin to make a machine; `Idempotency-Key` makes a repeated request safe. Follow it with `/wait`."""
    wanted = await strict_body(request, StartMachine)
    key = request.headers.get(routes.IDEMPOTENCY_HEADER)
    if key is not None and not (0 < len(key) <= 128 and key.isprintable()):
        raise UsageError("The Idempotency-Key must be 1 to 128 printable characters.")
    return services.view(await services.machines.start(owner, wanted, key=key))


@get(f"{routes.MACHINES}/{{ref:str}}", summary="Show a machine")
async def show_machine(services: Asked, owner: Owner, ref: Ref) -> Machine:
    """One machine by id, name or id prefix; a deleted one by its whole id."""
    return services.view(await services.machines.get(owner, ref))


@get(f"{routes.MACHINES}/{{ref:str}}/wait", summary="Follow a start")
async def wait_for_machine(services: Asked, owner: Owner, ref: Ref) -> Stream:
    """NDJSON: events and progress until the guest has answered, then `{"machine": ...}` or `{"error": ...}`."""
    services.machines.find(owner, ref)

    async def lines() -> AsyncIterator[bytes]:
        async for message in services.machines.follow(owner, ref):
            row = message.get("machine")
            shown = {"machine": services.view(row)} if isinstance(row, Row) else message
            yield msgspec.json.encode(shown) + b"\n"

    return Stream(lines(), media_type=NDJSON)


@post(f"{routes.MACHINES}/{{ref:str}}/confirm", summary="Confirm a provisional start", status_code=200)
async def confirm_machine(services: Asked, owner: Owner, ref: Ref) -> Machine:
    """The starter has put everything in place: `starting` becomes `running`."""
    return services.view(await services.machines.confirm(owner, ref))


@post(f"{routes.MACHINES}/{{ref:str}}/stop", summary="Stop a machine", status_code=200)
async def stop_machine(services: Asked, owner: Owner, ref: Ref) -> Machine:
    """End its processes, keep its disk."""
    return services.view(await services.machines.stop(owner, ref))


@post(f"{routes.MACHINES}/{{ref:str}}/resume", summary="Resume a machine", status_code=200)
async def resume_machine(services: Asked, owner: Owner, ref: Ref) -> Machine:
    """Boot a stopped machine; answers when its guest does."""
    return services.view(await services.machines.resume(owner, ref))


@post(f"{routes.MACHINES}/{{ref:str}}/extend", summary="Move the deadline", status_code=200)
async def extend_machine(
    request: Request[Any, Any, Any], services: Asked, owner: Owner, ref: Ref, data: JSONBody[ExtendMachine]
) -> Machine:
    """The deadline becomes exactly now + seconds."""
    wanted = await strict_body(request, ExtendMachine)
    return services.view(await services.machines.extend(owner, ref, wanted.seconds))


@post(f"{routes.MACHINES}/{{ref:str}}/rename", summary="Rename a machine", status_code=200)
async def rename_machine(
    request: Request[Any, Any, Any], services: Asked, owner: Owner, ref: Ref, data: JSONBody[RenameMachine]
) -> Machine:
    """Another name, or none with an empty one."""
    wanted = await strict_body(request, RenameMachine)
    return services.view(await services.machines.rename(owner, ref, wanted.name))


@delete(f"{routes.MACHINES}/{{ref:str}}", summary="Delete a machine", status_code=200)
async def delete_machine(services: Asked, owner: Owner, ref: Ref) -> Response[Machine]:
    """Remove it and everything of it; needs the whole id or the name."""
    return Response(services.view(await services.machines.delete(owner, ref)))


HANDLERS = [
    list_machines,
    start_machine,
    show_machine,
    wait_for_machine,
    confirm_machine,
    stop_machine,
    resume_machine,
    extend_machine,
    rename_machine,
    delete_machine,
]
