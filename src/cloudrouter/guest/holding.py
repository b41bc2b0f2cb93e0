"""Holders seen from the guest: starting one, and what their folders tell of them and of what they hold."""

from __future__ import annotations

import marshal
import os
from dataclasses import dataclass

from cloudrouter.guest import holder
from cloudrouter.guest.environment import find_account
from cloudrouter.guest.pipes import close_all, make_pipes, read_all, write_all
from cloudrouter.guest.process import python_words, stat_fields
from cloudrouter.guest.settings import MACHINE_ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Optional

    from cloudrouter.guest.commands import Command
    from cloudrouter.guest.server import Guest


@dataclass(frozen=True)
class Held:
    """A holder and its command, as its folder tells."""

    pid: int
    """The holder's."""
    ticks: int
    """The holder's start time, so that a reused number is not mistaken for it."""
    command: int
    """The command's process; 0 before it runs."""
    started_ms: int

    @property
    def is_alive(self) -> bool:
        """Whether the holder lives."""
        fields = stat_fields(self.pid)
        return fields is not None and fields[0] not in (b"Z", b"X") and int(fields[19]) == self.ticks


def read_held(folder: str) -> Optional[Held]:
    """The holder of a folder, dead or alive; None when there was none yet."""
    try:
        return Held(*numbers(f"{folder}/{holder.HOLDER_FILE}", 4))
    except (FileNotFoundError, NotADirectoryError, TypeError):
        return None


def read_exit(folder: str) -> Optional[tuple[int, int]]:
    """(status, ms since the epoch) of the command's end; None while it is not told."""
    try:
        status, ended_ms = numbers(f"{folder}/{holder.EXIT_FILE}", 2)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status, ended_ms


def numbers(path: str, count: int) -> list[int]:
    """The first numbers of a small file."""
    with open(path, "rb") as file:
        return [int(word) for word in file.read(200).split()[:count]]


async def start_holder(
    guest: Guest,
    command: Command,
    folder: str,
    *,
    module: str = "holder",
    env: Optional[Mapping[bytes, bytes]] = None,
    keep: Sequence[int] = (),
    **more: Any,
) -> bytes:
    """Start a holder in its own session and return what it says of the command's start.

    module: of this room, whose `main` holds. env: variables of the holder itself. keep: descriptors that it gets
    under the same numbers. more: what its spec holds besides the command and the folder.
    """
    account = command.account
    spec = {
        "folder": folder,
        "program": command.program,
        "argv": command.argv,
        "cwd": command.cwd,
        "env": command.env,
        "rights": (account.uid, account.gid, account.groups) if account.switch else None,
        **more,
    }
    (spec_start, spec_end), (answer_end, stdout) = make_pipes(2)
    null = -1
    argv = python_words(module, os.path.basename(folder).encode())
    try:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        process = guest.children.start(
            argv,
            program=argv[0],
            cwd=b"/",
            env={MACHINE_ID.encode(): guest.settings.machine_id.encode(), **(env or {})},
            account=find_account(""),
            stdin=spec_start,
            stdout=stdout,
            stderr=null,
            keep=keep,
        )
        process.ended.add_done_callback(lambda _: process.reap())
    except BaseException:
        close_all(spec_end, answer_end)
        raise
    finally:
        close_all(spec_start, stdout, null)
    try:
        await write_all(spec_end, marshal.dumps(spec))
    finally:
        os.close(spec_end)
    try:
        return await read_all(answer_end, 64)
    finally:
        os.close(answer_end)
