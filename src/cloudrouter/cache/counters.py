"""What the cache did, counted; kept over restarts so that `cache status` tells of more than the last hour."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields


@dataclass
class Counters:
    """Whole numbers that only grow."""

    hits: int = 0
    """Requests that were answered without asking upstream."""
    misses: int = 0
    """Requests whose answer had to be fetched."""
    revalidated: int = 0
    """Answers that a registry confirmed without sending them again."""
    stale: int = 0
    """Answers older than allowed, because the registry could not be reached."""
    passed: int = 0
    """Requests that were carried through unstored."""
    artifact_fetches: int = 0
    """Package files that were asked for upstream."""
    saved_bytes: int = 0
    """Bytes that did not have to be downloaded again."""
    fetched_bytes: int = 0
    refused_bodies: int = 0
    """Downloads whose content was not what its digest or length promised; none of them was kept."""

    @classmethod
    def load(cls, path: str) -> Counters:
        """The numbers of a file; those that are missing or strange begin at 0."""
        try:
            with open(path, encoding="ascii") as file:
                body = json.load(file)
        except (OSError, ValueError):
            return cls()
        known = {field.name for field in fields(cls)}
        given = body.items() if isinstance(body, dict) else ()
        return cls(**{name: value for name, value in given if name in known and type(value) is int and value >= 0})

    def save(self, path: str) -> None:
        """Write them, whole or not at all."""
        part = f"{path}.new"
        with open(part, "w", encoding="ascii") as file:
            json.dump(asdict(self), file)
        os.replace(part, path)
