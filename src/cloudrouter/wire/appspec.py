"""What an app says of itself in its `app.json`, checked strictly: by who builds an image and by the guest alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from cloudrouter.wire.apps import VIEW_HTTP, VIEW_NONE, VIEWS
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.flavours import app_fault
from cloudrouter.wire.streams import SIGNALS

FILE = "app.json"
WORDS = ("workspace", "home", "socket", "state", "app")
"""What `${...}` may name in a command and in variables; other words stay as they are."""
IDLE_STOP_S = 1800.0
START_TIMEOUT_S = 60.0
_LONGEST_S = 10 * 365 * 86400.0
_VARIABLE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_OURS = ("HOME", "USER", "LOGNAME", "SHELL", "PATH")
_KEYS = frozenset({"name", "title", "icon", "view", "command", "socket", "port", "requires", "idle_stop_s"}) | {
    *("start_timeout_s", "stop_signal", "environment", "exports", "health"),
}


@dataclass(frozen=True)
class AppSpec:
    """An app as its maker wants it run."""

    name: str
    title: str
    view: str
    """One of wire.apps.VIEWS."""
    command: list[str]
    port: Optional[int]
    """On 127.0.0.1; None: it listens on its socket."""
    icon: str
    """A file beside app.json, or empty."""
    requires: list[str]
    idle_stop_s: Optional[float]
    """Unused for so long it is stopped; None: never."""
    start_timeout_s: float
    stop_signal: str
    """Without SIG."""
    environment: dict[str, str]
    exports: dict[str, str]
    """Variables for every command of the machine."""
    health_path: str
    """What a GET is answered for below 500 when it is up; empty: it is enough that it takes connections."""


def read_spec(body: object, name: str) -> AppSpec:
    """The content of an app's app.json; UsageError says what cannot be. name: of its folder, and so its own."""
    if not isinstance(body, dict):
        raise UsageError(f"{FILE} must hold an object.")
    unknown = sorted(str(key) for key in set(body) - _KEYS)
    if unknown:
        raise UsageError(f"{FILE} has a key that nobody knows: {unknown[0][:40]!r}.", fix=f"Known: {sorted(_KEYS)}.")
    fault = app_fault(f"{name}@{'0' * 12}")  # with a digest it is judged as a stranger's, which may have any good name
    if fault or body.get("name") != name:
        raise UsageError(f"An app's name must be its folder's, {name[:40]!r}: {fault or 'it has another'}.")
    view = body.get("view", VIEW_NONE)
    if view not in VIEWS:
        raise UsageError(f"view must be one of {', '.join(VIEWS)}.")
    port = _read_place(body)
    return AppSpec(
        name=name,
        title=_text(body, "title", name),
        view=view,
        command=_read_command(body.get("command")),
        port=port,
        icon=_read_icon(body.get("icon")),
        requires=_read_requires(body.get("requires"), name),
        idle_stop_s=_seconds(body, "idle_stop_s", IDLE_STOP_S) if body.get("idle_stop_s", "") is not None else None,
        start_timeout_s=_seconds(body, "start_timeout_s", START_TIMEOUT_S),
        stop_signal=_read_signal(body.get("stop_signal", "TERM")),
        environment=_read_variables(body, "environment", ours_too=True),
        exports=_read_variables(body, "exports", ours_too=False),
        health_path=_read_health(body.get("health"), view),
    )


def fill(text: str, words: dict[str, str]) -> str:
    """The text with each `${word}` of WORDS replaced, each once and from left to right."""
    found, rest = "", text
    while (at := rest.find("${")) >= 0:
        word, closed, behind = rest[at + 2 :].partition("}")
        if closed and word in words:
            found, rest = found + rest[:at] + words[word], behind
        else:
            found, rest = found + rest[: at + 2], rest[at + 2 :]
    return found + rest


def _read_place(body: dict[str, Any]) -> Optional[int]:
    """The port, or None for the socket; exactly one of both is said."""
    socket, port = body.get("socket", False), body.get("port")
    if not isinstance(socket, bool):
        raise UsageError("socket must be true or false.")
    if port is not None and (type(port) is not int or not 0 < port < 65536):
        raise UsageError("port must be a number between 1 and 65535.")
    if socket is (port is not None):
        raise UsageError("An app listens on its socket (socket = true) or on a port: exactly one of both.")
    return port


def _read_command(value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise UsageError("command must be a list of words, at least one.")
    if any("\0" in word for word in value):
        raise UsageError("A word of command cannot hold a NUL character.")
    if not value[0]:
        raise UsageError("The first word of command must name a program.")
    return value


def _read_icon(value: object) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or "/" in value or "\0" in value or value.startswith(".") or len(value) > 100:
        raise UsageError("icon must be the name of a file beside app.json.")
    return value


def _read_requires(value: object, name: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UsageError("requires must be a list of apps' names.")
    for one in value:
        if one == name or app_fault(f"{one}@{'0' * 12}"):
            raise UsageError(f"requires names {one[:40]!r}, which can be no other app.")
    return list(dict.fromkeys(value))


def _read_signal(value: object) -> str:
    if not isinstance(value, str) or value not in SIGNALS:
        raise UsageError(f"stop_signal must be one of {', '.join(SIGNALS)}.")
    return value


def _read_variables(body: dict[str, Any], key: str, *, ours_too: bool) -> dict[str, str]:
    value = body.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{key} must be an object of texts.")
    for name, text in value.items():
        if not name or not _VARIABLE.issuperset(name) or name[0].isdigit():
            raise UsageError(f"{key} holds {name[:40]!r}, which can be no variable's name.")
        if not isinstance(text, str) or "\0" in text:
            raise UsageError(f"The variable {name} in {key} must be text without NUL.")
        if name.startswith("CLOUDROUTER_") or (not ours_too and name in _OURS):
            raise UsageError(f"{key} may not set {name}: the machine does.")
    return value


def _read_health(value: object, view: str) -> str:
    """The path that is asked for; only programs that speak HTTP have one."""
    if value is None:
        return ""
    path = value.get("path") if isinstance(value, dict) and set(value) == {"path"} else None
    if not isinstance(path, str) or not path.startswith("/") or not path.isascii() or not path.isprintable():
        raise UsageError('health must be an object with a path, such as {"path": "/healthz"}.')
    if " " in path or len(path) > 500:
        raise UsageError("The path of health must be short and without spaces.")
    if view not in (VIEW_HTTP, VIEW_NONE):
        raise UsageError("An app that is seen as a desktop does not speak HTTP, so it has no health.path.")
    return path


def _text(body: dict[str, Any], key: str, otherwise: str) -> str:
    value = body.get(key, otherwise)
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 100:
        raise UsageError(f"{key} must be a short printable text.")
    return value


def _seconds(body: dict[str, Any], key: str, otherwise: float) -> float:
    value = body.get(key, otherwise)
    if type(value) not in (int, float) or not 0 < value < _LONGEST_S:
        raise UsageError(f"{key} must be a positive number of seconds.")
    return float(value)
