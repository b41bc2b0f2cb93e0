"""The folders that CloudRouter keeps for one person: what lies in them that is ours, its size, and taking it away."""

from __future__ import annotations

import os
import shutil

from cloudrouter.wire import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STATE_ENTRIES = frozenset(
    {
        "router.db", "router.db-wal", "router.db-shm", "router.db-journal", "router-id", "router.lock", "logs", "ca",
        "memory", "packages", "images.json", "images.json.part", "apps", "gateway-port", "ssh", "ssh-client",
    }
)  # fmt: skip
TEMPLATES = "templates.toml"
RUNTIME_ENTRIES = frozenset({places.SOCKET_NAME, "ssh.sock", "start.lock"})


class OwnFolder:
    """One folder. Only what bears a name of ours is removed: the folder may have been chosen by the person."""

    def __init__(self, word: str, path: str, entries: frozenset[str]) -> None:
        self.word = word
        """What it is for: state, config or runtime."""
        self.path = path
        self._names = entries

    def entries(self) -> list[str]:
        """The paths of what is ours in it."""
        return [f"{self.path}/{name}" for name in self._listed() if name in self._names]

    def foreign(self) -> list[str]:
        """The names of what is not ours."""
        return [name for name in self._listed() if name not in self._names]

    def size_bytes(self) -> int:
        """Of everything that is ours; links are not followed."""
        return sum(_size(path) for path in self.entries())

    def remove(self) -> None:
        """Take away what is ours, and the folder when nothing else is in it; raises OSError."""
        for path in self.entries():
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        if os.path.isdir(self.path) and not self._listed():
            os.rmdir(self.path)

    def _listed(self) -> list[str]:
        try:
            return sorted(os.listdir(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return []


def own_folders(environ: Mapping[str, str]) -> list[OwnFolder]:
    """State, config and runtime, wherever the environment says they are; those that are not there too."""
    config, file = os.path.split(places.config_file(environ))
    # A folder that the person chose by naming the file: only that file in it is known to be ours.
    ours = {file} if environ.get("CLOUDROUTER_CONFIG") else {file, TEMPLATES}
    return [
        OwnFolder("state", places.state_dir(environ), STATE_ENTRIES),
        OwnFolder("config", config, frozenset(ours)),
        OwnFolder("runtime", places.runtime_dir(environ, os.getuid()), RUNTIME_ENTRIES),
    ]


def _size(path: str) -> int:
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size for folder, _folders, names in os.walk(path) for name in names
    )
