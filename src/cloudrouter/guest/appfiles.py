"""The apps that an image has: read from their folders when these change, a broken one apart from the others."""

from __future__ import annotations

import json
import os

from cloudrouter.guest.log import log
from cloudrouter.wire.appspec import FILE, AppSpec, fill, read_spec
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from cloudrouter.guest.settings import Settings

_ROOM = 256 * 1024


class Installed:
    """What is in the folder of apps."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen: Optional[tuple[tuple[str, int], ...]] = None
        self.specs: dict[str, AppSpec] = {}
        """Name -> app, for those that can be run."""
        self.faults: dict[str, str] = {}
        """Name -> why it cannot be run, for the others."""

    def look(self) -> None:
        """Read again where something changed since the last look."""
        now = _fingerprint(self._settings.apps)
        if now == self._seen:
            return
        self._seen = now
        found: dict[str, AppSpec] = {}
        faults: dict[str, str] = {}
        for name, _changed in now:
            try:
                found[name] = _read(f"{self._settings.apps}/{name}/{FILE}", name)
            except UsageError as error:
                faults[name] = error.message
                log(f"the app {name!r} cannot be used: {error.message}")
        _check_requirements(found, faults)
        self.specs = {name: spec for name, spec in found.items() if name not in faults}
        self.faults = faults

    def words(self, name: str) -> dict[str, str]:
        """What `${...}` stands for in an app's own texts."""
        state = f"{self._settings.apps_run}/{name}"
        return {
            "workspace": self._settings.workspace,
            "home": self._settings.home,
            "state": state,
            "socket": f"{state}/socket",
            "app": f"{self._settings.apps}/{name}",
        }

    def exports(self) -> dict[str, str]:
        """What the apps set for every command."""
        self.look()
        found: dict[str, str] = {}
        for name, spec in self.specs.items():
            words = self.words(name)
            found.update((variable, fill(text, words)) for variable, text in spec.exports.items())
        return found

    def needed(self, name: str) -> list[str]:
        """The apps that this one requires, and those that these require, the deepest first."""
        found: dict[str, None] = {}
        for one in self.specs[name].requires:
            found.update(dict.fromkeys(self.needed(one)))
            found[one] = None
        return list(found)

    def needing(self, name: str) -> list[str]:
        """The apps that cannot run without this one."""
        return [other for other in self.specs if name in self.needed(other)]


def _fingerprint(folder: str) -> tuple[tuple[str, int], ...]:
    """(app, when its file changed) for each that is there, by name."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    found = []
    for name in names:
        try:
            found.append((name, os.stat(f"{folder}/{name}/{FILE}").st_mtime_ns))
        except (FileNotFoundError, NotADirectoryError):
            continue  # not every folder there is an app's
    return tuple(found)


def _read(path: str, name: str) -> AppSpec:
    try:
        with open(path, encoding="utf-8") as file:
            return read_spec(json.loads(file.read(_ROOM)), name)
    except (ValueError, RecursionError):
        raise UsageError(f"{FILE} of the app cannot be read: it is no JSON.") from None
    except OSError as error:
        raise UsageError(f"{FILE} of the app cannot be read: {(error.strerror or 'unknown error').lower()}.") from None


def _check_requirements(found: dict[str, AppSpec], faults: dict[str, str]) -> None:
    """Find those that require what is not there, is broken, or requires them: until nothing changes any more."""
    for name in found:
        if _requires_itself(name, found):
            faults[name] = "It requires itself through the apps that it requires."
    while True:
        before = len(faults)
        for name, spec in found.items():
            lacking = [one for one in spec.requires if one not in found or one in faults]
            if lacking and name not in faults:
                why = "cannot be used" if lacking[0] in faults else "is not in this machine"
                faults[name] = f"It requires the app {lacking[0]}, which {why}."
        if len(faults) == before:
            return


def _requires_itself(name: str, found: dict[str, AppSpec]) -> bool:
    seen: set[str] = set()
    waiting = list(found[name].requires)
    while waiting:
        one = waiting.pop()
        if one == name:
            return True
        if one not in seen and one in found:
            seen.add(one)
            waiting += found[one].requires
    return False
