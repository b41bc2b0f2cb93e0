"""Taking away what the router has made on this host, once its machines are gone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import structlog

from cloudrouter.providers.base import Leftover, Provider, Removable
from cloudrouter.server.services.context import Context
from cloudrouter.wire.errors import CloudRouterError, Conflict
from cloudrouter.wire.machines import RemoveLeftovers

log = structlog.get_logger("uninstall")


class Uninstall:
    """Looks first, removes what is asked for, and tells of each thing what became of it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def plan(self) -> dict[str, Any]:
        """`{"machines": [...], "leftovers": [...], "errors": [...]}`: all there is; nothing is changed."""
        leftovers: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for name, provider in self._removables():
            try:
                leftovers += [_shown(name, one) for one in await provider.leftovers()]
            except CloudRouterError as error:
                errors.append({"provider": name, **error.to_json()})
        machines = [{"id": row.id, "name": row.name, "state": row.state} for row in self._context.store.living()]
        return {"machines": machines, "leftovers": leftovers, "errors": errors}

    async def remove(self, wanted: RemoveLeftovers) -> dict[str, Any]:
        """`{"removed": [...], "kept": [...], "errors": [...]}`; Conflict while there are machines.

        An image that containers use is kept, too, with a `reason`: it may be another router's machine.
        """
        living = self._context.store.living()
        if living:
            raise Conflict(
                f"There {'is still one machine' if len(living) == 1 else f'are still {len(living)} machines'}: "
                f"{', '.join(row.id for row in living[:5])}{', ...' if len(living) > 5 else ''}.",
                fix="Delete them first, or say --machines to have them deleted too.",
                next="cloudrouter ls",
            )
        told: dict[str, list[dict[str, Any]]] = {"removed": [], "kept": [], "errors": []}
        for name, provider in self._removables():
            try:
                leftovers = await provider.leftovers()
            except CloudRouterError as error:
                told["errors"].append({"provider": name, **error.to_json()})
                continue
            for leftover in leftovers:
                await self._remove_one(name, provider, leftover, wanted, told)
        return told

    async def _remove_one(
        self,
        name: str,
        provider: Removable,
        leftover: Leftover,
        wanted: RemoveLeftovers,
        told: dict[str, list[dict[str, Any]]],
    ) -> None:
        if (leftover.kind == "image" and not wanted.images) or (leftover.kind == "volume" and not wanted.volumes):
            told["kept"].append(_shown(name, leftover))
            return
        try:
            await provider.remove_leftover(leftover)
        except CloudRouterError as error:
            if leftover.kind == "image" and isinstance(error, Conflict):
                told["kept"].append({**_shown(name, leftover), "reason": error.message})
                return
            log.warning("leftover stays", kind=leftover.kind, name=leftover.name, reason=error.message)
            told["errors"].append({**_shown(name, leftover), **error.to_json()})
        else:
            log.info("leftover removed", kind=leftover.kind, name=leftover.name)
            told["removed"].append(_shown(name, leftover))

    def _removables(self) -> list[tuple[str, Removable]]:
        providers: dict[str, Provider] = self._context.providers
        return [(name, one) for name, one in providers.items() if isinstance(one, Removable)]


def _shown(provider: str, leftover: Leftover) -> dict[str, Any]:
    return {"provider": provider, **asdict(leftover)}
