"""`cp`: files and folders between here and machines, by the rules of `docker cp`.

SOURCE is a file:    TARGET missing: the file gets that name; its folder must be there, and TARGET not end in `/`
                     TARGET is a file: it is replaced; a folder: the file goes into it
SOURCE is a folder:  TARGET missing: it is made, and gets the folder's contents; its own folder must be there
                     TARGET is a file: refused; a folder: the folder itself goes into it, or, where SOURCE ends in
                     `/.`, only its contents
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from cloudrouter.client import relaying, transfer
from cloudrouter.client.transport import Transport
from cloudrouter.trees.names import printable
from cloudrouter.trees.pack import PackReport, pack_file
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Conflict, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Progress = Callable[[dict[str, Any]], object]

FILE, TREE = "file", "tree"
STREAM = "-"
_NAMELESS = ("", ".", "..", "~", "/")
"""Ends of a path that name no entry: such a folder is copied by its contents."""
_PIECE = 1024 * 1024


class Place(NamedTuple):
    """Where something is: a path here, or in a machine."""

    machine: str | None
    """An id or a name; None: here."""
    path: str

    @property
    def shown(self) -> str:
        """As it is written, safe to print."""
        path = printable(os.fsencode(self.path))
        return path if self.machine is None else f"{printable(os.fsencode(self.machine))}:{path}"


def read_place(word: str) -> Place:
    """`ID:path` is in a machine, everything else here: a path with a colon is written `./a:b`."""
    machine, colon, path = word.partition(":")
    if not colon or not machine or "/" in machine or machine.startswith("."):
        return Place(None, word)
    return Place(machine, path or ".")


def copy(
    transport: Transport,
    source: Place,
    target: Place,
    *,
    with_git: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Copy a file or a folder; one of both places at least is in a machine.

    What comes here from a machine is not trusted, see transfer.download; `.git` is then left out unless with_git.
    Returns `{"kind", "target", "files", "dirs", "links", "bytes", "changed", "skipped", "git_left_out"}`. Raises
    NotFound, Conflict where a folder and a file would take each other's place, TransferFailed.
    """
    kind = _kind_of(transport, source)
    if kind is None:
        raise NotFound(f"There is no file or folder {source.shown}.", fix="Check the path.", next=_look_at(source))
    place = _final_place(transport, source, kind, target)
    if source.machine is None:
        report = transfer.upload(transport, place.machine or "", source.path, place.path, progress=progress)
    elif place.machine is None:
        report = transfer.download(
            transport, source.machine, source.path, place.path, with_git=with_git, kind=kind, progress=progress
        )
    else:
        if kind == TREE:
            _refuse_inside(transport, source, place)
        report = relaying.relay(
            transport, (source.machine, source.path), (place.machine, place.path), kind, progress=progress
        )
    return {"changed": [], "skipped": [], "git_left_out": False, **report, "target": place.shown}


def copy_in(transport: Transport, stream: BinaryIO, target: Place, *, progress: Progress | None = None) -> Any:
    """Write all that a stream gives as one file in a machine, whole or not at all; the result is as copy's."""
    machine = target.machine or ""
    if target.path.endswith("/") or _kind_of(transport, target) == TREE:
        raise UsageError(
            f"{target.shown} is a folder; what comes on stdin has no name of its own.",
            fix="Name the file.",
            next=f"cloudrouter cp - {transfer.quoted(machine + ':' + posixpath.join(target.path, 'NAME'))}",
        )
    _need_parent(transport, target)
    with tempfile.NamedTemporaryFile(prefix="cloudrouter-") as spool:
        while piece := stream.read(_PIECE):
            spool.write(piece)
        spool.flush()
        os.fchmod(spool.fileno(), 0o644)
        report = PackReport()
        chunks = pack_file(spool.name, posixpath.basename(target.path), report=report)
        done = transfer.put(transport, machine, target.path, FILE, chunks, report, progress=progress)
    return {"git_left_out": False, **done, "kind": FILE, "target": target.shown}


def copy_out(transport: Transport, source: Place, stream: BinaryIO, *, progress: Progress | None = None) -> Any:
    """Write one file of a machine into a stream, once all of it has arrived; the result is as copy's."""
    if _kind_of(transport, source) == TREE:
        raise UsageError(
            f"{source.shown} is a folder, and stdout takes one file.",
            fix="Copy it into a folder here, or make an archive of it.",
            next=f"cloudrouter ssh {source.machine} tar -c {transfer.quoted(source.path)}",
        )
    with tempfile.TemporaryDirectory(prefix="cloudrouter-") as folder:
        spool = f"{folder}/content"
        report = transfer.download(transport, source.machine or "", source.path, spool, kind=FILE, progress=progress)
        with open(spool, "rb") as file:
            while piece := file.read(_PIECE):
                stream.write(piece)
        stream.flush()
    return {"changed": [], "skipped": [], **report, "target": STREAM}


