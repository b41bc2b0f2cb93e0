"""The operation `ports`: what listens in the machine where a tunnel can reach it, and whose it is."""

from __future__ import annotations

import os
from dataclasses import asdict

from cloudrouter.guest import rights
from cloudrouter.guest.environment import find_account
from cloudrouter.guest.netfiles import read_listeners
from cloudrouter.wire.apps import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.netfiles import Listener
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream

REACHED = ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - addresses that are looked for, not listened on
"""Who listens at one of these is reached by a tunnel to 127.0.0.1 or ::1."""


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """Answer with all of them, by number; the guest's own port is none of them."""
    listeners = [one for one in read_listeners() if one.address in REACHED and one.port != guest.port]
    owners = find_owners({one.inode for one in listeners}, find_account(guest.settings.user))
    apps = {} if guest.apps is None else guest.apps.owner_of(owners.values())
    ports = [_describe(port, same, owners, apps) for port, same in sorted(_by_port(listeners).items())]
    await stream.finish("ports", [asdict(port) for port in ports])


def find_owners(inodes: set[int], account: Account) -> dict[int, int]:
    """Socket -> the first process that has it open, where we can see it.

    The kernel shows a process's descriptors to its own user, and to root only with a right that containers do not
    have: so we look as both.
    """
    wanted = {b"socket:[%d]" % inode: inode for inode in inodes}
    found: dict[int, int] = {}
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) if wanted else []
    hidden = [pid for pid in pids if not _look(pid, wanted, found)]
    if len(found) < len(wanted):
        with rights.of(account):
            for pid in hidden:
                _look(pid, wanted, found)
    return found


def _look(pid: int, wanted: dict[bytes, int], found: dict[int, int]) -> bool:
    """Note which of the sockets a process has; False when we may not see."""
    folder = b"/proc/%d/fd" % pid
    try:
        names = os.listdir(folder)
    except PermissionError:
        return False
    except OSError:
        return True  # it has ended
    for name in names:
        try:
            inode = wanted.get(os.readlink(folder + b"/" + name))
        except PermissionError:
            return False
        except OSError:
            continue  # it was closed
        if inode is not None:
            found[inode] = min(pid, found.get(inode, pid))
    return True


def _by_port(listeners: Iterable[Listener]) -> dict[int, list[Listener]]:
    found: dict[int, list[Listener]] = {}
    for one in listeners:
        found.setdefault(one.port, []).append(one)
    return found


def _describe(port: int, same: list[Listener], owners: dict[int, int], apps: dict[int, str]) -> Port:
    pids = [owners[one.inode] for one in same if one.inode in owners]
    pid = min(pids) if pids else None
    return Port(
        port=port,
        addresses=sorted({one.address for one in same}, key=REACHED.index),
        pid=pid,
        process="" if pid is None else _name(pid),
        app=next((apps[pid] for pid in pids if pid in apps), None),
    )


def _name(pid: int) -> str:
    """What the process calls itself, in letters that can be shown."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            text = file.read().rstrip(b"\n").decode("utf-8", "replace")
    except OSError:
        return ""  # it has ended
    return "".join(letter if letter.isprintable() else "?" for letter in text)
