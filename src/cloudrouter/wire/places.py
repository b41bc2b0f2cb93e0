"""Where things lie on the person's side: folders, socket, lock files. Pure: environment in, paths out."""

from __future__ import annotations

import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Optional

SOCKET_NAME = "router.sock"


def runtime_dir(env: Mapping[str, str], uid: int) -> str:
    """The folder of the socket: `$XDG_RUNTIME_DIR/cloudrouter`, else `/tmp/cloudrouter-<uid>`.

    `CLOUDROUTER_RUNTIME_DIR` overrides it, for tests and for several routers of one user.
    """
    if env.get("CLOUDROUTER_RUNTIME_DIR"):
        return env["CLOUDROUTER_RUNTIME_DIR"]
    if env.get("XDG_RUNTIME_DIR"):
        return env["XDG_RUNTIME_DIR"].rstrip("/") + "/cloudrouter"
    return f"/tmp/cloudrouter-{uid}"  # noqa: S108 - owner, mode and links are checked by both sides


def socket_path(env: Mapping[str, str], uid: int) -> str:
    """The router's Unix socket."""
    return runtime_dir(env, uid) + "/" + SOCKET_NAME


def state_dir(env: Mapping[str, str]) -> str:
    """Database, logs and router id: `CLOUDROUTER_STATE_DIR`, else below XDG_STATE_HOME or ~/.local/state."""
    if env.get("CLOUDROUTER_STATE_DIR"):
        return env["CLOUDROUTER_STATE_DIR"]
    base = env.get("XDG_STATE_HOME") or env.get("HOME", "/") + "/.local/state"
    return base.rstrip("/") + "/cloudrouter"


def config_file(env: Mapping[str, str]) -> str:
    """The person's own configuration: `CLOUDROUTER_CONFIG`, else below XDG_CONFIG_HOME or ~/.config."""
    if env.get("CLOUDROUTER_CONFIG"):
        return env["CLOUDROUTER_CONFIG"]
    base = env.get("XDG_CONFIG_HOME") or env.get("HOME", "/") + "/.config"
    return base.rstrip("/") + "/cloudrouter/config.toml"


def folder_fault(mode: int, owner: int, uid: int) -> Optional[str]:
    """Why a folder (by its lstat) is not safe to hold the socket, or None when it is."""
    if stat.S_ISLNK(mode):
        return "it is a symbolic link"
    if not stat.S_ISDIR(mode):
        return "it is not a folder"
    if owner != uid:
        return f"it belongs to user {owner}, not to you ({uid})"
    if stat.S_IMODE(mode) & 0o077:
        return f"other users may enter it (mode {stat.S_IMODE(mode):04o}, wanted 0700)"
    return None
