"""The terminals of a machine, as their holders' folders tell: found by id or name, asked, and made."""

from __future__ import annotations

import asyncio
import json
import marshal
import os
import socket
import time
from dataclasses import dataclass

from cloudrouter.guest import holding, ptyline
from cloudrouter.guest.config import write_file
from cloudrouter.guest.environment import rfc3339
from cloudrouter.guest.process import ending
from cloudrouter.wire.apps import PtyState
from cloudrouter.wire.errors import Conflict, NotFound, TransferFailed, UsageError
from cloudrouter.wire.ids import is_pty_id, new_pty_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from cloudrouter.guest.commands import Command
    from cloudrouter.guest.holding import Held

PTY_VARIABLE = b"CLOUDROUTER_PTY"
"""Tells a terminal's processes which one they are on, and us which processes are a terminal's."""
SOCKET = "socket"
_ASK_S = 5.0
_STALE_S = 60.0
"""A folder whose holder never came is taken away after this."""
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_NAME_LETTERS = 31


@dataclass(frozen=True)
class Session:
    """One terminal whose holder lives."""

    id: str
    name: Optional[str]
    command: str
    cwd: str
    folder: str
    held: Held

    @property
    def runs(self) -> bool:
        """Whether its program has not ended yet."""
        return holding.read_exit(self.folder) is None

    @property
    def mark(self) -> bytes:
        """What its processes have in their first environment."""
        return b"%b=%b" % (PTY_VARIABLE, self.id.encode())


def check_name(value: object) -> Optional[str]:
    """The value as a session's name; UsageError when it cannot be one."""
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _NAME_LETTERS or not _NAME.issuperset(value):
        raise UsageError(f"A session's name is up to {_NAME_LETTERS} letters, digits, dots, dashes and underscores.")
    if not value[0].isalnum() or is_pty_id(value):
        raise UsageError("A session's name begins with a letter or a digit, and does not look like an id.")
    return value


def read_sessions(root: str) -> list[Session]:
    """All terminals, oldest first; what dead holders left is taken away."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return []
    found = [one for one in (_read(root, name) for name in names if is_pty_id(name)) if one is not None]
    return sorted(found, key=lambda one: (one.held.started_ms, one.id))


def find_session(root: str, wanted: object) -> Session:
    """The terminal of that id or name; NotFound names those that are there."""
    if not isinstance(wanted, str):
        raise UsageError("session must be a session's id or name.")
    sessions = read_sessions(root)
    fitting = [one for one in sessions if wanted in (one.id, one.name)]
    if fitting:  # an ended one may still have the name of one that runs
        return max(fitting, key=lambda one: (one.runs, one.held.started_ms))
    known = ", ".join(one.name or one.id for one in sessions[-10:])
    fix = f"Sessions here: {known}." if known else "Open a new one."
    raise NotFound(f"There is no session {wanted[:40]!r} in this machine; it may have ended.", fix=fix)


def make_folder(root: str, command: Command, name: Optional[str]) -> tuple[str, str, socket.socket]:
    """(id, folder, listening socket) of a new terminal; Conflict when the name is taken."""
    if name is not None and any(one.name == name and one.runs for one in read_sessions(root)):
        raise Conflict(f"There is a session named {name} already.", fix="Join it, or take another name.")
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        pty_id = new_pty_id()
        folder = f"{root}/{pty_id}"
        os.mkdir(folder, 0o700)
        meta = {"name": name, "command": command.shown, "cwd": os.fsdecode(command.cwd)}
        write_file(f"{folder}/meta.json", json.dumps(meta), 0o600)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(f"{folder}/{SOCKET}")
        listener.listen(128)
    except OSError as error:
        raise TransferFailed(f"The session cannot be kept: {(error.strerror or 'unknown error').lower()}.") from None
    return pty_id, folder, listener


def remove_folder(folder: str) -> None:
    """Take away what is left of a terminal."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


async def dial(folder: str, columns: int, rows: int, kind: int) -> tuple[socket.socket, ptyline.Frames, Info]:
    """A connection to a holder, and how its terminal is; OSError when it does not answer."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect(f"{folder}/{SOCKET}")  # at once: it listens, and its queue is long
        sock.setblocking(False)  # noqa: FBT003
        await loop.sock_sendall(sock, ptyline.frame(ptyline.HELLO, marshal.dumps((columns, rows, kind))))
        frames = ptyline.Frames()
        while (first := frames.next()) is None:
            data = await asyncio.wait_for(loop.sock_recv(sock, ptyline.PIECE), _ASK_S)
            if not data:
                raise OSError(0, "its holder has ended")
            frames.feed(data)
    except asyncio.TimeoutError:
        sock.close()
        raise OSError(0, "its holder does not answer") from None
    except BaseException:
        sock.close()
        raise
    return sock, frames, Info(*marshal.loads(first[1]))  # noqa: S302 - from our own holder


@dataclass(frozen=True)
class Info:
    """What a holder says of its terminal now."""

    clients: int
    cols: int
    rows: int
    status: Optional[int]
    """The program's exit code, or minus its signal's number; None while it runs."""
    told: bool
    """Whether anybody was told of its end."""


async def describe(session: Session, *, tell: bool = False) -> Optional[tuple[PtyState, bool]]:
    """(how it is, whether anybody knows of its end); None when it is just gone. tell: from now on somebody does."""
    try:
        sock, _, info = await dial(session.folder, 0, 0, ptyline.TOLD if tell else ptyline.LOOKS)
    except OSError:
        return None
    sock.close()
    return state_of(session, info), info.told


def state_of(session: Session, info: Info) -> PtyState:
    """The wire form."""
    return PtyState(
        id=session.id,
        name=session.name,
        command=session.command,
        cwd=session.cwd,
        started_at=rfc3339(session.held.started_ms),
        clients=info.clients,
        cols=info.cols,
        rows=info.rows,
        pid=session.held.command if info.status is None else None,
        code=None if info.status is None else ending(info.status).code,
    )


def _read(root: str, pty_id: str) -> Optional[Session]:
    folder = f"{root}/{pty_id}"
    held = holding.read_held(folder)
    if held is None:
        if _age_s(folder) > _STALE_S:
            remove_folder(folder)
        return None
    if not held.is_alive:
        remove_folder(folder)
        return None
    if not held.command:
        return None  # it is being started
    try:
        with open(f"{folder}/meta.json", encoding="utf-8") as file:
            meta: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return None  # it is being taken away
    return Session(pty_id, meta["name"], meta["command"], meta["cwd"], folder, held)


def _age_s(folder: str) -> float:
    try:
        return time.time() - os.stat(folder).st_mtime
    except OSError:
        return 0.0
