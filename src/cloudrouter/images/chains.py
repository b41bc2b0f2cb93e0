"""Apps as parts of an image: one on the other, so that images that begin with the same apps share them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from cloudrouter.images import dockerfiles
from cloudrouter.images.apps import App
from cloudrouter.images.context import File
from cloudrouter.images.features import wrong
from cloudrouter.images.parts import LABEL_LEFTOVER, Part, make_part
from cloudrouter.wire.apps import FOLDER

_ARGUMENT = re.compile(r"^ARG[ \t]+([A-Za-z_]+)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_STEP = (
    "set -eu; umask 022; cd {folder}; set -a; . ./.feature.env; set +a; unset LD_PRELOAD LD_LIBRARY_PATH; "
    "exec ./install.sh"
)


def stack(apps: Iterable[App], ground: Part, tools: Part, node: Part, *, ours: bool) -> tuple[Part, ...]:
    """The parts that bring these apps, in order of building, on top of `ground`; ours: that has Node already."""
    parts: list[Part] = []
    below = ground
    for app in apps:
        built = _builder(app, ground, tools, node) if app.builder else None
        below = _app(app, below, built, None if ours or not app.takes_node else node)
        parts += [built, below] if built is not None else [below]
    return tuple(parts)


def _builder(app: App, ground: Part, tools: Part, node: Part) -> Part:
    """The app's own builder stage, which knows only what its Dockerfile asks for, and is new only when that is."""
    known = {"TOOLS": tools, "NODE": node, "BASE": ground}
    head = app.builder.partition("FROM")[0]
    asked = [name for name in _ARGUMENT.findall(head) if name in known]
    arguments = {name: known[name].reference for name in asked}
    allowed = {"scratch", *arguments.values()}
    taken = [one for one in dockerfiles.images(app.builder, arguments) if one not in allowed]
    if taken:
        raise wrong(f"The builder of {app.folder} may begin with TOOLS, NODE, BASE and scratch, not {taken[0][:60]}.")
    if LABEL_LEFTOVER not in app.builder or "ARG LEFTOVER" not in app.builder:
        raise wrong(f"A stage of the builder of {app.folder} must carry ARG LEFTOVER and LABEL {LABEL_LEFTOVER}.")
    # What is compiled with the tools and Node does not change with them; an environment for the image's Python does.
    made_from = tuple(known[name] for name in asked if name != "TOOLS")
    return make_part(
        f"app-{app.folder}-build",
        app.builder,
        app.builder_files,
        needs={name: known[name].name for name in asked},
        made_from=made_from,
        reaches_out=True,
        ages="BASE" in asked,
        app=app.name,
    )


def _app(app: App, below: Part, built: Part | None, node: Part | None) -> Part:
    needs = {"BELOW": below.name}
    if built is not None:
        needs["BUILT"] = built.name
    if node is not None:
        needs["NODE"] = node.name
    return make_part(
        f"app-{app.folder}",
        _dockerfile(app, needs),
        {f"app/{path}": file for path, file in app.files.items()},
        needs=needs,
        made_from=[one for one in (below, built, node) if one is not None],
        ages=True,
        app=app.name,
    )


def _dockerfile(app: App, needs: Mapping[str, str]) -> str:
    folder = f"{FOLDER}/{app.folder}"
    lines = [f"ARG {name}" for name in needs]
    lines += [f"FROM ${{{name}}} AS {name.lower()}" for name in needs if name != "BELOW"]
    lines += ["FROM ${BELOW}", "USER 0:0"]
    if "BUILT" in needs:
        lines.append("COPY --from=built / /")
    lines += ["", f"#: App {app.folder}", f"COPY app/ {folder}/"]
    if "NODE" in needs:
        lines.append(f"COPY --from=node /bin/node {folder}/node")
    lines += [f"ENV {name}={_quoted(text)}" for name, text in app.feature.environment.items()]
    lines.append(f"RUN {json.dumps(['/bin/sh', '-c', _STEP.format(folder=folder)])}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A variable's text for ENV, in which `${PATH}` still means the path."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def foreign_ground(image_id: str, dockerfile: str) -> Part:
    """A foreign image, made ready for apps."""
    files: dict[str, File] = {}
    return make_part("app-ground", dockerfile, files, needs={}, given={"IMAGE": image_id}, app="apps")
