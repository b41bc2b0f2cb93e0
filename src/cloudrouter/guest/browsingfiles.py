"""Files of steps in the machine: where a step puts what it makes, and what it may be given."""

from __future__ import annotations

import binascii
import os
import secrets
import shutil
import stat

from cloudrouter.guest import rights
from cloudrouter.wire.errors import NotFound, StepFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from cloudrouter.guest.environment import Account

OUT = "out"
KEPT, KEPT_BYTES = 50, 1 << 30
"""How many files that steps have made are kept, and how large they are together; the oldest go first."""


class Files:
    """The folder of the steps' files, the machine's user's alone; everything is done with the user's rights."""

    def __init__(self, place: str) -> None:
        self._out = f"{place}/{OUT}"

    def new(self, account: Account, name: str) -> str:
        """A path for a file that a step makes, in a fresh folder of its own; old ones are removed."""
        try:
            with rights.of(account):
                self._forget_old()
                folder = f"{self._out}/{secrets.token_hex(8)}"
                os.mkdir(folder, 0o700)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise StepFailed(f"No file can be made in {self._out} of the machine: {reason}.") from None
        return f"{folder}/{name}"

    def made(self, account: Account, path: str, *, own: bool = False, bring: int = 0) -> dict[str, Any]:
        """What a step has made there; StepFailed when there is nothing. own: the caller named it, so its mode stays.

        bring: with its content in base64, when it has no more bytes than that.
        """
        with rights.of(account):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                raise StepFailed("The browser said that it made a file, and there is none.") from None
            try:
                facts = os.fstat(fd)
                if not stat.S_ISREG(facts.st_mode):
                    raise StepFailed("What the browser made is no file.")
                if not own:
                    os.fchmod(fd, 0o600)
                content = _read_whole(fd, facts.st_size) if facts.st_size <= bring else None
            finally:
                os.close(fd)
        found: dict[str, Any] = {"path": path, "size": facts.st_size, "name": os.path.basename(path)}
        return found if content is None else {**found, "content": binascii.b2a_base64(content, newline=False).decode()}

    def _forget_old(self) -> None:
        kept = total = 0
        for _time, size, folder in sorted(_folders(self._out), reverse=True):
            kept, total = kept + 1, total + size
            if kept >= KEPT or total > KEPT_BYTES:
                shutil.rmtree(folder, ignore_errors=True)


def _read_whole(fd: int, size: int) -> Optional[bytes]:
    """The file's bytes; None where it is not as long as it was, for then somebody writes to it."""
    data = b""
    while len(data) <= size and (piece := os.read(fd, size + 1 - len(data))):
        data += piece
    return data if len(data) == size else None


def check_given(account: Account, path: str) -> None:
    """Whether the user can read a file at this absolute path: agent-browser would do harm with what is none."""
    if not path.startswith("/"):
        raise UsageError("A file of a step is named by its absolute path in the machine.")
    with rights.of(account):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            reason = (error.strerror or "it cannot be read").lower()
            raise NotFound(f"The file {path[:300]} cannot be given to the page: {reason}.") from None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise UsageError(f"{path[:300]} is no file.")
        finally:
            os.close(fd)


def suffix_for(suffix: str, wanted: Optional[str]) -> str:
    """The suffix of the file that a step makes, for the format that was asked for."""
    return ".jpg" if wanted in ("jpeg", "jpg") else suffix


def _folders(root: str) -> list[tuple[float, int, str]]:
    found = []
    for name in os.listdir(root):
        folder = f"{root}/{name}"
        try:
            size = sum(os.lstat(f"{folder}/{one}").st_size for one in os.listdir(folder))
            found.append((os.lstat(folder).st_mtime, size, folder))
        except OSError:
            continue  # somebody in the machine put or took something there
    return found
