"""Staying with a job over broken streams on the event loop: as `client.following`, which says why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from cloudrouter.client.aio.execution import ask
from cloudrouter.client.aio.link import Link
from cloudrouter.client.following import Patience
from cloudrouter.client.transport import NotListening
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Unreachable

T = TypeVar("T")


async def ask_again(
    link: Link, machine_id: str, request: Mapping[str, Any], *, timeout: float | None
) -> dict[str, Any]:
    """One question that may be repeated, such as `job.wait`, asked again while its stream breaks."""
    path = routes.machine(machine_id, "stream")

    async def once() -> dict[str, Any]:
        return await ask(await link.stream(path, brief=True), dict(request), timeout=timeout)

    return await persist(link, once)


async def persist(
    link: Link,
    once: Callable[[], Awaitable[T]],
    *,
    moved: Callable[[], object] = lambda: None,
    patience: Patience | None = None,
) -> T:
    """Do it until it ends well, by an error of its own, or until it has been broken for PATIENCE_S without a move.

    moved: how far it has come. patience: one that knows of earlier breaks.
    """
    patience = patience or Patience(asyncio.get_running_loop().time)
    while True:
        patience.begin()
        try:
            return await once()
        except Unreachable as error:
            await rest(link, patience, error, moved())


async def rest(link: Link, patience: Patience, error: Unreachable, at: object = None) -> None:
    """After a break: return when it is time for the next try; raises the error when it was tried long enough."""
    await asyncio.sleep(patience.pause(error, at))
    await revive(link)


async def revive(link: Link) -> None:
    """Make sure that a router listens again, where that is for us to do."""
    try:
        await link.revive()
    except NotListening:
        return  # not the user's own router: it is for others to start, and it is tried again
