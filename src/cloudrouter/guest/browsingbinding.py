"""Which tab a session is at: agent-browser keeps it in a file beside its socket, and obeys it when it begins."""

from __future__ import annotations

import json
import os
import signal
import socket

from cloudrouter.guest import netfiles, rights
from cloudrouter.guest.environment import find_account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.server import Guest

PORT = 9222
"""Chromium's debugging port where the app does not say another."""
_PID_MOST = 1 << 22
_LIMIT = 64 * 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def count_connections(guest: Guest, place: str, port: int) -> int:
    """How many connections to the browser the sessions' daemons and the guest's own watch have."""
    account, folder = find_account(guest.settings.user), f"{place}/daemons"
    names = [name[: -len(".pid")] for name in _list(folder) if name.endswith(".pid")]
    pids = [pid for pid in (Binding(folder, name).pid(account) for name in names) if pid]
    with rights.of(account):
        daemons = netfiles.made_by(pids, port)
    return daemons + (guest.browsing is not None and guest.browsing.watch.is_open)


def _list(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


class Binding:
    """One session's files; everything is done with the rights of the machine's user, whose files they are."""

    def __init__(self, folder: str, session: str) -> None:
        self._base = f"{folder}/{session}"

    def target(self, account: Account) -> str:
        """The tab's target id, empty when there is none."""
        try:
            body = json.loads(self._read(account, "target"))
            target = body["targetId"]
        except (OSError, ValueError, RecursionError, LookupError, TypeError):
            return ""
        return target if isinstance(target, str) and target.isalnum() else ""

    def bind(self, account: Account, target: str) -> None:
        """Let a session that begins be at this tab; an empty one: at a new tab of its own."""
        with rights.of(account):
            self._remove("target")
            if target:
                fd = os.open(f"{self._base}.target", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    os.write(fd, json.dumps({"targetId": target, "url": "", "pinned": True}).encode())
                finally:
                    os.close(fd)

    def is_served(self, account: Account) -> bool:
        """Whether the session's daemon runs: one that a guest before this one has begun, for instance."""
        with rights.of(account), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(0)
            try:
                sock.connect(f"{self._base}.sock")
            except OSError:
                return False
        return True

    def pid(self, account: Account) -> int:
        """Its daemon's, as its file says; 0 when it says nothing."""
        try:
            return int(self._read(account, "pid"))
        except (OSError, ValueError):
            return 0

    def kill(self, account: Account) -> None:
        """End the session's daemon, whatever it is at; its tab stays."""
        pid = self.pid(account)
        with rights.of(
            account
        ):  # the number comes from a file of the user's, so nothing is ended that the user could not
            try:
                if 1 < pid <= _PID_MOST and pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                return
            finally:
                for suffix in ("sock", "pid"):
                    self._remove(suffix)

    def _read(self, account: Account, suffix: str) -> bytes:
        with rights.of(account):
            fd = os.open(f"{self._base}.{suffix}", _READ)
        try:
            return os.read(fd, _LIMIT)
        finally:
            os.close(fd)

    def _remove(self, suffix: str) -> None:
        try:
            os.unlink(f"{self._base}.{suffix}")
        except FileNotFoundError:
            return
