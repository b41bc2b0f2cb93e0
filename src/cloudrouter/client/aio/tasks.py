"""Awaiting two things at once, and awaiting something to its end although nobody wants to wait any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def surely(work: Awaitable[T]) -> T:
    """Await something to its end, also while this task is being cancelled; the cancellation comes afterwards."""
    future = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # Looked at: what went wrong in something unwanted is no news.
        raise cancelled
    return future.result()


async def beside(work: Coroutine[Any, Any, T], helper: Coroutine[Any, Any, object]) -> T:
    """The result of work, with a helper going on meanwhile, whose failure ends both."""
    tasks = main, other = asyncio.ensure_future(work), asyncio.ensure_future(helper)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if other in done:
            other.result()
        return await main
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def together(*works: Coroutine[Any, Any, object]) -> None:
    """Both to their end; the first failure ends the others and is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
