"""Apps as folders: ours and a person's own, found by the name that they have in an image's name, and read whole."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudrouter.images import context, features
from cloudrouter.images.context import File
from cloudrouter.images.features import Feature, wrong
from cloudrouter.wire import appspec, flavours
from cloudrouter.wire.errors import InvalidSpec, NotConfigured, NotFound

SETTINGS = "app.toml"
BUILDER = "build.Dockerfile"
BUILDER_FILES = "build/"
FILES_LIMIT = 10_000
BYTES_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True)
class App:
    """One app, ready to be put into an image."""

    name: str
    """As in an image's name: `vscode`, or `name@digest` of a person's own."""
    feature: Feature
    files: Mapping[str, File]
    """What lies in the image, beside what the builder makes."""
    builder: str
    """Its own builder stage's Dockerfile; empty where it has none."""
    builder_files: Mapping[str, File]
    takes_node: bool
    """It runs on our Node, which an image that is not ours has not."""
    requires: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Its name without a digest, which its folder has inside."""
        return flavours.app_name(self.name)


def own_folder() -> str:
    """Where the apps of this project are: beside the code that was installed, or at the root of a checkout."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (f"{here}/apps", f"{os.path.dirname(os.path.dirname(here))}/apps"):
        if os.path.isfile(f"{folder}/desktop/{features.FILE}"):
            return folder
    raise NotConfigured(
        "The apps that come with CloudRouter are not where they should be.",
        fix="Install CloudRouter whole.",
        next="pip install --force-reinstall cloudrouter",
    )


def find(name: str, own_apps: str) -> App:
    """The app of that name; own_apps: where a person's own ones are kept. NotFound, InvalidSpec."""
    fault = flavours.app_fault(name)
    if fault:
        raise wrong(f"{name[:60]!r} is not an app: {fault}.")
    if "@" not in name:
        return read(f"{own_folder()}/{name}", name, modes=False)
    folder = f"{own_apps}/{name}"
    if not own_apps or not os.path.isdir(folder):
        raise NotFound(
            f"The app {name} is not here (any more).",
            fix="Give its folder again: start --app DIR.",
            next="cloudrouter start --app DIR",
        )
    found = read(folder, name, modes=True)
    if digest_of(folder) != name.partition("@")[2]:
        raise wrong(f"The app {name} was changed where it is kept ({folder}).")
    return found


def find_all(names: tuple[str, ...], own_apps: str) -> tuple[App, ...]:
    """All apps of an image; InvalidSpec where they cannot be together."""
    found = tuple(find(name, own_apps) for name in names)
    folders = [app.folder for app in found]
    for app in found:
        if folders.count(app.folder) > 1:
            raise wrong(f"There are two apps called {app.folder}; an image has one: --without {app.folder}.")
        lacking = [one for one in app.requires if one not in folders]
        if lacking:
            raise InvalidSpec(
                f"The app {app.folder} cannot do without {lacking[0]}.",
                fix=f"Take {lacking[0]} as well: --apps {lacking[0]}.",
                next="cloudrouter start --help",
                field="app",
            )
    return found


def digest_of(folder: str) -> str:
    """Twelve hex digits of all that lies in a person's app folder."""
    return context.digest(read_files(folder, modes=True))[:12]


def read(folder: str, name: str, *, modes: bool) -> App:
    """An app from its folder; modes: whether those on the disk count, or programs are known by their first line."""
    files = read_files(folder, modes=modes)
    for needed in (features.FILE, features.INSTALL):
        if needed not in files:
            raise wrong(f"There is no {needed} in the app's folder.")
    feature = features.read(files[features.FILE].data)
    plain = flavours.app_name(name)
    if feature.id != plain:
        raise wrong(f"Its id is {feature.id[:40]!r}, and the app is called {plain}.")
    kept = {path: file for path, file in files.items() if path != BUILDER and not path.startswith(BUILDER_FILES)}
    takes_node = False
    requires: tuple[str, ...] = ()
    if SETTINGS in files:
        body, build = _settings(files[SETTINGS].data)
        spec = appspec.read_spec(body, plain)
        kept[appspec.FILE] = File(_compiled(spec))
        takes_node, requires = bool(build.get("node")), tuple(spec.requires)
    kept[".feature.env"] = File(feature.variables().encode())
    kept[features.INSTALL] = File(files[features.INSTALL].data, 0o755)
    return App(
        name=name,
        feature=feature,
        files=kept,
        builder=files[BUILDER].data.decode(errors="replace") if BUILDER in files else "",
        builder_files={path: file for path, file in files.items() if path.startswith(BUILDER_FILES)},
        takes_node=takes_node,
        requires=requires,
    )


def read_files(folder: str, *, modes: bool) -> dict[str, File]:
    """Every file below a folder; InvalidSpec for links, other things than files, and far too much."""
    found: dict[str, File] = {}
    total = 0
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one != "__pycache__")
        for own in (*(one for one in folders if os.path.islink(f"{base}/{one}")), *sorted(names)):
            path = f"{base}/{own}"
            shown = os.path.relpath(path, folder)
            facts = os.lstat(path)
            if not stat.S_ISREG(facts.st_mode):
                raise wrong(f"{shown[:100]!r} in the app's folder is neither a file nor a folder.")
            total += facts.st_size
            if total > BYTES_LIMIT or len(found) >= FILES_LIMIT:
                raise wrong(f"The app is larger than {BYTES_LIMIT >> 20} MiB, or has more than {FILES_LIMIT} files.")
            with open(path, "rb") as source:
                data = source.read()
            runs = facts.st_mode & 0o100 if modes else data.startswith(b"#!")
            found[shown] = File(data, 0o755 if runs else 0o644)
    return found


def _settings(text: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what the guest is told, what building needs) of an app.toml."""
    try:
        body = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise wrong(f"{SETTINGS} cannot be read: {str(error)[:160]}.") from None
    build = body.pop("build", {})
    if not isinstance(build, dict) or set(build) - {"node"} or not isinstance(build.get("node", False), bool):
        raise wrong(f"The table build of {SETTINGS} knows node = true alone.")
    return body, build


def _compiled(spec: appspec.AppSpec) -> bytes:
    """The app.json of an app.toml: every key, with its default where none was said."""
    body = {**vars(spec), "socket": spec.port is None}
    path = body.pop("health_path")
    body["health"] = {"path": path} if path else None
    return (json.dumps(body, indent=1, sort_keys=True) + "\n").encode()
