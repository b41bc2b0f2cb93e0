"""The folder of the browser's steps, the machine's user's alone; it is there before a step is sent a file."""

from __future__ import annotations

import os

from cloudrouter.guest.environment import find_account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.guest.settings import Settings

APP = "browser"
INNER = ("in", "out", "daemons")
"""What steps are sent, what they have made, and the sockets of their sessions' daemons."""


def place(settings: Settings) -> str:
    """The folder: wire.browsing.FOLDER in a machine."""
    return f"{os.path.dirname(settings.apps_run)}/{APP}"


def prepare(settings: Settings) -> None:
    """Make it where it is missing. Its parent is the guest's own, so nobody else can put anything in its place."""
    account = find_account(settings.user)
    top = place(settings)
    os.makedirs(os.path.dirname(top), mode=0o755, exist_ok=True)
    for folder in (top, *(f"{top}/{name}" for name in INNER)):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            continue
        if account.switch:
            os.chown(folder, account.uid, account.gid, follow_symlinks=False)
