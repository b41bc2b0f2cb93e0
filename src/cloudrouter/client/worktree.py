"""What git knows about a folder: the work tree around it, which files it tracks, its further ignore files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

_TIMEOUT_S = 60.0
_MISLEADING = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)
"""Variables that a git hook sets for its own repository; the folder's is wanted."""


class Worktree(NamedTuple):
    """The git work tree that a folder is, or lies in."""

    ups: int
    """Folders between it and the work tree's top; 0 when it is the top."""
    tracked: frozenset[bytes]
    """Tracked files (and submodules) below the folder, relative to it."""
    exclude_files: tuple[bytes, ...]
    """info/exclude and the person's own core.excludesFile, the stronger first; they may not exist."""


def read_worktree(folder: bytes, environ: Mapping[str, str]) -> Worktree | None:
    """The work tree around a folder; None without git, outside any, and where git refuses to look.

    Git is kept from running programs that the folder's own configuration names.
    """
    where = _git(folder, environ, "rev-parse", "--is-inside-work-tree", "--show-cdup", "--git-path", "info/exclude")
    inside, _, rest = (where or b"").partition(b"\n")
    if inside != b"true":
        return None
    ups, _, exclude = rest.partition(b"\n")
    tracked = _git(folder, environ, "ls-files", "-z")
    if tracked is None:
        return None
    if ups and not tracked and _git(folder, environ, "check-ignore", "-q", ".") is not None:
        return None  # ignored as a whole by a repository further up (a home under git, say): no part of it
    own = _git(folder, environ, "config", "-z", "--type=path", "--get", "core.excludesFile")
    return Worktree(
        ups.count(b"../"),
        frozenset(filter(None, tracked.split(b"\0"))),
        (os.path.join(folder, exclude.removesuffix(b"\n")), _excludes_file(own, environ)),
    )


def _excludes_file(configured: bytes | None, environ: Mapping[str, str]) -> bytes:
    if configured:
        return configured.rstrip(b"\0")
    base = environ.get("XDG_CONFIG_HOME") or environ.get("HOME", "/") + "/.config"
    return os.fsencode(base) + b"/git/ignore"


def _git(folder: bytes, environ: Mapping[str, str], *args: str) -> bytes | None:
    """What git prints, or None when it is missing, fails or does not end."""
    env = {key: value for key, value in environ.items() if key not in _MISLEADING}
    env["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-c", "core.fsmonitor=false", *args]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
