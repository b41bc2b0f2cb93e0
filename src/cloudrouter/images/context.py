"""Build contexts: named files packed into the same tar bytes every time, whoever packs them and when."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One file of a context; everything belongs to root and is as old as time."""

    data: bytes
    mode: int = 0o644


def digest(files: Mapping[str, File]) -> str:
    """SHA-256 over names, modes and contents."""
    total = hashlib.sha256()
    for path in sorted(files):
        inner = hashlib.sha256(files[path].data).hexdigest()
        total.update(f"{path}\0{files[path].mode:o}\0{inner}\n".encode())
    return total.hexdigest()


def pack(files: Mapping[str, File]) -> bytes:
    """The files and the folders above them as one uncompressed tar."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for folder in _folders(files):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o755
            archive.addfile(entry)
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size = len(files[path].data)
            entry.mode = files[path].mode
            archive.addfile(entry, io.BytesIO(files[path].data))
    return target.getvalue()


def _folders(files: Mapping[str, File]) -> list[str]:
    found: set[str] = set()
    for path in files:
        parts = path.split("/")[:-1]
        found.update("/".join(parts[: n + 1]) for n in range(len(parts)))
    return sorted(found)
