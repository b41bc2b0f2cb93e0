"""The user's own router: find it, check that it is theirs, start it when none runs, replace one of another version."""

from __future__ import annotations

import os
import stat

from cloudrouter import __version__
from cloudrouter.client import trace
from cloudrouter.client.transport import NotListening, Transport
from cloudrouter.wire import places, routes
from cloudrouter.wire.errors import NotConfigured, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def connect(*, start: bool = True) -> Transport:
    """A transport to this user's router, connected. Without a router: one is started, or NotListening is raised.

    Costs a running router two lstat and one connect. Raises NotConfigured when the socket's place is not safe,
    AuthFailed when somebody else listens there, Unsupported when CLOUDROUTER_URL asks for a remote router.
    """
    _refuse_remote(os.environ)
    path = places.socket_path(os.environ, os.getuid())
    transport = Transport(path)
    try:
        check_place(path)
        transport.open()
        trace.tell(f"found the router on {path}")
    except NotListening:
        trace.tell(f"no router listens on {path}")
        if not start:
            raise
        _start(transport)
    return transport


def _start(transport: Transport) -> None:
    import time

    from cloudrouter.client import starting

    began = time.monotonic()
    starting.start_router(transport)
    trace.tell(f"started the router in {trace.since(began)}")


def ensure_version(transport: Transport) -> Transport:
    """The transport, with a router of our version behind it; for verbs that change something.

    Every answer of a router carries its version, so after any earlier call this costs nothing, else one
    `GET /v1/server` (about 1 ms). An older router is asked to stop, machines go on meanwhile, and ours takes its
    place. A newer one stays: it has brought the database forward, and it answers older clients. The verbs that only
    look or run a command skip this: they speak a language that changes by addition only.
    """
    if transport.server_version is None:
        transport.call("GET", routes.SERVER)
    if replaces(transport.server_version or "", __version__):
        from cloudrouter.client import starting

        trace.tell(f"replacing the router of version {transport.server_version} by {__version__}")
        starting.replace_router(transport)
    return transport


def revive(transport: Transport) -> None:
    """After a lost connection: make sure that a router listens again behind this transport.

    The user's own router is started when it is gone; any other raises NotListening.
    """
    transport.close()
    try:
        transport.open()
    except NotListening:
        if transport.socket_path != places.socket_path(os.environ, os.getuid()):
            raise
        _start(transport)


def check_place(path: str) -> None:
    """Raise NotConfigured unless the socket's folder is ours alone and the path is a socket; NotListening if absent."""
    folder = os.path.dirname(path)
    try:
        found = os.lstat(folder)
        fault = places.folder_fault(found.st_mode, found.st_uid, os.getuid())
        if fault:
            raise NotConfigured(
                f"The router's folder {folder} is not safe to use: {fault}.",
                fix=_folder_fix(folder, found.st_mode, found.st_uid),
                next=f"ls -ld {folder}",
            )
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise NotListening("No router is running.", fix="Start it.", next="cloudrouter server start") from None
    except OSError as error:
        raise NotConfigured(f"The router's folder {folder} cannot be looked at: {error.strerror}.") from None
    if not stat.S_ISSOCK(mode):
        raise NotConfigured(
            f"{path} is {_kind(mode)}, not the router's socket.",
            fix="Move it away; the router makes its socket itself.",
            next=f"ls -ld {path}",
        )


def replaces(theirs: str, ours: str) -> bool:
    """Whether a client of version `ours` takes over from a router of version `theirs`: not when that is newer."""
    return theirs != ours and _numbers(theirs) <= _numbers(ours)


def _numbers(version: str) -> list[int]:
    """`0.12.3.dev1` -> [0, 12, 3]; what is no number ends it."""
    numbers = []
    for part in version.split("."):
        if not (part.isascii() and part.isdigit()):
            break
        numbers.append(int(part))
    return numbers


def _refuse_remote(env: Mapping[str, str]) -> None:
    if env.get("CLOUDROUTER_URL"):
        raise Unsupported(
            "CLOUDROUTER_URL asks for a remote router, and this version knows only the one on this host.",
            fix="Unset it to use the local router.",
            next="unset CLOUDROUTER_URL",
        )


def _folder_fix(folder: str, mode: int, owner: int) -> str:
    if stat.S_ISDIR(mode) and owner == os.getuid():
        return f"Close it for others: chmod 700 {folder}"
    return "Remove it, or set XDG_RUNTIME_DIR to a folder of your own."


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a folder" if stat.S_ISDIR(mode) else "a file"