def _final_place(transport: Transport, source: Place, kind: str, target: Place) -> Place:
    """Exactly where the file or the folder's contents go."""
    there = _kind_of(transport, target)
    name = _name_of(source)
    if there == TREE and (kind == FILE or name):
        inside = Place(target.machine, name if target.path == "." else posixpath.join(target.path, name))
        taken = _kind_of(transport, inside)
        if taken is not None and taken != kind:
            raise _in_the_way(source, kind, inside)
        return inside
    if there is not None and there != kind:
        raise _in_the_way(source, kind, target)
    if there is None:
        if kind == FILE and target.path.endswith("/"):
            raise NotFound(
                f"There is no folder {target.shown}.", fix="Make it, or leave the / out.", next=_look_at(target)
            )
        _need_parent(transport, target)
    return target


def _refuse_inside(transport: Transport, source: Place, place: Place) -> None:
    """Raise UsageError where a folder would go into itself: it would grow while it is read, without an end."""
    if _id_of(transport, source) != _id_of(transport, place):
        return
    origin = _real_path(transport, source)
    goal = _real_path(transport, place)
    if goal == origin or goal.startswith(origin.rstrip("/") + "/"):
        raise UsageError(
            f"{place.shown} is {source.shown} itself, or inside it.",
            fix="Copy it to a place outside of it.",
            next=_look_at(source),
        )


def _id_of(transport: Transport, place: Place) -> str:
    """One machine may be written in several ways: its id, its name, the beginning of its id."""
    return str(transport.call("GET", routes.machine(place.machine or ""))["id"])


def _real_path(transport: Transport, place: Place) -> str:
    """The path without links; of what is not there yet, that of its folder and its name."""
    path = place.path.rstrip("/") or "/"
    found = relaying.real_path(transport, place.machine or "", path)
    if found is not None:
        return found
    folder = relaying.real_path(transport, place.machine or "", posixpath.dirname(path) or ".")
    return posixpath.join(folder or posixpath.dirname(path), posixpath.basename(path))


def _name_of(source: Place) -> str:
    """The entry's own name; empty where the path names none, so that a folder's contents are meant.

    Never the machine's word: what it calls the file does not decide where it goes.
    """
    path = source.path.rstrip("/")
    if source.machine is None and posixpath.basename(path) == "..":
        path = os.path.abspath(path)
    name = posixpath.basename(path)
    return "" if name in _NAMELESS else name


def _need_parent(transport: Transport, target: Place) -> None:
    """Raise NotFound unless the folder that the target lies in is there: a typing error must not make one."""
    parent = posixpath.dirname(target.path.rstrip("/"))
    if parent in ("", "/", "~") or _kind_of(transport, Place(target.machine, parent)) == TREE:
        return
    place = Place(target.machine, parent)
    raise NotFound(f"There is no folder {place.shown} to copy into.", fix="Make it first.", next=_make(place))


def _kind_of(transport: Transport, place: Place) -> str | None:
    """`file`, `tree`, or None for nothing; links are followed."""
    if place.machine is not None:
        return relaying.kind_of(transport, place.machine, place.path)
    if os.path.isdir(place.path):
        return TREE
    if os.path.isfile(place.path):
        return FILE
    if os.path.lexists(place.path) and not os.path.islink(place.path):
        raise UsageError(
            f"{place.shown} is neither a file nor a folder.", fix="Only files and folders can be copied.", next="ls -l"
        )
    return None


def _in_the_way(source: Place, kind: str, place: Place) -> Conflict:
    words = ("a folder", "a file") if kind == FILE else ("a file", "a folder")
    return Conflict(
        f"{place.shown} is {words[0]} and {source.shown} is {words[1]}: one cannot take the other's place.",
        fix="Give another target, or remove that one first.",
        next=_look_at(place),
    )


def _look_at(place: Place) -> str:
    folder = transfer.quoted(posixpath.dirname(place.path.rstrip("/")) or ".")
    return f"ls -la {folder}" if place.machine is None else f"cloudrouter ssh {place.machine} -- ls -la {folder}"


def _make(place: Place) -> str:
    folder = transfer.quoted(place.path)
    return f"mkdir -p {folder}" if place.machine is None else f"cloudrouter ssh {place.machine} -- mkdir -p {folder}"
