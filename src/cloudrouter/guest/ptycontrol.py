"""The operations `pty.list` and `pty.kill`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from cloudrouter.guest import holding, members, ptyfolders
from cloudrouter.guest.environment import find_account
from cloudrouter.guest.ptys import ptys_folder
from cloudrouter.wire.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloudrouter.guest.ptyfolders import Session
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream
    from cloudrouter.wire.apps import PtyState

GRACE_S = 2.0
_TOLD_S = 5.0
_POLL_S = 0.02


async def list_all(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """Answer with the terminals, oldest first; those that have ended only while nobody was told how."""
    sessions = ptyfolders.read_sessions(ptys_folder(guest.settings.state))
    states = await asyncio.gather(*(ptyfolders.describe(session) for session in sessions))
    shown = [asdict(state) for found in states if found is not None for state, told in [found] if not told]
    await stream.finish("ptys", shown)


async def kill(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """End a terminal with all that runs on it, also what it has left behind; answers with how its program ended."""
    session = ptyfolders.find_session(ptys_folder(guest.settings.state), request.get("session"))
    account = find_account(guest.settings.user)
    held = session.held
    members.send_all(members.find(session.mark, account, holder=held.pid, session=held.command), "HUP")
    await members.end_all(session.mark, account, holder=held.pid, session=held.command, grace_s=GRACE_S)
    await stream.finish("pty", asdict(await _ended(session)))


async def _ended(session: Session) -> PtyState:
    """The terminal as its holder tells of it, once that has seen the end."""
    deadline = asyncio.get_running_loop().time() + _TOLD_S
    while holding.read_exit(session.folder) is None and session.held.is_alive:
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(_POLL_S)
    found = await ptyfolders.describe(session, tell=True)
    if found is None:
        raise NotFound(f"The session {session.name or session.id} was already gone.")
    return found[0]
