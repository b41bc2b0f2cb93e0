"""Which apps a machine is to have besides its image's own: ours, the person's own folders, images beside it."""

from __future__ import annotations

import os

from cloudrouter.trees.names import printable
from cloudrouter.wire import flavours, routes
from cloudrouter.wire.errors import Internal, NotFound, TransferFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cloudrouter.client.selection import Selection
    from cloudrouter.client.transport import Transport

    Progress = Callable[[dict[str, Any]], object]

FEATURE, INSTALL = "devcontainer-feature.json", "install.sh"
FOLDER_LIMIT = 64 * 1024 * 1024
"""Bytes of all files of an app's folder, at most."""
BARE, WHOLE = "core", "full"
"""What apps are put on, and what they are taken from, where no image is named."""
_SENT = f"own@{'0' * 12}"
"""Stands for an app that is not sent yet."""


class Chosen:
    """Apps that are added to an image and left out of it, and sidecars."""

    def __init__(
        self,
        apps: Iterable[str] = (),
        without: Iterable[str] = (),
        own: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        """own: folders of dev container Features, and sidecars as `db=postgres:16`; see sidecars.parse_sidecar.

        NotFound or UsageError where one is neither. Nothing is sent.
        """
        self.apps = _words(apps, "apps")
        self.without = _words(without, "without")
        self.sidecars: list[dict[str, Any]] = []
        """As `POST /v1/machines` takes them."""
        self._folders: list[tuple[str, Selection]] = []
        words = [os.fspath(word) for word in _words(own, "app")]
        if words:
            self._read(words)

    def _read(self, words: list[str]) -> None:
        from cloudrouter.client.sidecars import parse_sidecar, to_request

        parsed = [(word, parse_sidecar(word)) for word in words]
        self.sidecars = to_request(sidecar for _, sidecar in parsed if sidecar is not None)
        self._folders = [_read(word) for word, sidecar in parsed if sidecar is None]

    @property
    def _changes_image(self) -> bool:
        return bool(self.apps or self.without or self._folders)

    def check(self, image: str | None) -> None:
        """UsageError when these apps and this image make no sense together; nothing is sent."""
        if self._changes_image:
            self._compose(image, [_SENT] if self._folders else [])

    def image(self, transport: Transport, image: str | None, progress: Progress = lambda _event: None) -> str | None:
        """The name of the image with these apps; sends the person's own to the router first. None: none was asked for.

        progress gets `{"phase": "sending_app", "folder"}` for each.
        """
        if not self._changes_image:
            return image
        sent = []
        for folder, selection in self._folders:
            progress({"phase": "sending_app", "folder": printable(os.fsencode(folder))})
            sent.append(_send(transport, folder, selection))
        return self._compose(image, sent)

    def _compose(self, image: str | None, sent: list[str]) -> str:
        base = image or (BARE if self.apps or self._folders else WHOLE)
        return flavours.compose(base, [*self.apps, *sent], self.without)


def _words(given: Iterable[Any], name: str) -> list[Any]:
    if isinstance(given, (str, os.PathLike)):
        raise UsageError(f"{name} must be a list, and it is {str(given)!r}.", fix=f"Write {name}=[{str(given)!r}].")
    return list(given)


def _read(folder: str) -> tuple[str, Selection]:
    """A folder with what of it is sent: neither what is ignored nor secrets, which have no place in an image."""
    from cloudrouter.client.selection import select

    shown = printable(os.fsencode(folder))
    if not os.path.isdir(folder):
        known = os.path.lexists(folder)
        told = f"{shown} is not a folder." if known else f"There is no folder {shown}."
        raise (UsageError if known else NotFound)(told, fix="Give the folder of a dev container Feature.")
    for name in (FEATURE, INSTALL):
        if not os.path.isfile(os.path.join(folder, name)):
            raise UsageError(
                f"{shown} is no app: there is no {name} in it.",
                fix=f"An app is a dev container Feature: {FEATURE} and {INSTALL}, and app.toml where it serves people.",
            )
    selection = select(folder, exclude=["/.git"])
    if selection.unreadable:
        path = printable(selection.unreadable[0].path)
        raise TransferFailed(f"The app {shown} holds what cannot be read: {path}.", fix="Make it readable.")
    if selection.total_bytes > FOLDER_LIMIT:
        raise UsageError(
            f"The app {shown} has {selection.total_bytes >> 20} MiB, and {FOLDER_LIMIT >> 20} MiB can be sent.",
            fix="Let its install.sh download what is large.",
        )
    return folder, selection


def _send(transport: Transport, folder: str, selection: Selection) -> str:
    """Send one folder to the router; the app's name with the digest of what it is."""
    from cloudrouter.trees.pack import PackReport, pack

    report = PackReport()
    answer: dict[str, Any] = {}
    for message in transport.send(routes.IMAGE_APP, pack(folder, selection.paths, report=report)):
        answer = message
    if report.unreadable or report.changed:
        path = printable(report.unreadable[0][0] if report.unreadable else report.changed[0])
        raise TransferFailed(f"{path} in {printable(os.fsencode(folder))} changed while it was sent.", fix="Try again.")
    app = answer.get("app")
    if not isinstance(app, str) or "@" not in app or flavours.app_fault(app):
        raise Internal("The router did not say what it calls this app.", next="cloudrouter server logs")
    return app
