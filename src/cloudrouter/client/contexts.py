"""Building an image from a folder with a Dockerfile: what of the folder is sent, and following the build."""

from __future__ import annotations

import hashlib
import json
import os
import stat

from cloudrouter.client import ambient
from cloudrouter.client.dockerignore import DockerIgnore, parse
from cloudrouter.trees.names import printable
from cloudrouter.trees.pack import PackReport, pack
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotFound, TransferFailed, Unreachable, UsageError, from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from cloudrouter.client.transport import Transport

    Progress = Callable[[dict[str, Any]], object]

DOCKERFILE = "Dockerfile"
IGNORE_FILE = ".dockerignore"
IGNORE_BYTES = 1 << 20


class FolderBuild:
    """What is built: a folder, and how."""

    def __init__(
        self,
        folder: str,
        *,
        file: str | None = None,
        args: Mapping[str, str] | None = None,
        target: str = "",
        tag: str = "",
        rebuild: bool = False,
    ) -> None:
        """file: the Dockerfile, looked for in the folder, then from the current one; it must lie in the folder.
        args: build arguments; they can be read in the image's history, so they are no place for secrets.
        """
        self.folder = folder
        self.file = file
        self.args = dict(args or {})
        self.target = target
        self.tag = tag
        self.rebuild = rebuild


class Context:
    """A folder that can be built: which of its entries are sent."""

    def __init__(self, wanted: FolderBuild) -> None:
        """Raises NotFound, UsageError or TransferFailed where the folder cannot be built; sends nothing."""
        self.wanted = wanted
        self._shown = printable(os.fsencode(wanted.folder))
        if not os.path.isdir(wanted.folder):
            known = os.path.lexists(wanted.folder)
            told = f"{self._shown} is not a folder." if known else f"There is no folder {self._shown}."
            raise (UsageError if known else NotFound)(told, fix="Give the folder that the Dockerfile is in.")
        self.dockerfile = self._find_dockerfile()
        self.paths = list(self._walk(self._rules()))
        self.report = PackReport()

    def pieces(self, provider: str | None) -> Iterator[bytes]:
        """The body of the request: a line that says what is built, and the folder as a tar."""
        folder = os.path.realpath(self.wanted.folder)
        what = {
            "source": os.fsencode(os.path.basename(folder) or "folder").decode("utf-8", "replace")[:200],
            "origin": hashlib.sha256(os.fsencode(f"{folder}\0{self.dockerfile}\0{self.wanted.target}")).hexdigest()[
                :12
            ],
            "dockerfile": self.dockerfile,
            "target": self.wanted.target,
            "buildargs": self.wanted.args,
            "proxies": ambient.proxies(os.environ),
            "tag": self.wanted.tag,
            "provider": provider,
            "rebuild": self.wanted.rebuild,
        }
        yield json.dumps(what).encode() + b"\n"
        yield from pack(self.wanted.folder, self.paths, report=self.report)
        if self.report.unreadable:
            path, why = self.report.unreadable[0]
            raise TransferFailed(
                f"The folder was not built: {printable(path)} cannot be read ({why}).",
                fix=f"Make it readable, or name it in {IGNORE_FILE}.",
            )

    def _find_dockerfile(self) -> str:
        """The Dockerfile's path in the folder."""
        wanted, folder = self.wanted, os.path.realpath(self.wanted.folder)
        name = DOCKERFILE if wanted.file is None else wanted.file
        places = [os.path.join(folder, name), *([] if wanted.file is None else [os.path.abspath(name)])]
        found = next((place for place in places if os.path.isfile(place)), None)
        if found is None:
            raise NotFound(
                f"There is no {printable(os.fsencode(name))} in {self._shown}.",
                fix="Write one, or name another file with --file.",
                next="cloudrouter start --help",
            )
        inside = os.path.relpath(os.path.realpath(os.path.dirname(found)), folder)
        if inside == ".." or inside.startswith("../"):
            raise UsageError(
                f"The Dockerfile {printable(os.fsencode(found))} lies outside of {self._shown}.",
                fix="Put it into the folder that is built.",
            )
        return os.path.normpath(os.path.join(inside, os.path.basename(found)))

    def _rules(self) -> DockerIgnore:
        """The ignore file of this Dockerfile, else the folder's own. What the builder itself reads is always sent."""
        for name in (f"{self.dockerfile}{IGNORE_FILE}", IGNORE_FILE):
            path = os.path.join(self.wanted.folder, name)
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    text = file.read(IGNORE_BYTES + 1)
            except FileNotFoundError:
                continue
            except OSError as error:
                why = (error.strerror or "unknown error").lower()
                raise TransferFailed(f"{printable(os.fsencode(path))} cannot be read: {why}.") from None
            if len(text) > IGNORE_BYTES:
                raise UsageError(f"{printable(os.fsencode(path))} is too long for an ignore file.", fix="Shorten it.")
            return DockerIgnore([*parse(text), f"!{self.dockerfile}", f"!{IGNORE_FILE}"])
        return DockerIgnore([])

    def _walk(self, rules: DockerIgnore) -> Iterator[bytes]:
        """Paths in the folder, each folder before what is in it; links are sent as links."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            for name in sorted(self._list(folder)):
                path = f"{folder}/{name}" if folder else name
                is_folder = self._is_folder(path)
                out = rules.leaves_out(path)
                if not out:
                    yield os.fsencode(path)
                if is_folder and (not out or rules.may_hold_more(path)):
                    waiting.append(path)

    def _list(self, folder: str) -> list[str]:
        try:
            return os.listdir(os.path.join(self.wanted.folder, folder))
        except OSError as error:
            why = (error.strerror or "unknown error").lower()
            raise TransferFailed(
                f"The folder {printable(os.fsencode(folder or self.wanted.folder))} cannot be read: {why}.",
                fix=f"Make it readable, or name it in {IGNORE_FILE}.",
            ) from None

    def _is_folder(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(os.lstat(os.path.join(self.wanted.folder, path)).st_mode)
        except FileNotFoundError:
            return False  # gone meanwhile; packing tells


def build(
    transport: Transport, context: Context, *, provider: str | None = None, progress: Progress = lambda _event: None
) -> dict[str, Any]:
    """Send the folder and follow the build to its end; `{"name", "reference"}` of the image, ready to boot.

    progress gets `{"phase": "sending", "files"}` and then `{"phase": "building", "progress": {...}}`. The error that
    ends a build is raised: InvalidSpec for a failing step of the Dockerfile, with its last lines.
    """
    progress({"phase": "sending", "files": len(context.paths)})
    for message in messages(transport, context, provider=provider):
        if "error" in message:
            raise from_json(message["error"])
        if "image" in message:
            image: dict[str, Any] = message["image"]
            return image
        progress({"phase": "building", **message})
    raise Unreachable("The router went away in the middle of the build.", next="cloudrouter server logs")


def messages(transport: Transport, context: Context, *, provider: str | None) -> Iterator[dict[str, Any]]:
    """What the router says while it builds: progress, then the image or an error."""
    return transport.send(routes.IMAGE_BUILD_FOLDER, context.pieces(provider))
