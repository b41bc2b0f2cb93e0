"""Names of images with apps in them: `BASE[+APP...]`, and the flavours that stand for some of them. Pure."""

from __future__ import annotations

from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

OURS = ("desktop", "browser", "vscode", "jupyter")
"""The apps of this project, in the order in which images get them."""
FLAVOURS = {"core": (), "desktop": OURS[:2], "full": OURS}
"""Flavour -> apps on top of `core`."""
NEEDS = {"browser": ("desktop",)}
"""App of ours -> those it cannot do without."""
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_HEX = frozenset("0123456789abcdef")


def split(image: str) -> tuple[str, tuple[str, ...]]:
    """(base, apps) of an image's name; a flavour's name is its apps on `core`."""
    base, *apps = image.split("+")
    flavour = FLAVOURS.get(base)
    if flavour is None:
        return base, tuple(apps)
    return "core", _ordered([*flavour, *apps])


def join(base: str, apps: Iterable[str]) -> str:
    """The one name of an image with these apps; a flavour's where it is one."""
    ordered = _ordered(apps)
    if base == "core":
        for flavour, has in FLAVOURS.items():
            if has == ordered:
                return flavour
    return "+".join((base, *ordered))


def compose(image: str, add: Iterable[str] = (), without: Iterable[str] = ()) -> str:
    """The name of an image with some apps more and some less; UsageError when that makes no sense."""
    base, has = split(image)
    added, dropped = list(add), list(without)
    for app in (*added, *dropped):
        fault = app_fault(app)
        if fault:
            raise UsageError(f"{app[:40]!r} is not an app: {fault}.", fix=f"Apps: {', '.join(OURS)}.")
    both = [app for app in added if app in dropped]
    if both:
        raise UsageError(f"The app {both[0]} is wanted and not wanted at once.")
    wanted = [app for app in (*has, *added) if app not in dropped and app_name(app) not in dropped]
    for app in list(wanted):
        for need in NEEDS.get(app, ()):
            if need in dropped:
                raise UsageError(
                    f"The app {app} cannot do without {need}.", fix=f"Leave {app} out as well: --without {app},{need}"
                )
            wanted.append(need)
    return join(base, wanted)


def app_name(app: str) -> str:
    """An app's own name, without the digest of a stranger's."""
    return app.partition("@")[0]


def app_fault(app: str) -> str:
    """Why this can be no app of an image's name; empty when it can: `vscode`, or `name@digest` of a stranger's."""
    name, at, digest = app.partition("@")
    if not name or len(name) > 31 or not _NAME.issuperset(name) or not name[0].isalpha() or name[-1] == "-":
        return "a name is a letter, then letters, digits and dashes, 31 at most, in small letters"
    if "--" in name:
        return "two dashes in a row part an app from its machine in addresses"
    if at and (len(digest) != 12 or not _HEX.issuperset(digest)):
        return "what stands behind @ must be 12 hex digits"
    if not at and name not in OURS:
        return "there is no app of that name"
    return ""


def _ordered(apps: Iterable[str]) -> tuple[str, ...]:
    """Each once: ours in their order, then strangers' by name."""
    found = dict.fromkeys(apps)
    ours = [app for app in OURS if app in found]
    return (*ours, *sorted(app for app in found if app not in OURS))
