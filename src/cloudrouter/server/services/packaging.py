"""A machine and the package cache: what its guest is told of it, and what became of that.

Whatever goes wrong here turns the cache off for this machine, with an event that says why, and never its start.
"""

from __future__ import annotations

from typing import Any

import structlog

from cloudrouter.server.services.context import Context
from cloudrouter.server.store.machines import Row
from cloudrouter.wire.errors import CloudRouterError

REASON_LETTERS = 200

log = structlog.get_logger("packages")


def resume(context: Context) -> None:
    """When the router begins: machines that use the cache have been doing without it."""
    if any(row.package_cache for row in context.store.living()):
        try:
            context.packages.begin()
        except OSError as error:
            log.warning("the package cache cannot be begun", reason=str(error))


async def begin(context: Context, row: Row) -> Row:
    """Before a machine is made: the cache's process begins beside it. The row as it is then."""
    try:
        context.packages.begin()
    except OSError as error:
        return await _turn_off(context, row, f"its folder cannot be made: {error.strerror}")
    return row


async def wanted(context: Context, row: Row) -> dict[str, Any]:
    """What belongs into the guest's configuration."""
    if not row.package_cache:
        return {}
    try:
        return {"packages": await context.packages.words()}
    except (CloudRouterError, OSError) as error:
        await _turn_off(context, row, str(error))
        return {}


async def note(context: Context, row: Row, answer: dict[str, Any]) -> None:
    """Take from the guest's answer whether it uses the cache; a machine may lie only about itself."""
    if not row.package_cache:
        return
    configured = answer.get("configured")
    said = configured.get("packages") if isinstance(configured, dict) else None
    if isinstance(said, dict) and said.get("on") is True:
        return
    reason = said.get("reason") if isinstance(said, dict) else None
    if not isinstance(reason, str) or not reason.isprintable():
        reason = "its guest does not know package caches"
    current = context.store.get(row.id)
    if current is not None and current.package_cache:
        await _turn_off(context, current, reason[:REASON_LETTERS])


async def _turn_off(context: Context, row: Row, reason: str) -> Row:
    message = f"{row.id} does without the package cache: {reason.rstrip('.')}"
    context.events.emit("machine.package_cache_off", message, machine_id=row.id, reason=reason)
    return await context.set(row, package_cache=False)
