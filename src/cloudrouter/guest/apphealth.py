"""Connecting to an app: only to a real socket of the machine's user in the app's own folder, or to its port."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat

from cloudrouter.guest import rights
from cloudrouter.guest.ready import first_line
from cloudrouter.guest.tunnels import connect as connect_port
from cloudrouter.wire.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.guest.environment import Account
    from cloudrouter.wire.appspec import AppSpec

CONNECT_S = 10.0
TRY_S = 15.0
"""One question for its health may take so long."""
USED_FILE = "used"
_PAUSE_S = 0.02
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


async def connect(spec: AppSpec, place: str, account: Account) -> socket.socket:
    """A connection to the app; Unreachable when it takes none. place: the app's own folder."""
    if spec.port is not None:
        return await connect_port(["127.0.0.1"], spec.port)
    deadline = asyncio.get_running_loop().time() + CONNECT_S
    while True:
        try:
            return _connect_socket(place, account)
        except BlockingIOError:  # more are waiting already than it keeps
            if asyncio.get_running_loop().time() > deadline:
                raise Unreachable(f"The app {spec.name} takes no more connections.", fix="Try it again.") from None
        except OSError as error:
            reason = (error.strerror or "it cannot be used").lower()
            raise Unreachable(f"The app {spec.name} does not answer on its socket: {reason}.") from None
        await asyncio.sleep(_PAUSE_S)


def is_held(place: str) -> bool:
    """Whether a program in the machine says that it uses the app: by a lock on the file `used` in the app's folder.

    The kernel lets go of a lock when its holder ends, however that comes.
    """
    try:
        folder = os.open(place, _PATH_ONLY | os.O_DIRECTORY)
        try:
            fd = os.open(USED_FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError:
        return False  # nobody has ever used it in that way
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # it is nothing that can be locked
    finally:
        os.close(fd)
    return False


async def is_healthy(spec: AppSpec, place: str, account: Account) -> str:
    """Empty when the app answers as it should, else what it did instead."""
    try:
        sock = await connect(spec, place, account)
    except Unreachable as error:
        return error.message
    with sock:
        if not spec.health_path:
            return ""
        asking = asyncio.ensure_future(_ask(sock, spec.health_path))
        try:
            await asyncio.wait({asking}, timeout=TRY_S)
            return asking.result() if asking.done() else f"It gave no answer within {TRY_S:g} s."
        except OSError as error:
            return f"It does not answer: {(error.strerror or 'no connection').lower()}."
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


def _connect_socket(place: str, account: Account) -> socket.socket:
    """With the user's rights: it is the user's, and so nothing is reached here that the user could not reach."""
    with rights.of(account):
        folder = os.open(place, _PATH_ONLY | os.O_DIRECTORY)
        try:
            fd = os.open("socket", _PATH_ONLY, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            found = os.fstat(fd)
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != account.uid:
                raise OSError(0, "what stands there is no socket of the machine's user")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            try:
                sock.connect(f"/proc/self/fd/{fd}")
            except BaseException:
                sock.close()
                raise
            return sock
        finally:
            os.close(fd)


async def _ask(sock: socket.socket, path: str) -> str:
    lines = (f"GET {path} HTTP/1.1", "Host: localhost", "Accept: */*", "Connection: close")
    await asyncio.get_running_loop().sock_sendall(sock, "\r\n".join((*lines, "", "")).encode())
    words = (await first_line(sock)).split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not (words[1].isdigit() and len(words[1]) == 3):
        return "Its answer is not HTTP."
    return "" if int(words[1]) < 500 else f"It answers with HTTP {int(words[1])}."
