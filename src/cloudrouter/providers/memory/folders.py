"""What a local machine is on disk: one folder with its spec, its running process, a lock and the guest's own places."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

LOCK_POLL_S = 0.01


class MachineFolder:
    """The folder of one machine; whether the machine exists is whether `spec.json` does."""

    def __init__(self, root: str, machine_id: str) -> None:
        self.machine_id = machine_id
        self.path = f"{root}/{machine_id}"
        self._lock_path = f"{root}/.{machine_id}.lock"

    @property
    def home(self) -> str:
        """HOME of commands."""
        return f"{self.path}/home"

    @property
    def workspace(self) -> str:
        """Where commands start."""
        return f"{self.path}/home/workspace"

    @property
    def state(self) -> str:
        """The guest's own state."""
        return f"{self.path}/state"

    @property
    def log(self) -> str:
        """What guest and supervisor print."""
        return f"{self.path}/console.log"

    def spec(self) -> dict[str, Any] | None:
        """What was asked for; None where there is no machine."""
        return _read_json(f"{self.path}/spec.json")

    def running(self) -> dict[str, Any] | None:
        """The process started last: pid, start_ticks, port, started_at."""
        return _read_json(f"{self.path}/running.json")

    def was_started(self) -> bool:
        """Whether a guest was ever started here."""
        return os.path.exists(self.log)

    def read_log(self, limit_bytes: int) -> bytes:
        """The end of the log; nothing when there is none."""
        try:
            with open(self.log, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - limit_bytes))
                return file.read(limit_bytes)
        except FileNotFoundError:
            return b""

    def make(self, spec: Mapping[str, Any]) -> None:
        """Make the folder; the spec comes last, so a machine is there whole or not at all."""
        for place in (self.path, self.home, self.workspace, self.state):
            os.makedirs(place, mode=0o700, exist_ok=True)
        _write_json(f"{self.path}/spec.json", spec)

    def note_running(self, facts: Mapping[str, Any]) -> None:
        """Remember the process of a start."""
        _write_json(f"{self.path}/running.json", facts)

    def note_stopped(self) -> None:
        """Forget the process."""
        try:
            os.unlink(f"{self.path}/running.json")
        except FileNotFoundError:
            return

    def remove(self) -> None:
        """Remove all of it; the spec goes first, so nobody takes a half-removed folder for a machine."""
        for name in ("spec.json", "running.json"):
            try:
                os.unlink(f"{self.path}/{name}")
            except FileNotFoundError:
                continue
        if os.path.lexists(self.path):
            shutil.rmtree(self.path, onerror=_open_and_retry)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Alone with this machine, across provider objects and processes."""
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _try_lock(descriptor) or not self._is_current(descriptor):
                if not self._is_current(descriptor):
                    # Whoever had the lock removed the file with the machine: take the new one.
                    old, descriptor = descriptor, os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                    os.close(old)
                    continue
                await asyncio.sleep(LOCK_POLL_S)
            yield
        finally:
            if self.spec() is None and self._is_current(descriptor):
                os.unlink(self._lock_path)
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._lock_path))
        except FileNotFoundError:
            return False


def machine_names(root: str) -> list[str]:
    """Names in the root that may be machines."""
    try:
        return sorted(name for name in os.listdir(root) if not name.startswith("."))
    except FileNotFoundError:
        return []


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_json(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if isinstance(found, dict) else None


def _write_json(path: str, body: Mapping[str, Any]) -> None:
    part = f"{path}.{os.getpid()}"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(body, file)
    os.replace(part, path)


def _open_and_retry(function: Callable[..., Any], path: str, _error: object) -> None:
    """Folders that a command made unreadable or unwritable are ours to remove all the same."""
    for place in (os.path.dirname(path), path):
        if not os.path.islink(place) and os.path.isdir(place):
            os.chmod(place, stat.S_IRWXU)
    if function is os.unlink or function is os.rmdir:
        function(path)
    elif os.path.lexists(path):
        shutil.rmtree(path)
