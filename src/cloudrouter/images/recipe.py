"""Our images as data: parts with a Dockerfile and files each, and a digest that says which build is current."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudrouter.images import context, payload
from cloudrouter.images.context import File
from cloudrouter.images.engine import ImageFacts
from cloudrouter.wire.errors import NotFound

LABEL_IMAGE = "cloudrouter.dev/image"
LABEL_PART = "cloudrouter.dev/part"
LABEL_DIGEST = "cloudrouter.dev/digest"
LABEL_LEFTOVER = "cloudrouter.dev/leftover"
"""Carried by builder stages that may hold the host's certificates; removed after every build."""

LABEL_BASE = "cloudrouter.dev/base"
"""Of a layered image: the name of what it was made from, as a person gave it."""
LABEL_BASE_ID = "cloudrouter.dev/base-id"
"""And its id, because names move on."""
LABEL_SOURCE = "cloudrouter.dev/source"
"""Of an image built from a person's Dockerfile: the folder's own name."""
LABEL_ORIGIN = "cloudrouter.dev/origin"
"""And what tells it from other folders of that name."""

BOOTABLE = ("core",)
"""The images of ours that machines boot from."""
NAMES = (*BOOTABLE, "runtime")
"""The images that can be built; `runtime` is what foreign images get to become bootable."""
LAYERED, BUILT = "any", "build"
"""The image label of foreign images with our guest in them, and of those built from a person's Dockerfile."""

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
    if name == "runtime":
        return _load_runtime(_tools())
    return _load_core(name, _tools())


def is_ours(facts: ImageFacts) -> bool:
    """Whether CloudRouter made the image. Labels alone do not say so: they come along with `FROM cloudrouter/core`,
    and anybody can write them into an image. A tag can come from a registry or be moved, which the engine's side tells.
    """
    if not facts.made_here:
        return False
    digest = facts.labels.get(LABEL_DIGEST) or ""
    built = facts.labels.get(LABEL_IMAGE) == BUILT
    return any(
        name.startswith("cloudrouter/") and (built or (digest != "" and tag == digest[:12]))
        for name, _, tag in (one.rpartition(":") for one in facts.tags)
    )


def boots_by_itself(facts: ImageFacts) -> bool:
    """Whether it is a build of ours that has a guest: an older core, a layered image."""
    return is_ours(facts) and facts.labels.get(LABEL_IMAGE) in (*BOOTABLE, LAYERED)


def exact_reference(name: str, digest: str) -> str:
    """The tag of an image or part of ours with this digest."""
    return f"cloudrouter/{name}:{digest[:12]}"


def _tools() -> Part:
    return _part("core-tools", _text("tools.Dockerfile"), _rootfs(), needs={"BASE": ""}, ages=True)


def _load_core(name: str, tools: Part) -> Recipe:
    fetch = {f"fetch/{file}": File(_read(file)) for file in ("requirements.txt", "npmrc")}
    # Node is unpacked with the tools' pip and unzip, but nothing of them gets into it: no `made_from`.
    node = _part("core-node", _text("node.Dockerfile"), fetch, needs={"TOOLS": "core-tools"}, reaches_out=True)
    core = _part(
        "core",
        _text("core.Dockerfile"),
        {**_guest(), "profile.sh": File(_read("profile.sh", "runtime"))},
        needs={"TOOLS": "core-tools", "NODE": "core-node"},
        made_from=(tools, node),
    )
    return Recipe(name, (tools, node, core))


def _load_runtime(tools: Part) -> Recipe:
    # Of the tools' Python a copy gets into it: it is as new as they are.
    python = _part(
        "runtime-python",
        _text("python.Dockerfile", "runtime"),
        {"collect.py": File(_read("collect.py", "runtime"))},
        needs={"TOOLS": "core-tools"},
        made_from=(tools,),
    )
    files = _guest()
    for name in ("account.py", "profile.sh"):
        files[f"cloudrouter/setup/{name}"] = File(_read(name, "runtime"))
    files["cloudrouter/setup/sudoers"] = File(_rootfs()["rootfs/etc/sudoers.d/cloudrouter"].data)
    runtime = _part(
        "runtime",
        _text("guest.Dockerfile", "runtime"),
        files,
        needs={"PYTHON": "runtime-python"},
        made_from=(python,),
    )
    return Recipe("runtime", (tools, python, runtime))


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


def _read(file: str, folder: str = "core") -> bytes:
    with open(os.path.join(_HERE, folder, file), "rb") as source:
        return source.read()


def _text(file: str, folder: str = "core") -> str:
    return _read(file, folder).decode()
