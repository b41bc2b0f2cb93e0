"""Templates: machines by name, from the person's file, the project's, and those that are built in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudrouter.client import projects, templatefile
from cloudrouter.client.templatefile import KEYS, broken
from cloudrouter.wire import places
from cloudrouter.wire.errors import CloudRouterError, NotFound, UsageError

BUILT_IN, USER, PROJECT = "built-in", "user", "project"
PROJECT_FILE = ".cloudrouter/templates.toml"


@dataclass(frozen=True)
class Template:
    """One template; what it does not say is None or empty, and left to flags, settings and the router."""

    name: str
    source: str
    """`project`, `user` or `built-in`; the first of these that has the name wins."""
    path: str = ""
    """The file it stands in; empty for a built-in one."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The keys that are set, checked."""
    tested: str = ""
    """What is known of a built-in one."""
    hides: str = ""
    """The source of another template of this name that this one stands before; empty for none."""

    def __getattr__(self, key: str) -> Any:
        """A key of the file: None, or an empty list or mapping, where it is not set."""
        if key not in KEYS:
            raise AttributeError(key)
        return self.facts.get(key, KEYS[key].empty())

    @property
    def folder(self) -> str:
        """The folder that a relative `build` of it is relative to; empty where that is the folder to be started."""
        return os.path.dirname(os.path.dirname(self.path)) if self.source == PROJECT else ""

    def env_values(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Its variables, `"$NAME"` replaced by the caller's own; UsageError names one that is not there."""
        found = {}
        for key, value in self.env.items():
            wanted = templatefile.own_variable(value)
            if wanted is None:
                found[key] = value[1:] if value.startswith("$$") else value
            elif wanted in environ:
                found[key] = environ[wanted]
            else:
                raise UsageError(
                    f"The template {self.name} takes {wanted} from your environment, and it is not set.",
                    fix=f"Export {wanted} first, or give --env {key}=VALUE.",
                    next=f"cloudrouter templates show {self.name}",
                )
        return found

    def own_variables(self) -> list[str]:
        """The names that it takes from the caller's environment."""
        wanted = (templatefile.own_variable(value) for value in self.env.values())
        return sorted({name for name in wanted if name is not None})

    def to_json(self) -> dict[str, Any]:
        """All of it; every key is there. Values taken from the environment stay `$NAME`."""
        head = {"name": self.name, "source": self.source, "path": self.path or None, "hides": self.hides or None}
        return {**head, **{key: getattr(self, key) for key in KEYS}, "tested": self.tested or None}


BUILT_INS = (
    Template(
        "core",
        BUILT_IN,
        facts={"description": "Debian 12, Python 3.11, Node 24, build tools", "image": "core"},
        tested="every test of CloudRouter runs in it",
    ),
    Template(
        "desktop",
        BUILT_IN,
        facts={"description": "core with a desktop and Chromium", "image": "desktop"},
        tested="its desktop is typed at and watched in tests",
    ),
    Template(
        "full",
        BUILT_IN,
        facts={
            "description": "desktop with VS Code and JupyterLab: a machine without a template, once it is built",
            "image": "full",
        },
        tested="its apps are used in a real browser in tests",
    ),
)


def user_file(environ: Mapping[str, str]) -> str:
    """The person's own file, beside their config.toml, whether it exists or not."""
    return os.path.join(os.path.dirname(places.config_file(environ)), "templates.toml")


def project_file(folder: str) -> str | None:
    """The project's file, or None when it has none; see projects.find_file."""
    return projects.find_file(folder, PROJECT_FILE)


def read_all(folder: str, environ: Mapping[str, str]) -> list[Template]:
    """Every template that counts for work in this folder, by name; UsageError names file, line and key of a fault."""
    found: dict[str, Template] = {}
    for template in (*BUILT_INS, *_of_file(user_file(environ), USER), *_of_project(folder)):
        before = found.get(template.name)
        hides = before.source if before is not None else ""
        found[template.name] = Template(
            template.name, template.source, template.path, template.facts, template.tested, hides
        )
    return [found[name] for name in sorted(found)]


def find(name: str, folder: str, environ: Mapping[str, str]) -> Template:
    """The template of that name; NotFound names those there are."""
    known = read_all(folder, environ)
    for template in known:
        if template.name == name:
            return template
    raise NotFound(
        f"There is no template {name!r}.",
        fix=_close(name, [one.name for one in known]),
        next="cloudrouter templates ls",
    )


def check_file(path: str, source: str) -> tuple[list[Template], CloudRouterError | None]:
    """(the templates of a file, None), or ([], what is wrong with it)."""
    try:
        return list(_of_file(path, source)), None
    except CloudRouterError as error:
        return [], error


def build_folder(template: Template, folder: str) -> str:
    """The folder of its Dockerfile, absolute. One of a project may not lead out of that project.

    folder: the one that is started, for a relative path of the person's own template.
    """
    return _inside(template, "build", template.build, folder)


def _inside(template: Template, key: str, word: str, folder: str) -> str:
    wanted = os.path.expanduser(word)
    base = template.folder or folder
    path = os.path.normpath(os.path.join(os.path.abspath(base), wanted))
    real, top = os.path.realpath(path), os.path.realpath(base)
    if template.source == PROJECT and real != top and not real.startswith(top.rstrip("/") + "/"):
        raise broken(template.path, template.name, key, "it leads out of the project", "Name a folder in it.")
    return path


def own_app(template: Template, word: str, folder: str) -> str:
    """An app of its own: a folder, absolute and, for a project, in it; a sidecar's `NAME=IMAGE` as it is."""
    name, equals, _ = word.partition("=")
    if equals and "/" not in name and not name.startswith((".", "~")):
        return word
    return _inside(template, "app", word, folder)


def _of_project(folder: str) -> Iterable[Template]:
    path = project_file(folder)
    return _of_file(path, PROJECT) if path is not None else ()


def _of_file(path: str, source: str) -> Iterable[Template]:
    return [Template(name, source, path, facts) for name, facts in templatefile.read(path).items()]


def _close(name: str, known: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known)}."
