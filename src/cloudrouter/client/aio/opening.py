"""Answers that may be awaited or entered: `m = await start()`, and `async with start() as m`."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar


class Enterable(Protocol):
    """What has an end."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exception: object) -> None: ...


Made = TypeVar("Made", bound=Enterable)


class Opening(Coroutine[Any, Any, Made], Generic[Made]):
    """A coroutine whose result is a context manager; with `async with` it is awaited and entered in one go."""

    def __init__(self, coroutine: Coroutine[Any, Any, Made]) -> None:
        self._coroutine = coroutine
        self._made: Made | None = None

    def __await__(self) -> Generator[Any, Any, Made]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """As a coroutine's."""
        return self._coroutine.send(value)

    def throw(self, *exception: Any) -> Any:
        """As a coroutine's."""
        return self._coroutine.throw(*exception)

    def close(self) -> None:
        """As a coroutine's."""
        self._coroutine.close()

    async def __aenter__(self) -> Made:
        self._made = await self._coroutine
        return await self._made.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._made is not None:
            await self._made.__aexit__(kind, error, trace)
