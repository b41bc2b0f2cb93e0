"""The desktop page's files, read once: our own and noVNC's, each under an address that holds their common digest."""

from __future__ import annotations

import functools
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

STATIC = Path(__file__).parent / "static"
PAGE = "desktop.html"
BOOT = "boot.js"
"""Stands in the page, because it looks after the files that do not arrive."""
ENTRY = "novnc/core/rfb.js"
"""Without this file noVNC has not been fetched."""
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
"""Only files of these kinds are served."""


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    zipped: bytes
    """The same by gzip."""
    content_type: str


@dataclass(frozen=True)
class Assets:
    """Everything the page loads."""

    digest: str
    """Of all files together; it is a part of their addresses, so that they may be kept for ever."""
    page: str
    """The page's HTML, with names in braces where something is put in."""
    boot: str
    """The script that stands in it."""
    files: dict[str, Asset]
    """By path below the folder of static files."""

    @property
    def modules(self) -> list[str]:
        """The paths of all scripts, so that the browser fetches them at once and not one behind the other."""
        return sorted(path for path in self.files if path.endswith(".js"))

    @property
    def complete(self) -> bool:
        """Whether noVNC is there."""
        return ENTRY in self.files


@functools.cache
def load(folder: Path = STATIC) -> Assets:
    """Read the folder; a checkout without noVNC is asked again each time, until it is there."""
    found = read(folder)
    if not found.complete:
        raise LookupError(folder)
    return found


def read(folder: Path) -> Assets:
    """All files that are served, and the page."""
    files: dict[str, Asset] = {}
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        kind = TYPES.get(path.suffix)
        name = path.relative_to(folder).as_posix()
        if kind is None or not path.is_file() or name == BOOT or name.startswith("."):
            continue
        body = path.read_bytes()
        digest.update(name.encode() + b"\0" + hashlib.sha256(body).digest())
        files[name] = Asset(body, _gzip(body), kind)
    page, boot = ((folder / name).read_text("utf-8") for name in (PAGE, BOOT))
    return Assets(digest.hexdigest()[:16], page, boot, files)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
