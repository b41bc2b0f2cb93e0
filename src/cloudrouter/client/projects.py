"""Files that belong to a project: in its folder, or in the top folder of the git work tree around it."""

from __future__ import annotations

import os


def find_file(folder: str, name: str) -> str | None:
    """The project's file of that name: in the folder itself, else in the work tree's top folder above it; else None.

    Not searched any further up: a file that somebody else put into /tmp must not decide anything.
    """
    here = os.path.abspath(folder)
    if os.path.lexists(f"{here}/{name}"):
        return f"{here}/{name}"
    above = here
    while True:
        if os.path.lexists(f"{above}/.git"):
            path = f"{above}/{name}"
            return path if os.path.lexists(path) else None
        if os.path.dirname(above) == above:
            return None
        above = os.path.dirname(above)
