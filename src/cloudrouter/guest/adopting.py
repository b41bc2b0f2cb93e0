"""After a start of the guest: are there apps that go on since before it?"""

from __future__ import annotations

import os

from cloudrouter.guest import holding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.guest.server import Guest


def resume(guest: Guest) -> None:
    """Take them over; where none runs, nothing more is imported."""
    root = f"{guest.settings.state}/apps"
    names = [name for name in os.listdir(root) if _has_living(f"{root}/{name}")]
    if names:
        from cloudrouter.guest import supervising

        supervising.of(guest).adopt(names)


def _has_living(folder: str) -> bool:
    if not os.path.isdir(folder):
        return False
    held = (holding.read_held(f"{folder}/{number}") for number in os.listdir(folder))
    return any(one is not None and one.is_alive for one in held)
