"""Ending asyncio tasks so that what they opened is closed, however often they are cancelled meanwhile."""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


async def cancel_all(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the tasks and wait until they have ended; how they ended does not matter any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def surely(work: Coroutine[Any, Any, None]) -> None:
    """Do the work to its end even when the caller is cancelled meanwhile; that counts afterwards.

    An operation that is cleaning up because its stream broke is also cancelled because its stream broke.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
