"""Which images builds of ours made, by their ids: tags and labels can be written by anybody, ids cannot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress

LIMIT = 1000
"""So many builds are remembered, the newest."""


class Known:
    """The ids that builds and imports returned, and the tags that they were given; kept in a file where one is named.

    An id is the digest of an image's content, so it means the same on every engine.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._tags: dict[str, str] | None = None
        """Id -> the tag that the build gave it, oldest first."""

    def has(self, image_id: str) -> bool:
        """Whether a build of ours returned this id."""
        return image_id in self._read()

    def gave(self, tags: Iterable[str]) -> bool:
        """Whether a build of ours gave an image one of these tags."""
        return not set(tags).isdisjoint(self._read().values())

    def remember(self, image_id: str, tag: str) -> None:
        """A build of ours returned this id for the tag."""
        tags = self._read()
        if tags.get(image_id) == tag:
            return
        tags.pop(image_id, None)
        tags[image_id] = tag
        for oldest in list(tags)[:-LIMIT]:
            del tags[oldest]
        # The image is made; where nothing can be written it is only made once more some day, out of the engine's cache.
        with suppress(OSError):
            self._write(tags)

    def _read(self) -> dict[str, str]:
        if self._tags is None:
            self._tags = _load(self._path) if self._path else {}
        return self._tags

    def _write(self, tags: dict[str, str]) -> None:
        if not self._path:
            return
        part = f"{self._path}.part"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(tags, file, indent=0)
        os.replace(part, self._path)


def _load(path: str) -> dict[str, str]:
    """What the file says; a broken one says nothing, and what it knew is built again."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: tag for key, tag in found.items() if isinstance(tag, str)}


_of_process = Known()


def at(path: str) -> Known:
    """What the file of that name keeps; without a name what this process built."""
    return Known(path) if path else _of_process
