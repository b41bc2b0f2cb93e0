"""Where the candidates of a completion come from, by the word that stands for them on the help page."""

from __future__ import annotations

import os

from cloudrouter.cli.completing import FILES, FOLDERS, Found
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    from cloudrouter.client.transport import Transport

DEADLINE_S = 0.5
"""How long a TAB may wait for the router; one that is busy gives no candidates."""


def for_action(name: str, action: argparse.Action, before: list[str]) -> Found:
    """Candidates for one word or flag value of a verb; `before` are the verb's words that stand already."""
    found = _for_action(name, action, before)
    # A name that somebody else gave must not become a flag.
    found.items = [(word, meaning) for word, meaning in found.items if not word.startswith("-")]
    return found


def _for_action(name: str, action: argparse.Action, before: list[str]) -> Found:
    if action.choices is not None:
        return Found((str(choice), "") for choice in action.choices)
    if action.dest == "template" or (name.startswith("templates ") and action.dest == "name"):
        return _templates()
    word = str(action.metavar or "").strip("[]").split(" ")[-1].split("[")[0]
    if name.startswith("browser "):
        return _for_browser(word, action.dest, before)
    source = _SOURCES.get(word)
    if word == "NAME" and name.startswith("volume "):
        source = _volumes
    return Found() if source is None else source(before)


def _for_browser(word: str, dest: str, before: list[str]) -> Found:
    """Words of `browser` verbs: many are called as something else is called elsewhere."""
    if word in ("ID", "FILE"):
        return _SOURCES[word](before)
    if dest == "session":
        return _surfers(before)
    return Found((one, "") for one in _BROWSER_WORDS.get(word, ()))


def _surfers(before: list[str]) -> Found:
    """The sessions of a machine's browser; to ask for them starts nothing."""
    transport = _router()
    if transport is None or not before:
        return Found()
    path = routes.machine(before[0], "browser")
    answer = transport.call("POST", path, {"verb": "sessions"}, timeout=DEADLINE_S)
    data = answer.get("data") if isinstance(answer, dict) else None
    found = data.get("sessions") if isinstance(data, dict) else None
    sessions = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return Found((str(one.get("name")), str(one.get("url") or "")) for one in sessions)


def _machines(before: list[str]) -> Found:
    """Names where there are some, ids where not or where an id is typed; none twice."""
    items = []
    for machine in _asked(routes.MACHINES, "machines"):
        own, label = str(machine.get("id", "")), str(machine.get("name") or "")
        state = str(machine.get("state", ""))
        if own not in before and (not label or label not in before):
            items += [(label, f"{own} {state}")] if label else []
            items.append((own, f"{label} {state}".strip()))
    return Found(items)


def _places(before: list[str]) -> Found:
    """A machine's place for `cp`, or a file here."""
    items = [(f"{word}:", meaning) for word, meaning in _machines([]).items if not word.startswith("cr_")]
    return Found(items or [(f"{word}:", meaning) for word, meaning in _machines([]).items], FILES, joins=True)


def _jobs(before: list[str]) -> Found:
    transport = _router()
    if transport is None or not before:
        return Found()
    from cloudrouter.client import answers, commands

    stream = transport.stream(routes.machine(before[0], "stream"), timeout=DEADLINE_S)
    jobs = answers.read_jobs(commands.ask(stream, {"op": "job.list"}, timeout=DEADLINE_S))
    return Found(
        (str(job["id"]), f"{job['state']}: {job.get('command')}") for job in reversed(jobs) if job["id"] not in before
    )


def _templates() -> Found:
    from cloudrouter.client import templates

    return Found((one.name, one.description or one.source) for one in templates.read_all(os.getcwd(), os.environ))


def _volumes(before: list[str]) -> Found:
    found = _asked(routes.VOLUMES, "volumes")
    return Found((str(one.get("name")), "") for one in found if one.get("name") not in before)


def _images(before: list[str]) -> Found:
    return Found((str(one.get("name")), "") for one in _asked(routes.IMAGES, "images"))


def _keys(before: list[str]) -> Found:
    from cloudrouter.cli.config import KEYS

    return Found((key, "") for key in KEYS)


def _signals(before: list[str]) -> Found:
    from cloudrouter.wire.streams import SIGNALS

    return Found((name, "") for name in SIGNALS)


def _apps(before: list[str]) -> Found:
    """The apps of a machine, by its image: asking the machine itself would take longer than a TAB may."""
    if not before:
        return Found()
    machine = next(
        (one for one in _asked(routes.MACHINES, "machines") if before[0] in (one.get("id"), one.get("name"))), {}
    )
    apps = machine.get("apps")
    return Found((str(app), "") for app in (apps if isinstance(apps, list) else ()))


def _targets(before: list[str]) -> Found:
    """What `open` and `forward` reach: apps that people see, and the ports that listen."""
    if not before:
        return Found()
    transport = _router()
    found = transport.call("GET", routes.machine(before[0], "ports"), timeout=DEADLINE_S) if transport else {}
    ports = found.get("ports") if isinstance(found, dict) else None
    items = [(str(one.get("port")), str(one.get("process"))) for one in ports or () if isinstance(one, dict)]
    return Found([*items, *_apps(before).items])


def _sessions(before: list[str]) -> Found:
    transport = _router()
    if transport is None or not before:
        return Found()
    from cloudrouter.client import commands

    stream = transport.stream(routes.machine(before[0], "stream"), timeout=DEADLINE_S)
    found = commands.ask(stream, {"op": "pty.list"}, timeout=DEADLINE_S).get("ptys")
    ptys = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return Found((str(one.get("name") or one.get("id")), str(one.get("command"))) for one in ptys)


def _our_apps(before: list[str]) -> Found:
    from cloudrouter.wire.flavours import OURS

    return Found((app, "") for app in OURS)


def _shells(before: list[str]) -> Found:
    from cloudrouter.cli.verbs.completion import SHELLS

    return Found((shell, "") for shell in SHELLS)


def _files(before: list[str]) -> Found:
    return Found(kind=FILES)


def _folders(before: list[str]) -> Found:
    return Found(kind=FOLDERS)


_BROWSER_WORDS: dict[str, tuple[str, ...]] = {
    "ACTION": ("click", "fill", "check", "hover", "text"),
    "KEY": ("Enter", "Tab", "Escape", "Backspace", "ArrowDown", "ArrowUp", "Control+a"),
    "SCHEME": ("dark", "light"),
    "MOTION": ("reduced-motion",),
}
"""Words of `browser` verbs that are one of a few most of the time."""
_SOURCES: dict[str, Callable[[list[str]], Found]] = {
    "ID": _machines,
    "JOB": _jobs,
    "SOURCE": _places,
    "TARGET": _places,
    "LOCAL": _files,
    "FILE": _files,
    "DIR": _folders,
    "DIR|NAME=IMAGE": _folders,
    "A,B": _our_apps,
    "APP": _apps,
    "APP|PORT": _targets,
    "PORT": _targets,
    "SESSION": _sessions,
    "IMAGE": _images,
    "KEY": _keys,
    "SIG": _signals,
    "SIGNAL": _signals,
    "SHELL": _shells,
}
"""The word on the help page -> its candidates."""


def _asked(route: str, word: str) -> list[dict[str, Any]]:
    """A list of the router's, empty while none runs or when it is too busy."""
    transport = _router()
    if transport is None:
        return []
    try:
        found = transport.call("GET", route, timeout=DEADLINE_S).get(word)
    except (CloudRouterError, AttributeError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _router() -> Transport | None:
    from cloudrouter.cli.connection import find_router

    try:
        return find_router()
    except CloudRouterError:
        return None
