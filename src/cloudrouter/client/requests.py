"""What the SDK asks and how it reads the answers, without asking: shared by programs that block and that await."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar
from urllib.parse import urlencode

from cloudrouter.client import served
from cloudrouter.wire import routes, sizes
from cloudrouter.wire.decode import decode
from cloudrouter.wire.errors import Internal, InvalidSpec, NotFound, UsageError
from cloudrouter.wire.machines import Usage
from cloudrouter.wire.mounts import parse_mounts
from cloudrouter.wire.streams import SIGNALS
from cloudrouter.wire.targets import read_target

Command = str | Sequence[str]
"""A line for the login user's shell, or the words of a program that is started as it is."""

Record = TypeVar("Record")

READY_TIMEOUT_S = 60.0
"""How long a server is waited for when the caller does not say."""
LOCAL_HOSTS = ("127.0.0.1", "::1")


class StartOptions(TypedDict, total=False):
    """The keywords of `machines.start`, for functions that hand them on; their meanings stand there."""

    name: str | None
    size: str | None
    cpu: float | None
    memory: int | str | None
    disk: int | str | None
    image: str | None
    provider: str | None
    env: Mapping[str, str] | None
    labels: Mapping[str, str] | None
    timeout: float | None
    gpu: str | None
    volumes: Iterable[str]
    package_cache: bool | None
    apps: Iterable[str]
    without: Iterable[str]
    app: Iterable[str | os.PathLike[str]]
    with_secrets: bool
    exclude: Iterable[str]
    progress: Any


class ListOptions(TypedDict, total=False):
    """The keywords of `machines.list`, for functions that hand them on; their meanings stand there."""

    all: bool
    labels: Mapping[str, str | None] | None
    state: str | None
    provider: str | None
    name: str | None


def start_request(**given: Any) -> dict[str, Any]:
    """The body of `POST /v1/machines` from the keywords of `machines.start`; what was not given is left out."""
    given["memory_bytes"] = _bytes(given.pop("memory"), "memory_bytes")
    given["disk_bytes"] = _bytes(given.pop("disk"), "disk_bytes")
    given["timeout_seconds"] = given.pop("timeout")
    given["mounts"] = parse_mounts(given.pop("volumes"))
    given["env"] = dict(given["env"] or {})
    given["labels"] = dict(given["labels"] or {})
    return {key: value for key, value in given.items() if value not in (None, {}, [])}


def exec_request(
    command: Command,
    cwd: str | None,
    env: Mapping[str, str] | None,
    timeout: float | None = None,
    *,
    operation: str = "exec",
    stdin: bool = False,
) -> dict[str, Any]:
    """The first message of a stream that runs a command; UsageError for no command."""
    request: dict[str, Any] = {"op": operation}
    if isinstance(command, str):
        request["line"] = command
    else:
        request["argv"] = list(command)
        if not request["argv"]:
            raise UsageError("There is no command to run.", fix="Give a line, or a list that begins with a program.")
    if cwd is not None:
        request["cwd"] = cwd
    if env:
        request["env"] = dict(env)
    if timeout is not None:
        request["timeout_s"] = timeout
    if stdin:
        request["stdin"] = True
    return request


def port_request(port: int, host: str | None) -> dict[str, Any]:
    """The first message of a stream to a port inside; UsageError for what is no port, or another host."""
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise UsageError(f"{port!r} is not a port.", fix="Give a number between 1 and 65535.")
    if host is not None and host not in LOCAL_HOSTS:
        raise UsageError(
            f"{host!r} is not inside the machine.", fix=f"One of {', '.join(LOCAL_HOSTS)}, or None to try both."
        )
    return {"op": "tcp", "port": port, **({} if host is None else {"host": host})}


def target_request(target: int | str, host: str | None = None) -> dict[str, Any]:
    """The first message of a stream to a port inside, or to an app by its name; an app is started when it is off."""
    if isinstance(target, str) and not (target.isascii() and target.isdecimal()):
        if host is not None:
            raise UsageError("An app has one address of its own: host goes with a port.", fix="Leave host out.")
        return {"op": "app.connect", "app": served.app_word(target)}
    return port_request(int(target) if isinstance(target, str) else target, host)


def door_request(target: int | str, path: str, *, view_only: bool = False) -> dict[str, Any]:
    """The body of `POST /v1/machines/{ref}/open`; UsageError for what can be no target or path."""
    asked = target_request(target)
    if not path.startswith("/"):
        path = f"/{path}"
    return {"target": str(asked.get("app") or asked["port"]), "path": path, "view_only": view_only}


def pty_request(
    command: Command | None,
    *,
    session: str | None = None,
    name: str | None = None,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    columns: int = 80,
    rows: int = 24,
) -> dict[str, Any]:
    """The first message of a stream to a terminal: a new one, or one that is there already."""
    if session is not None:
        request: dict[str, Any] = {"op": "pty.open", "session": session}
    elif command is None:
        request = {"op": "pty.open"}
    else:
        request = exec_request(command, None, None, operation="pty.open")
    given = {"name": name, "cwd": cwd, "env": dict(env) if env else None}
    request.update({key: value for key, value in given.items() if value is not None})
    return {**request, "stdin": True, "tty": {"cols": columns, "rows": rows, "term": "xterm-256color"}}


