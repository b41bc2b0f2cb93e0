"""What ssh runs to reach a machine; the happy path imports next to nothing, since every connection waits for it."""

from __future__ import annotations

import os
import sys

from cloudrouter.client import sshdoor
from cloudrouter.wire import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Sequence
    from typing import NoReturn

FAILED = 255
"""As ssh itself ends when there is no connection."""


def main(words: Sequence[str]) -> NoReturn:
    """`HOST`: be ssh's connection to it. `--certify HOST`: have our key certified for it, in silence."""
    try:
        code = _certify_quietly(words[1]) if words[0] == "--certify" else proxy(words[0])
    except BaseException as error:  # noqa: BLE001 - the end of a process: everything is told
        code = _tell(error)
    os._exit(code)


def proxy(host: str) -> int:
    """Open the connection and give it to ssh, or carry its bytes until it ends."""
    folder = places.runtime_dir(os.environ, os.getuid())
    door = None if os.environ.get("CLOUDROUTER_URL") else sshdoor.connect(folder)
    opened = sshdoor.ask(door or _slow_door(folder), host)
    _look_after(opened.authority, host)
    if sshdoor.wants_descriptor():
        sshdoor.pass_on(opened.fd)
    else:
        sshdoor.splice(opened.fd)
    return 0


def _look_after(authority: str, host: str) -> None:
    """Before ssh reads the known hosts: they follow the authority, which the router's own socket has told."""
    folder = f"{places.state_dir(os.environ)}/ssh-client"
    try:
        with open(f"{folder}/known_hosts", encoding="ascii") as file:
            known = file.read()
    except (OSError, UnicodeDecodeError):
        return  # ssh was configured by hand
    if f" {authority} " not in known:
        from cloudrouter.client.sshfiles import SshFiles

        SshFiles(places.state_dir(os.environ)).know(authority)
        _note(f"the router's SSH authority is another one now; should {host} refuse you, try once more")
    elif not os.path.exists(f"{folder}/certs/{host}-cert.pub"):
        # ssh has none, because it could not be made a moment ago; here the reason can be told.
        _certify(host)


def _slow_door(folder: str) -> socket:
    """The door of a router that has to be started, or replaced by one that has a door; raises the reason."""
    from cloudrouter.client import router
    from cloudrouter.wire.errors import Unreachable

    transport = router.connect()
    found = sshdoor.connect(folder)
    if found is None:
        router.ensure_version(transport)
        found = sshdoor.connect(folder)
    if found is None:
        raise Unreachable(f"The router has no SSH door in {folder}.", fix="Restart it.", next="cloudrouter server stop")
    return found


def _certify_quietly(host: str) -> int:
    """The reason of a failure is told by the connection that follows, which fails for the same one."""
    from cloudrouter.wire.errors import CloudRouterError

    try:
        _certify(host)
    except CloudRouterError:
        return 1
    return 0


def _certify(host: str) -> None:
    from cloudrouter.client import router
    from cloudrouter.client.sshfiles import SshFiles

    SshFiles(places.state_dir(os.environ)).certify(router.connect(), host)


def _note(text: str) -> None:
    sys.stderr.write(f"cloudrouter: {text}\n")


def _tell(error: BaseException) -> int:
    from cloudrouter.cli import output
    from cloudrouter.wire.errors import CloudRouterError, Internal

    if isinstance(error, CloudRouterError):
        output.show_error(error)
    elif isinstance(error, OSError):
        output.show_error(Internal(f"The connection broke: {error.strerror}.", next="cloudrouter server logs"))
    elif not isinstance(error, KeyboardInterrupt):
        output.show_error(Internal(f"Something unforeseen happened: {type(error).__name__}: {error}"))
    return FAILED
