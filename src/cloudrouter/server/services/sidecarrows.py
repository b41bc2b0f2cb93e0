"""Sidecars as a row of the book has them: asked for, refused, fetched and shown, without their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from cloudrouter.providers import base
from cloudrouter.providers.base import Provider, SidecarSeen
from cloudrouter.server.services.context import Context
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import boot
from cloudrouter.wire.errors import CloudRouterError, InvalidSpec, Unsupported
from cloudrouter.wire.machines import Mount
from cloudrouter.wire.sidecars import Sidecar, sidecars_fault

OFF = "off"
"""Key of a sidecar in the book: somebody stopped it, and it stays so until it or its machine is started."""

_FIELDS = tuple(field.name for field in fields(Sidecar))


def read_sidecars(row: Row) -> list[Sidecar]:
    """What a machine was started with."""
    return [Sidecar(**{key: one[key] for key in _FIELDS if key in one}) for one in row.sidecars]


def is_off(row: Row, name: str) -> bool:
    """Whether somebody has stopped it."""
    return any(one["name"] == name and one.get(OFF) for one in row.sidecars)


def marked(row: Row, name: str, *, off: bool) -> list[dict[str, Any]]:
    """The book's words with one of them stopped, or not any more."""
    return [{**one, OFF: off} if one["name"] == name else one for one in row.sidecars]


def all_on(row: Row) -> list[dict[str, Any]]:
    """The book's words for a machine that boots: whatever was stopped in it is started with it."""
    return [{**one, OFF: False} for one in row.sidecars]


async def check_sidecars(
    wanted: Sequence[Sidecar],
    provider: Provider,
    *,
    apps: list[str],
    mounts: Sequence[Mount],
    cpu: float,
    memory_bytes: int,
) -> None:
    """Refuse sidecars that cannot be, before a machine is written down."""
    if not wanted:
        return
    if not isinstance(provider, base.Sidecars):
        raise Unsupported(
            f"The provider {provider.name} runs no images beside its machines.",
            fix="Use one that does, such as docker: -p docker.",
            feature="sidecars",
        )
    fault = sidecars_fault(list(wanted), apps=apps, cpu=cpu, memory_bytes=memory_bytes)
    above = [
        one.path for one in mounts if f"{boot.WORKSPACE}/".startswith(f"{one.path}/") and one.path != boot.WORKSPACE
    ]
    if not fault and above and any(one.workspace for one in wanted):
        fault = f"a sidecar is to have the workspace, and the volume at {above[0]} has it already, with more"
    if fault:
        raise InvalidSpec(f"This machine cannot be: {fault}.", fix="Change what it is asked for.", field="sidecars")
    for image in dict.fromkeys(one.image for one in wanted):
        await provider.check_sidecar_image(image)


async def fetch_images(context: Context, row: Row) -> None:
    """Have the images of a machine's sidecars before it is made."""
    provider = context.provider(row.provider)
    if not isinstance(provider, base.Sidecars):
        return  # `check_sidecars` has refused such a machine
    for image in dict.fromkeys(one.image for one in read_sidecars(row)):
        await provider.fetch_sidecar_image(image, progress=lambda step: context.events.progress(row.id, **step))


def shares_workspace(row: Row) -> bool:
    """Whether its workspace is a volume of its own, for its sidecars."""
    return any(one.workspace for one in read_sidecars(row)) and boot.WORKSPACE not in {
        str(mount["path"]) for mount in row.mounts
    }


def without_values(one: Sidecar) -> dict[str, Any]:
    """A sidecar as it may be shown: of its variables only the names."""
    shown = asdict(one)
    return {**shown, "env": sorted(shown["env"])}


async def inspected(context: Context, row: Row) -> list[dict[str, Any]]:
    """What is wanted and what is seen of each; secrets stay inside."""
    provider, wanted = context.providers.get(row.provider), read_sidecars(row)
    seen: dict[str, SidecarSeen] = {}
    reason = ""
    if wanted and row.handle is not None and isinstance(provider, base.Sidecars):
        try:
            seen = {one.name: one for one in await provider.list_sidecars(context.handle(row), measure=True)}
        except CloudRouterError as error:
            reason = error.message
    return [
        {
            **without_values(one),
            "observation": asdict(seen[one.name]) if one.name in seen else None,
            "reason": reason,
        }
        for one in wanted
    ]
