"""Which image a start takes that names none, and the building of better ones while nobody waits."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from cloudrouter.providers.base import Images, Provider
from cloudrouter.wire import flavours
from cloudrouter.wire.errors import CloudRouterError

WHOLE, LESS, BARE = "full", "desktop", "core"
"""What people want, what they get until it is there, and what every provider has."""
AGAIN_S = 600.0
"""A build that failed is not tried again by itself before this."""

log = structlog.get_logger("readying")


@dataclass
class Work:
    """One image that is being built, or could not be."""

    provider: str
    name: str
    step: str = ""
    failure: str = ""
    ended_at: float = 0.0
    task: asyncio.Task[None] | None = None

    def to_json(self) -> dict[str, Any]:
        """As one of the list of images."""
        return {
            "name": self.name,
            "kind": "building" if self.task is not None else "failed",
            "base": "",
            "reference": self.step if self.task is not None else self.failure,
            "size_bytes": None,
            "created_at": None,
            "current": False,
            "in_use": False,
            "apps": list(flavours.split(self.name)[1]),
        }


class Readying:
    """Builds one image at a time, behind everything else that the host does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._works: dict[tuple[str, str], Work] = {}
        self._one = asyncio.Lock()

    async def choose(self, provider: Provider, default: str) -> tuple[str, builtins.list[str]]:
        """(image, what to tell the person): the best that is ready, and the lesser one where none is."""
        if default != WHOLE:
            return default, []
        if not isinstance(provider, Images):
            return BARE, []
        try:
            if await provider.resolve_image(WHOLE) is not None:
                return WHOLE, []
        except CloudRouterError as error:
            log.warning("the usual image cannot be looked up", reason=error.message)
            return WHOLE, []  # making the machine tells why
        work = self.begin(provider, [LESS, WHOLE])
        missing = [app for app in flavours.FLAVOURS[WHOLE] if app not in flavours.FLAVOURS[LESS]]
        why = (
            f"its last build failed: {work.failure}" if work.failure else "the router builds it now, in the background"
        )
        how = f"cloudrouter image build {WHOLE}" if work.failure else "cloudrouter image ls"
        return LESS, [
            f"This machine is without {' and '.join(missing)}: the image {WHOLE} is not ready; {why} ({how})."
        ]

    def begin(self, provider: Images, names: builtins.list[str]) -> Work:
        """Build these one after the other, unless that is happening or has just failed; the last one's work."""
        key = (str(getattr(provider, "name", "")), names[-1])
        known = self._works.get(key)
        if known is not None and (known.task is not None or self._clock() - known.ended_at < AGAIN_S):
            return known
        work = self._works[key] = Work(*key, step="waits")
        work.task = asyncio.create_task(self._run(provider, names, work), name=f"ready {key[1]}")
        return work

    def list(self, provider: str) -> builtins.list[Mapping[str, Any]]:
        """What is being built, and what could not be."""
        return [work.to_json() for work in self._works.values() if work.provider == provider]

    async def aclose(self) -> None:
        """End it all; what was built of it stays in the engine."""
        tasks = [work.task for work in self._works.values() if work.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, provider: Images, names: builtins.list[str], work: Work) -> None:
        def note(step: Mapping[str, Any]) -> None:
            work.step = str(step.get("step", ""))

        try:
            async with self._one:
                for name in names:
                    await provider.build_image(name, progress=note, quiet=True)
            del self._works[(work.provider, work.name)]
        except CloudRouterError as error:
            work.failure = error.message.splitlines()[0]
            log.warning("an image could not be built in the background", image=work.name, reason=error.message)
        except Exception as error:
            work.failure = f"{type(error).__name__}: {error}"
            log.exception("building an image in the background broke", image=work.name)
        finally:
            work.task, work.ended_at = None, self._clock()
