"""One installed copy: what it is, how it differs from the packaged text, replacing and removing it with a backup."""

from __future__ import annotations

import difflib
import os

from cloudrouter import __version__
from cloudrouter.cli.skills import files, text
from cloudrouter.cli.skills.agents import FILE, Place
from cloudrouter.wire.errors import Conflict

NEW_MODE = 0o644


class Copy:
    """What a place holds at the moment of the look."""

    refusal: Conflict | None = None
    """Why the place is in state `refused`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        found = None
        try:
            with files.opened_folder(place.root, place.folder, create=False) as fd:
                found = files.read(fd, FILE, place.path)
        except Conflict as error:
            self.refusal = error
        self.content: bytes | None = found[0] if found else None
        self.mode = found[1] if found else NEW_MODE
        self.state = text.REFUSED if self.refusal else text.state_of(self.content)
        self.version = text.version_of(self.content) if self.content else ""

    @property
    def needs_consent(self) -> bool:
        """Whether something of the person's would be lost to the eye by installing."""
        return self.state not in (text.ABSENT, text.CURRENT, text.REFUSED)

    def diff(self) -> list[str]:
        """The unified diff from this copy to the packaged text, lines without their ends; empty when equal."""
        if self.content is None:
            return []
        old = self.content.decode("utf-8", "replace").splitlines()
        new = text.stamped(text.packaged()).decode().splitlines()
        label = self.version or "not from CloudRouter"
        names = (f"{self.place.path} ({label}, {self.state})", f"cloudrouter {__version__}")
        return list(difflib.unified_diff(old, new, *names, lineterm=""))

    def install(self, today: str) -> str | None:
        """Write the packaged text, keeping what was there; the backup's path, if one was needed.

        today: `20261124`, names the backup of a copy without a version. Raises Conflict when the file has changed
        since the look, and for a place that is refused.
        """
        if self.refusal is not None:
            raise self.refusal
        if self.state == text.CURRENT:
            return None
        with files.opened_folder(self.place.root, self.place.folder, create=True) as fd:
            if fd is None:
                raise Conflict(f"{self.place.path} vanished while it was written.", next="cloudrouter skills ls")
            self._check(fd)
            backup = self._keep(fd, today)
            files.write(fd, FILE, text.stamped(text.packaged()), self.mode)
        return backup

    def remove(self, today: str) -> str | None:
        """Take the copy away, an edited one into a backup; its folder too when that is empty then.

        Raises Conflict as `install` does.
        """
        if self.refusal is not None:
            raise self.refusal
        with files.opened_folder(self.place.root, self.place.folder, create=False) as fd:
            if fd is None:
                return None
            self._check(fd)
            backup = self._keep(fd, today) if self.state == text.EDITED else None
            files.remove(fd, FILE)
        folder = os.path.join(self.place.root, self.place.folder)
        if not os.listdir(folder) and not os.path.islink(folder):
            os.rmdir(folder)
        return backup

    def _check(self, fd: int) -> None:
        """That nobody has changed the file since the look."""
        now = files.read(fd, FILE, self.place.path)
        if (now[0] if now else None) != self.content:
            raise Conflict(
                f"{self.place.path} has just been changed by somebody else.",
                fix="It was left as it is. Look at it, then try again.",
                next="cloudrouter skills diff",
            )

    def _keep(self, fd: int, today: str) -> str | None:
        if self.content is None:
            return None
        label = self.version if self.state in (text.OLDER, text.NEWER) else today
        name = files.keep(fd, f"{FILE}.bak-{label}", self.content, self.mode, self.place.path)
        return os.path.join(self.place.root, self.place.folder, name)
