"""Our images as data: parts with a Dockerfile and files each, and a digest that says which build is current."""

from __future__ import annotations

import os

from cloudrouter.images import apps, chains, payload
from cloudrouter.images.context import File
from cloudrouter.images.engine import ImageFacts
from cloudrouter.images.parts import (
    BUILT,
    LABEL_APPS,
    LABEL_DIGEST,
    LABEL_IMAGE,
    LABEL_LEFTOVER,
    LABEL_PART,
    LAYERED,
    Part,
    Recipe,
    exact_reference,
    make_part,
)
from cloudrouter.wire import flavours
from cloudrouter.wire.errors import NotFound

__all__ = [
    "BUILT",
    "LABEL_APPS",
    "LABEL_DIGEST",
    "LABEL_IMAGE",
    "LABEL_LEFTOVER",
    "LABEL_PART",
    "LAYERED",
    "Part",
    "Recipe",
    "exact_reference",
]

LABEL_BASE = "cloudrouter.dev/base"
"""Of a layered image: the name of what it was made from, as a person gave it."""
LABEL_BASE_ID = "cloudrouter.dev/base-id"
"""And its id, because names move on."""
LABEL_SOURCE = "cloudrouter.dev/source"
"""Of an image built from a person's Dockerfile: the folder's own name."""
LABEL_ORIGIN = "cloudrouter.dev/origin"
"""And what tells it from other folders of that name."""

MIX = "mix"
"""The repository of our images with other apps than a flavour has."""
BOOTABLE = (*flavours.FLAVOURS, MIX)
"""The images of ours that machines boot from, as their label says."""
RUNTIME = "runtime"
NAMES = (*flavours.FLAVOURS, RUNTIME)
"""The images that can be built by one word; `runtime` is what foreign images get to become bootable."""

_HERE = os.path.dirname(os.path.abspath(__file__))


def load(name: str, own_apps: str = "") -> Recipe:
    """The recipe of an image of ours as this installation has it now; reads some hundred small files.

    own_apps: the folder with the apps that people gave. NotFound (no such image or app), InvalidSpec (these apps).
    """
    if name == RUNTIME:
        return _load_runtime(_tools())
    if not is_named_ours(name):
        raise NotFound(
            f"There is no image called {name!r}; CloudRouter builds: {', '.join(NAMES)}.",
            next="cloudrouter image build core",
        )
    return _load_core(name, _tools(), own_apps)


def load_apps(name: str, base_id: str, own_apps: str) -> Recipe:
    """The recipe of what a foreign image becomes with the apps in its name; its last part waits for the guest."""
    tools, wanted = _tools(), flavours.split(name)[1]
    node = _node()
    ground = chains.foreign_ground(base_id, _text("ground.Dockerfile", "layer"))
    parts = chains.stack(apps.find_all(wanted, own_apps), ground, tools, node, ours=False)
    return Recipe(name, (tools, node, ground, *parts), boots=False, apps=wanted)


def is_named_ours(name: str) -> bool:
    """Whether the name means an image that we make from Debian's packages: core, with apps or without."""
    return flavours.split(name)[0] == "core"


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


def _tools() -> Part:
    return make_part("core-tools", _text("tools.Dockerfile"), _rootfs(), needs={"BASE": ""}, ages=True)


def _node() -> Part:
    fetch = {f"fetch/{file}": File(_read(file)) for file in ("requirements.txt", "npmrc")}
    # Node is unpacked with the tools' pip and unzip, but nothing of them gets into it: no `made_from`.
    return make_part("core-node", _text("node.Dockerfile"), fetch, needs={"TOOLS": "core-tools"}, reaches_out=True)


def _load_core(name: str, tools: Part, own_apps: str) -> Recipe:
    wanted = flavours.split(name)[1]
    node = _node()
    ground = make_part(
        "core-ground",
        _text("ground.Dockerfile"),
        {},
        needs={"TOOLS": "core-tools", "NODE": "core-node"},
        made_from=(tools, node),
    )
    parts = chains.stack(apps.find_all(wanted, own_apps), ground, tools, node, ours=True)
    below = parts[-1] if parts else ground
    last = make_part(
        name if name in flavours.FLAVOURS else MIX,
        _text("core.Dockerfile"),
        {**_guest(), "profile.sh": File(_read("profile.sh", "runtime"))},
        needs={"BELOW": below.name},
        made_from=(below,),
    )
    return Recipe(name, (tools, node, ground, *parts, last), apps=wanted)


def _load_runtime(tools: Part) -> Recipe:
    # Of the tools' Python a copy gets into it: it is as new as they are.
    python = make_part(
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
    runtime = make_part(
        "runtime",
        _text("guest.Dockerfile", "runtime"),
        files,
        needs={"PYTHON": "runtime-python"},
        made_from=(python,),
    )
    return Recipe(RUNTIME, (tools, python, runtime))


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