def query(path: str, **values: Any) -> str:
    """The path with the values that are given as its query; a sequence repeats its word."""
    pairs = [(key, one) for key, value in values.items() for one in (value if isinstance(value, list) else [value])]
    words = [
        (key, str(value).lower() if isinstance(value, bool) else str(value))
        for key, value in pairs
        if value is not None and value is not False
    ]
    return f"{path}?{urlencode(words)}" if words else path


def machines_path(
    *,
    all: bool,  # noqa: A002 - the CLI's word
    labels: Mapping[str, str | None] | None = None,
    state: str | None = None,
    provider: str | None = None,
    name: str | None = None,
) -> str:
    """The path that lists machines."""
    pairs = [key if value is None else f"{key}={value}" for key, value in (labels or {}).items()]
    return query(routes.MACHINES, all=all, label=pairs, state=state, provider=provider, name=name)


def events_path(machine: str | None, kind: str | None, after: int | None, *, tail: int | None = None) -> str:
    """The path that reads the log."""
    return query(routes.EVENTS, machine=machine, kind=kind, after=after, tail=tail)


def following_path(machine: str | None, kind: str | None, after: int | None) -> str:
    """The path that follows the log."""
    return query(routes.EVENTS_FOLLOW, machine=machine, kind=kind, after=after)


def stats_path(machines: Sequence[str], interval: float | None = None) -> str:
    """The path that measures machines, or that measures them again and again."""
    if interval is None:
        return query(routes.STATS, machine=list(machines))
    return query(routes.STATS_FOLLOW, machine=list(machines), interval=interval)


def volumes_path(*, size: bool, provider: str | None) -> str:
    """The path that lists volumes."""
    return query(routes.VOLUMES, size=size, provider=provider)


def volume_path(name: str, provider: str | None) -> str:
    """The path of one volume; UsageError for a name that can be none."""
    return query(routes.volume(name), provider=provider)


def logs_request(
    job: str | None,
    *,
    follow: bool = False,
    tail: int | None = None,
    since: float | None = None,
    timestamps: bool = False,
    start: int | None = None,
) -> dict[str, Any]:
    """The first message of a stream that reads a job's log; since: seconds ago, start: a position in the log."""
    given = {"job": job, "tail": tail, "since_s": since, "timestamps": timestamps or None, "from": start}
    return {"op": "job.logs", "follow": follow, **{key: one for key, one in given.items() if one is not None}}


def attach_request(job: str, *, stdin: bool = False, start: int | None = None) -> dict[str, Any]:
    """The first message of a stream that is at a job as at a foreground command; start: a position in its log."""
    request: dict[str, Any] = {"op": "job.attach", "job": job}
    return {**request, **({"stdin": True} if stdin else {}), **({} if start is None else {"from": start})}


def wait_request(job: str, timeout: float | None) -> dict[str, Any]:
    """The first message of a stream that waits for a job's end, at most `timeout` seconds."""
    return {"op": "job.wait", "job": job, **({} if timeout is None else {"timeout_s": timeout})}


def kill_request(job: str, signal: str) -> dict[str, Any]:
    """The first message of a stream that signals a job; UsageError for a signal that there is not."""
    return {"op": "job.kill", "job": job, "signal": signal_word(signal)}


def ready_request(port: int | None, url: str | None, job: str | None, timeout: float) -> dict[str, Any]:
    """The first message of a stream that waits for a server inside: its port, or an address that it answers.

    url: a path, which needs the port beside it, or `http://localhost:3000/health`; UsageError for other hosts.
    """
    port, path = read_target(port, url)
    given = {"path": path, "job": job}
    request = {"op": "ready", "port": port, "timeout_s": timeout}
    return {**request, **{key: one for key, one in given.items() if one is not None}}


def shown_target(ready: Mapping[str, Any]) -> str:
    """What a ready check waits for, as people read it."""
    path = ready.get("path")
    return f"port {ready['port']}" if path is None else f"http://localhost:{ready['port']}{path}"


def signal_word(name: str) -> str:
    """`INT` for `int` or `SIGINT`; UsageError for a signal that cannot be sent."""
    word = name.upper().removeprefix("SIG")
    if word not in SIGNALS:
        raise UsageError(f"{name!r} is not a signal that can be sent.", fix=f"One of {', '.join(SIGNALS)}.")
    return word


def shown(command: Command) -> str:
    """The command as people read it."""
    return command if isinstance(command, str) else " ".join(command)


def one_of(found: list[Usage], machine_id: str) -> Usage:
    """The one measurement that was asked for; NotFound when the machine is gone."""
    if not found:
        raise NotFound(f"The machine {machine_id} is not there any more.", next="cloudrouter ls")
    return found[0]


def read_record(kind: type[Record], value: Any) -> Record:
    """A JSON object as one of the wire's dataclasses; fields that a newer router added are passed over."""
    known = {one.name for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    fields = {key: one for key, one in value.items() if key in known} if isinstance(value, dict) else value
    try:
        record: Record = decode(kind, fields)
    except UsageError as error:
        raise Internal(f"The router's answer cannot be read: {error.message}") from None
    return record


def _bytes(amount: int | str | None, field: str) -> int | None:
    if not isinstance(amount, str):
        return amount
    try:
        return sizes.parse_bytes(amount)
    except ValueError as error:
        raise InvalidSpec(f"{error}.", field=field) from None
