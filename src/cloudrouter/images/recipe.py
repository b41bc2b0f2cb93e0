"""Our images as data: parts with a Dockerfile and files each, and a digest that says which build is current."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudrouter.images import context, payload
from cloudrouter.images.context import File
from cloudrouter.wire.errors import NotFound

LABEL_IMAGE = "cloudrouter.dev/image"
LABEL_PART = "cloudrouter.dev/part"
LABEL_DIGEST = "cloudrouter.dev/digest"
LABEL_LEFTOVER = "cloudrouter.dev/leftover"
"""Carried by builder stages that may hold the host's certificates; removed after every build."""

NAMES = ("core",)
"""The images that can be built."""

_HERE = os.path.dirname(os.path.abspath(__file__))


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
    reaches_out: bool = False
    """The build talks TLS to a package index, so it gets the host's certificates and settings."""
    ages: bool = False
    """The content depends on the day (Debian's updates), so that a rebuild starts from nothing."""

    @property
    def reference(self) -> str:
        """The tag that names exactly this content."""
        return f"cloudrouter/{self.name}:{self.digest[:12]}"


@dataclass(frozen=True)
class Recipe:
    """An image: its parts in the order of building, the last of which is the image."""

    name: str
    parts: tuple[Part, ...]

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
        return f"cloudrouter/{self.name}:latest"

    def part(self, name: str) -> Part:
        """One part by its name."""
        return next(part for part in self.parts if part.name == name)


def load(name: str) -> Recipe:
    """The recipe of one of NAMES as this installation has it now; reads some hundred small files."""
    if name not in NAMES:
        raise NotFound(
            f"There is no image called {name!r}; CloudRouter builds: {', '.join(NAMES)}.",
            next="cloudrouter image build core",
        )
    tools = _part("core-tools", _text("tools.Dockerfile"), _rootfs(), needs={"BASE": ""}, ages=True)
    fetch = {f"fetch/{file}": File(_read(file)) for file in ("requirements.txt", "npmrc")}
    # Node is unpacked with the tools' pip and unzip, but nothing of them gets into it: no `made_from`.
    node = _part("core-node", _text("node.Dockerfile"), fetch, needs={"TOOLS": "core-tools"}, reaches_out=True)
    core = _part(
        "core",
        _text("core.Dockerfile"),
        _guest(),
        needs={"TOOLS": "core-tools", "NODE": "core-node"},
        made_from=(tools, node),
    )
    return Recipe(name, (tools, node, core))


def _part(
    name: str,
    dockerfile: str,
    files: Mapping[str, File],
    *,
    needs: Mapping[str, str],
    made_from: tuple[Part, ...] = (),
    reaches_out: bool = False,
    ages: bool = False,
) -> Part:
    total = hashlib.sha256(f"{name}\n{dockerfile}\n{context.digest(files)}\n".encode())
    for part in made_from:
        total.update(part.digest.encode())
    return Part(name, dockerfile, files, total.hexdigest(), needs, reaches_out, ages)


def _rootfs() -> dict[str, File]:
    modes = {"etc/sudoers.d/cloudrouter": 0o440, "usr/sbin/policy-rc.d": 0o755}
    found = payload.read_tree(os.path.join(_HERE, "core", "rootfs"))
    return {f"rootfs/{path}": File(data, modes.get(path, 0o644)) for path, data in found.items()}


def _guest() -> dict[str, File]:
    files = {f"cloudrouter/lib/{path}": File(data) for path, data in payload.guest_modules().items()}
    files["cloudrouter/lib/__main__.py"] = File(_read("start_guest.py"))
    files["cloudrouter/supervise"] = File(_read("supervise"), 0o755)
    return files


def _read(file: str) -> bytes:
    with open(os.path.join(_HERE, "core", file), "rb") as source:
        return source.read()


def _text(file: str) -> str:
    return _read(file).decode()
