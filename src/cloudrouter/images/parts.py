"""What our images consist of: parts that are built once per content, and the labels by which they are known again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cloudrouter.images import context
from cloudrouter.images.context import File

LABEL_IMAGE = "cloudrouter.dev/image"
LABEL_PART = "cloudrouter.dev/part"
LABEL_DIGEST = "cloudrouter.dev/digest"
LABEL_APPS = "cloudrouter.dev/apps"
"""The apps that an image has, as in its name: `desktop,browser`."""
LAYERED, BUILT = "any", "build"
"""The image label of foreign images with our guest in them, and of those built from a person's Dockerfile."""
LABEL_LEFTOVER = "cloudrouter.dev/leftover"
"""Carried by builder stages that may hold the host's certificates; removed after every build."""


@dataclass(frozen=True)
class Part:
    """One image of a chain: built once per digest and kept by its tag."""

    name: str
    dockerfile: str
    files: Mapping[str, File]
    digest: str
    """Of all that decides the content: Dockerfile, files and the parts it is made from."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Build argument -> name of the part whose reference it gets; the empty name is Debian's base image."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Build arguments that are known beforehand."""
    reaches_out: bool = False
    """The build talks TLS to a package index, so it gets the host's certificates and settings."""
    ages: bool = False
    """The content depends on the day (Debian's updates), so that a rebuild starts from nothing."""
    app: str = ""
    """The app that it brings, as in the image's name; its failures are told as the app's."""

    @property
    def reference(self) -> str:
        """The tag that names exactly this content."""
        return exact_reference(self.name, self.digest)

    @property
    def family(self) -> str:
        """The image that the part is of, though others may be made from it, too: `core` of `core-tools`."""
        return self.name.partition("-")[0]


@dataclass(frozen=True)
class Recipe:
    """An image: its parts in the order of building, the last of which is the image."""

    name: str
    parts: tuple[Part, ...]
    boots: bool = True
    """The last part is an image of its own, and not what something else is made from."""
    apps: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of the image and of all it is made from."""
        return self.parts[-1].digest

    @property
    def reference(self) -> str:
        """The exact tag of the current image."""
        return self.parts[-1].reference

    @property
    def latest(self) -> str:
        """The tag that moves with every build."""
        return f"cloudrouter/{self.parts[-1].name}:latest"

    def part(self, name: str) -> Part:
        """One part by its name."""
        return next(part for part in self.parts if part.name == name)


def exact_reference(name: str, digest: str) -> str:
    """The tag of an image or part of ours with this digest."""
    return f"cloudrouter/{name}:{digest[:12]}"


def make_part(
    name: str,
    dockerfile: str,
    files: Mapping[str, File],
    *,
    needs: Mapping[str, str],
    given: Mapping[str, str] | None = None,
    made_from: Iterable[Part] = (),
    reaches_out: bool = False,
    ages: bool = False,
    app: str = "",
) -> Part:
    """A part with the digest of all this, and of the parts whose content gets into it."""
    total = hashlib.sha256(f"{name}\n{dockerfile}\n{context.digest(files)}\n".encode())
    for part in made_from:
        total.update(part.digest.encode())
    for key, value in sorted((given or {}).items()):
        total.update(f"{key}={value}\n".encode())
    return Part(name, dockerfile, files, total.hexdigest(), needs, given or {}, reaches_out, ages, app)
