"""The file of the SSH authority's key, looked at from outside; apart from what signs with it, which is heavy."""

from __future__ import annotations

import os
import stat


def key_path(folder: str) -> str:
    """Where the key lies in the authority's folder."""
    return f"{folder}/authority"


def key_fault(found: os.stat_result) -> str:
    """Why a file (by its lstat) is no safe place for the key; empty when it is one."""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a file"
    if found.st_uid != os.getuid():
        return f"it belongs to user {found.st_uid}, not to you ({os.getuid()})"
    if stat.S_IMODE(found.st_mode) & 0o077:
        return f"other users may read it (mode {stat.S_IMODE(found.st_mode):04o}, wanted 0600)"
    return ""
