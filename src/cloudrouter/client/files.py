"""A machine's files: small ones by value, trees by path."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from cloudrouter.client import transfer
from cloudrouter.trees.pack import PackReport, pack_file
from cloudrouter.wire.errors import UsageError

if TYPE_CHECKING:
    from cloudrouter.client.transport import Transport


class Files:
    """Paths are relative to the workspace, `~` is the home folder; missing ones raise NotFound."""

    def __init__(self, transport: Transport, machine_id: str) -> None:
        self._transport = transport
        self._machine_id = machine_id

    def read(self, path: str) -> bytes:
        """The content of a file."""
        with tempfile.TemporaryDirectory(prefix="cloudrouter-") as folder:
            target = f"{folder}/content"
            report = transfer.download(self._transport, self._machine_id, path, target)
            if report["kind"] != "file":
                raise UsageError(f"{path} is a folder.", fix="Use download for folders.")
            with open(target, "rb") as file:
                return file.read()

    def read_text(self, path: str) -> str:
        """The content of a UTF-8 file."""
        return self.read(path).decode()

    def write(self, path: str, data: bytes | str, *, mode: int = 0o644) -> None:
        """Make or replace a file, whole or not at all; missing folders on the way are made."""
        with tempfile.NamedTemporaryFile(prefix="cloudrouter-") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            report = PackReport()
            name = os.path.basename(path.rstrip("/")) or "content"
            chunks = pack_file(file.name, name, report=report)
            transfer.put(self._transport, self._machine_id, path, "file", chunks, report)

    def upload(self, local: str | os.PathLike[str], remote: str = ".") -> dict[str, Any]:
        """Send a folder's contents into remote, which is made when missing, or a file to remote.

        Everything goes, ignored files and secrets too. Returns what was sent: `files`, `dirs`, `links`, `bytes`, ...;
        TransferFailed, naming what arrived, unless everything did.
        """
        return transfer.upload(self._transport, self._machine_id, os.fspath(local), remote)

    def download(self, remote: str, local: str | os.PathLike[str]) -> dict[str, Any]:
        """Fetch a folder's contents into local, or a file to local (into it, when that is a folder).

        Nothing is written outside local, whatever the machine sends, and `.git` stays behind. Returns what came:
        `files`, `dirs`, `links`, `bytes`, ...; TransferFailed, naming what arrived, unless everything did.
        """
        return transfer.download(self._transport, self._machine_id, remote, os.fspath(local))
