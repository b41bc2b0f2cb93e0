"""Fetching images from registries, and saying in three lines why one does not come."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing

from cloudrouter.images.engine import Engine
from cloudrouter.wire.errors import CloudRouterError, NoCapacity, NotFound, Unreachable

ANSWER_S = 10.0
"""A registry that has not named the image after this long counts as out of reach."""
STALL_S = 60.0
"""A pull without news for this long is given up."""

Note = Callable[[str], None]
_ABSENT = re.compile(
    r"pull access denied|repository does not exist|manifest (for \S+ )?(unknown|not found)|not found|unauthorized"
    r"|requested access .*denied|no matching manifest",
    re.IGNORECASE,
)
_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_NAMELESS = re.compile(r"no such host|name resolution|lookup ", re.IGNORECASE)


async def pull(engine: Engine, reference: str, *, note: Note) -> str:
    """Pull an image; the answer is empty on success, else why there is none. Unreachable is the engine itself."""
    patience = ANSWER_S
    try:
        async with aclosing(engine.pull(reference)) as events:
            while True:
                async with asyncio.timeout(patience):
                    event = await anext(events, None)
                if event is None:
                    return ""
                patience = STALL_S
                note(" ".join(str(event[key]) for key in ("id", "status", "progress") if event.get(key)))
    except TimeoutError:
        return f"no answer within {patience:g} s"
    except Unreachable:
        raise  # the engine itself is gone, not the registry
    except CloudRouterError as error:
        return error.message


def is_about_registries(reason: str) -> bool:
    """Whether an engine's sentence is about an image that it could not fetch."""
    return bool(_ABSENT.search(reason) or _NAMELESS.search(reason) or re.search(r"dial tcp|/v2/|timeout", reason))


def refused(reference: str, reason: str) -> CloudRouterError:
    """The error for an image that the engine does not have and that no registry gives, for this reason."""
    shown = re.sub(r"^The (container )?engine (answered \d+|cannot pull \S+): ", "", " ".join(reason.split()))
    shown = shown.rstrip(".")[:300]
    if _FULL.search(reason):
        return NoCapacity(
            f"The image {reference} does not fit on the engine's disk: {shown}.",
            fix="Free disk space where the engine keeps its images.",
            next="cloudrouter image prune",
        )
    if _ABSENT.search(reason) and not _NAMELESS.search(reason):
        return NotFound(
            f"The image {reference} is not in the engine, and its registry does not give it: {shown}.",
            fix="Check the name. A private one: docker login, then docker pull it; this engine's images are taken as "
            "they are.",
            next=f"docker pull {reference}",
        )
    return Unreachable(
        f"The image {reference} is not in the engine, and its registry cannot be reached: {shown}.",
        fix="There are ways without a registry: docker load < image.tar, a Dockerfile (start --build DIR), or Debian's "
        f"packages: sudo mmdebstrap trixie | docker import - {reference}",
        next="cloudrouter image ls",
    )
