"""Opening an address in the person's browser; one of two places that may, beside login."""

from __future__ import annotations

import os
import time

from cloudrouter.wire.errors import NotConfigured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "open-"
KEPT_S = 90.0
"""How long the page that leads to an address stays; its ticket lives shorter."""
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta http-equiv="refresh" content="0;url={url}"><title>CloudRouter</title><a href="{url}">Go on</a>\n'
)


def show(url: str, folder: str, environ: Mapping[str, str]) -> None:
    """Open an address with a ticket in the person's browser; NotConfigured where none can be.

    The browser is told of a page in a private folder that leads there: everybody on this host sees the words that a
    program is started with.
    """
    import sys

    if sys.platform.startswith("linux") and not any(environ.get(name) for name in _SCREENS):
        raise _no_browser("this session has no screen")
    import webbrowser

    _sweep(folder)
    page = os.path.join(folder, f"{PREFIX}{os.urandom(8).hex()}.html")
    with open(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="ascii") as file:
        file.write(_PAGE.format(url=url.replace("&", "&amp;")))
    try:
        done = webbrowser.open(f"file://{page}")
    except (webbrowser.Error, OSError):
        done = False
    if not done:
        os.unlink(page)
        raise _no_browser("none was found")


def _sweep(folder: str) -> None:
    """Take away the pages of before."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if not name.startswith(PREFIX):
            continue
        try:
            if time.time() - os.lstat(path).st_mtime > KEPT_S:
                os.unlink(path)
        except FileNotFoundError:
            continue  # by another call of ours


def _no_browser(why: str) -> NotConfigured:
    return NotConfigured(
        f"No browser could be opened on this host: {why}.",
        fix="Open the printed address yourself within a minute; BROWSER names a program that opens addresses.",
    )
