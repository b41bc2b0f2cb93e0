"""Names of a tree's entries: which may be written, and how to show one that is not trusted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

SHOWN = 200
"""Characters of a name that are shown at most."""


def printable(name: bytes, limit: int = SHOWN) -> str:
    """The name for messages: control characters and bytes that are not UTF-8 escaped, long names cut."""
    text = name[: limit * 4 + 4].decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def clean(name: bytes) -> bytes:
    """The name without `./`, doubled and trailing slashes; empty for the root itself. Purely textual."""
    if b"//" not in name and b"./" not in name and not name.endswith((b"/", b"/.")) and name != b".":
        return name
    start = b"/" if name.startswith(b"/") else b""
    return start + b"/".join(part for part in name.split(b"/") if part not in (b"", b"."))


def name_fault(name: bytes, max_bytes: int) -> Optional[str]:
    """Why a clean name may not be written below a root, or None when it may."""
    if name.startswith(b"/"):
        return "its name is absolute"
    if b"\0" in name:
        return "its name holds a NUL"
    if len(name) > max_bytes:
        return f"its name is longer than {max_bytes} bytes"
    if b".." in name and b".." in name.split(b"/"):
        return "its name climbs with .."
    return None


def link_fault(name: bytes, target: bytes) -> Optional[str]:
    """Why a symbolic link called name could lead out of its root, or None when it cannot.

    `..` is taken only at the start of the target: after a folder's name it would climb from wherever that
    name leads, and that name may be a link itself.
    """
    if target.startswith(b"/"):
        return "it is a link to an absolute path"
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == b"..":
        climbs += 1
    if climbs > name.count(b"/"):
        return "it is a link that leads out of the folder"
    if b".." in parts[climbs:]:
        return "it is a link that climbs after descending"
    return None
