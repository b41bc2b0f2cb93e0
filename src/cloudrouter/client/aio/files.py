"""A machine's files on the event loop: small ones by value, trees by path. Disks block, so threads do the work."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from cloudrouter.client.aio.link import Link
from cloudrouter.client.files import Files

T = TypeVar("T")


class AsyncFiles:
    """Paths are relative to the workspace, `~` is the home folder; missing ones raise NotFound."""

    def __init__(self, link: Link, machine_id: str) -> None:
        self._link = link
        self._machine_id = machine_id

    async def read(self, path: str) -> bytes:
        """The content of a file."""
        return await self._work(lambda files: files.read(path))

    async def read_text(self, path: str) -> str:
        """The content of a UTF-8 file."""
        return await self._work(lambda files: files.read_text(path))

    async def write(self, path: str, data: bytes | str, *, mode: int = 0o644) -> None:
        """Make or replace a file, whole or not at all; missing folders on the way are made."""
        await self._work(lambda files: files.write(path, data, mode=mode))

    async def upload(self, local: str | os.PathLike[str], remote: str = ".") -> dict[str, Any]:
        """Send a folder's contents into remote, which is made when missing, or a file to remote.

        Everything goes, ignored files and secrets too. Returns what was sent: `files`, `dirs`, `links`, `bytes`, ...;
        TransferFailed, naming what arrived, unless everything did.
        """
        return await self._work(lambda files: files.upload(local, remote))

    async def download(self, remote: str, local: str | os.PathLike[str]) -> dict[str, Any]:
        """Fetch a folder's contents into local, or a file to local (into it, when that is a folder).

        Nothing is written outside local, whatever the machine sends, and `.git` stays behind. Returns what came:
        `files`, `dirs`, `links`, `bytes`, ...; TransferFailed, naming what arrived, unless everything did.
        """
        return await self._work(lambda files: files.download(remote, local))

    async def _work(self, work: Callable[[Files], T]) -> T:
        return await self._link.in_thread(lambda transport: work(Files(transport, self._machine_id)))
