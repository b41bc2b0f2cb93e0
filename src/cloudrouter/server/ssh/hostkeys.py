"""Which host key each machine showed first: one that changes later is not certified, whoever has changed it."""

from __future__ import annotations

import os
import secrets

from cloudrouter.wire import ids


class HostKeys:
    """One small file for each machine, for as long as it lives."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def known(self, machine_id: str) -> str | None:
        """The key that the machine showed first; None when it has not shown one."""
        try:
            with open(self._path(machine_id), encoding="ascii") as file:
                return file.read(4096).strip()
        except FileNotFoundError:
            return None

    def remember(self, machine_id: str, public_key: str) -> None:
        """Keep it as the machine's own."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        part = f"{self._path(machine_id)}.{secrets.token_hex(4)}"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(public_key + "\n")
        os.replace(part, self._path(machine_id))

    def forget(self, machine_id: str) -> bool:
        """Whether there was one, which is forgotten."""
        try:
            os.unlink(self._path(machine_id))
        except FileNotFoundError:
            return False
        return True

    def _path(self, machine_id: str) -> str:
        if not ids.is_machine_id(machine_id):
            raise ValueError(f"{machine_id!r} is no machine id")
        return f"{self._folder}/{machine_id}"
