"""Apps that people give: a folder each comes as a tar, is judged, and is kept by the digest of what it is."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection
from typing import IO

from cloudrouter.images import apps
from cloudrouter.images.features import FILE, read, wrong
from cloudrouter.trees.unpack import Limits, unpack
from cloudrouter.wire import flavours
from cloudrouter.wire.errors import CloudRouterError

ARCHIVE_LIMIT = apps.BYTES_LIMIT + 16 * 1024 * 1024
"""A tar has headers, too."""


class OwnApps:
    """The folder in which they lie, as `name@digest`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    async def take(self, tar: AsyncIterator[bytes]) -> str:
        """Keep the app that comes; its name for images. InvalidSpec says what is wrong with it.

        The tar is read to its end whatever happens, so that its sender hears the answer.
        """
        await asyncio.to_thread(os.makedirs, self.folder, mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder) as spool:
            size = 0
            async for piece in tar:
                size += len(piece)
                if size <= ARCHIVE_LIMIT:
                    await asyncio.to_thread(spool.write, piece)
            if size > ARCHIVE_LIMIT:
                raise wrong(f"The app is larger than {apps.BYTES_LIMIT >> 20} MiB.")
            spool.seek(0)
            return await asyncio.to_thread(self._keep, spool)

    def _keep(self, spool: IO[bytes]) -> str:
        passing = tempfile.mkdtemp(prefix=".passing-", dir=self.folder)
        try:
            limits = Limits(max_entries=2 * apps.FILES_LIMIT, max_total_bytes=apps.BYTES_LIMIT, max_path_bytes=1024)
            report = unpack(spool.read, passing, limits=limits)
            if report.refused:
                path, reason = report.refused[0]
                raise wrong(f"The app's folder holds {path!r}, which is not taken: {reason}.")
            name = _judge(passing)
            target = f"{self.folder}/{name}"
            if os.path.isdir(target):
                if _is_whole(target, name):
                    return name
                shutil.rmtree(target)
            os.rename(passing, target)
            return name
        finally:
            shutil.rmtree(passing, ignore_errors=True)

    async def forget(self, needed: Collection[str]) -> None:
        """Remove those that neither machines nor images have."""
        await asyncio.to_thread(self._forget, set(needed))

    def _forget(self, needed: set[str]) -> None:
        if not os.path.isdir(self.folder):
            return
        for name in os.listdir(self.folder):
            if "@" in name and name not in needed:
                shutil.rmtree(f"{self.folder}/{name}", ignore_errors=True)


def _judge(folder: str) -> str:
    """The name of what was unpacked, once it was read as an image's builder reads it."""
    files = apps.read_files(folder, modes=True)
    if FILE not in files:
        raise wrong(f"There is no {FILE} in the app's folder.")
    plain = read(files[FILE].data).id
    name = f"{plain}@{apps.digest_of(folder)}"
    fault = flavours.app_fault(name)
    if fault:
        raise wrong(f"{plain[:40]!r}, its id, can be no app's name: {fault}.")
    apps.read(folder, name, modes=True)
    return name


def _is_whole(folder: str, name: str) -> bool:
    try:
        return apps.digest_of(folder) == name.partition("@")[2]
    except CloudRouterError:
        return False
