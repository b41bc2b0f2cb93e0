"""What building needs of a container engine: a few operations, so that any engine can be put behind them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Progress = Callable[[Mapping[str, Any]], None]
"""Takes one step of long work: {"step": str, "at": int, "of": int, "detail": str}."""


@dataclass(frozen=True)
class ImageFacts:
    """An image as the engine sees it; `created_at` in seconds since the epoch."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size_bytes: int
    created_at: float
    made_here: bool = True
    """A build of ours made it, or the engine does not know it from any registry: its tags can be believed."""


@dataclass(frozen=True)
class ImageSettings:
    """What an image was made for and brings along."""

    id: str
    os: str
    architecture: str
    """In Go's words, as engines speak: `amd64`, `arm64`."""
    labels: Mapping[str, str]
    volumes: tuple[str, ...] = ()
    """Folders that are not part of a container's own disk."""
    triggers: tuple[str, ...] = ()
    """Instructions (ONBUILD) that run in every build made from it."""


@dataclass(frozen=True)
class BuildOrder:
    """One run of the engine's builder over a packed context."""

    context: bytes | AsyncIterator[bytes]
    tag: str
    buildargs: Mapping[str, str]
    labels: Mapping[str, str]
    dockerfile: str = "Dockerfile"
    """The recipe's path in the context."""
    target: str = ""
    """The stage to end with; empty for the last one."""
    from_scratch: bool = False
    """Use no layer of an earlier build."""
    host_network: bool = False
    quiet: bool = False
    """Nobody waits for it: who does goes first on the processors."""


class Engine(Protocol):
    """Raises the errors of `wire.errors` alone: Unreachable, NotFound, Conflict, NoCapacity, ProviderBug."""

    own_apps: str
    """The folder with the apps that people gave; empty where there are none."""

    def pull(self, reference: str) -> AsyncGenerator[Mapping[str, Any], None]:
        """Fetch an image from its registry; yields the engine's progress objects, raises when it fails."""

    async def import_tar(self, chunks: AsyncIterator[bytes], *, reference: str, changes: Sequence[str]) -> None:
        """Make an image of one layer from a root filesystem's tar; an error of `chunks` leaves nothing behind."""

    def build(self, order: BuildOrder) -> AsyncGenerator[Mapping[str, Any], None]:
        """Build and tag; yields progress objects: `stream` text, and `error` as the last where a step failed."""

    async def inspect_image(self, reference: str) -> ImageFacts | None:
        """The image of that reference or id, None when it is not there."""

    async def inspect_settings(self, reference: str) -> ImageSettings | None:
        """The same of what it was made for."""

    async def architecture(self) -> str:
        """What the engine's host runs, in Go's words."""

    async def find_images(self, *, label: str, dangling: bool = False) -> list[ImageFacts]:
        """Images that carry a label (`key` or `key=value`); only those without a tag when `dangling`."""

    async def untag_image(self, reference: str) -> None:
        """Take a reference away, and the image with its last one. Missing raises NotFound, in use Conflict."""

    async def tag_image(self, reference: str, *, new: str) -> None:
        """Give an image one more tag."""

    async def images_in_use(self) -> set[str]:
        """Ids of the images of all containers, running or not."""

    async def count_bytes(self) -> int | None:
        """What all images take on the engine's disk, shared layers once; None where it does not tell in time."""
