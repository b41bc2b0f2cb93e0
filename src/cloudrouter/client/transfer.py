"""Files to a machine and back: trees and single files as tar on a stream, counted on both sides."""

from __future__ import annotations

import json
import os

from cloudrouter.client.tarstream import Incoming, Watch, send
from cloudrouter.trees.names import printable
from cloudrouter.trees.pack import PackReport, pack, pack_file
from cloudrouter.trees.reader import Reader
from cloudrouter.trees.unpack import UnpackReport, unpack, unpack_file
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError, NotFound, TransferFailed, UsageError
from cloudrouter.wire.streams import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from cloudrouter.client.tarstream import Progress
    from cloudrouter.client.transport import Transport
    from cloudrouter.client.websocket import Stream

_NAMED = 5
_WORDS = {"file": "file", "tree": "folder"}


def upload(
    transport: Transport, machine_id: str, local: str, remote: str = ".", *, progress: Progress | None = None
) -> dict[str, Any]:
    """Send a folder's contents, or one file, to `remote` (relative to the workspace, `~` is the home folder).

    A folder's contents land in remote, which is made when missing. A file lands at remote, or in it when that is
    a folder. Everything is sent, ignored files and secrets too; links are sent as links. Returns
    `{"path", "kind", "files", "dirs", "links", "bytes", "changed", "skipped"}`. Raises NotFound for a missing
    local path and TransferFailed, naming what arrived, unless everything did.
    """
    report = PackReport()
    kind, chunks = _open_local(local, report)
    done = put(transport, machine_id, remote, kind, chunks, report, progress=progress)
    return {"path": remote, "kind": kind, **done}


def put(
    transport: Transport,
    machine_id: str,
    remote: str,
    kind: str,
    chunks: Iterable[bytes],
    report: PackReport,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Send tar bytes, whose packing fills `report`, and hold the guest's counts against it."""
    watch = Watch("uploading", progress)
    with transport.stream(routes.machine(machine_id, "stream")) as stream:
        try:
            stream.send_text(json.dumps({"op": "put", "path": remote, "kind": kind}))
            done = send(stream, chunks, lambda: watch.tell(report.files, report.bytes))
            watch.tell(report.files, report.bytes, last=True)
            _compare(done, report, machine_id)
        except CloudRouterError as error:
            advise(error, machine_id, remote)
            raise
    return {
        "files": report.files,
        "dirs": report.dirs,
        "links": report.links,
        "bytes": report.bytes,
        "changed": [printable(path) for path in report.changed],
        "skipped": [printable(path) for path in report.skipped_special],
    }


def download(
    transport: Transport,
    machine_id: str,
    remote: str,
    local: str,
    *,
    with_git: bool = False,
    kind: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fetch a folder's contents into `local`, or a file to it (into it when local is a folder or ends with /).

    kind: `file` or `tree` where only that is wanted; the other one is refused before anything is written.

    What the machine sends is not trusted: nothing is written outside local, and links that lead out of it are
    refused. `.git` is left out unless with_git: its settings and hooks run commands here as soon as git is used.
    Returns `{"path", "kind", "files", "dirs", "links", "bytes", "git_left_out"}`; TransferFailed, naming what arrived,
    unless everything did.
    """
    with transport.stream(routes.machine(machine_id, "stream")) as stream:
        try:
            return _receive(stream, machine_id, remote, local, with_git=with_git, kind=kind, progress=progress)
        except CloudRouterError as error:
            advise(error, machine_id, remote)
            raise


def _receive(
    stream: Stream,
    machine_id: str,
    remote: str,
    local: str,
    *,
    with_git: bool,
    kind: str | None,
    progress: Progress | None,
) -> dict[str, Any]:
    watch = Watch("downloading", progress)
    stream.send_text(json.dumps({"op": "get", "path": remote}))
    source = Incoming(stream)
    sent, _ = source.started()
    if kind not in (None, sent):
        shown = printable(os.fsencode(remote))
        raise TransferFailed(
            f"{shown} in {machine_id} was a {_WORDS[kind or sent]} and is a {_WORDS[sent]} now. Nothing was written.",
            fix="Try again.",
        )
    target = local if sent == "tree" else _file_target(local, remote)
    reader = Reader(source.chunks())

    def tell(report: UnpackReport) -> None:
        watch.tell(report.files, report.bytes)

    if sent == "tree":
        report = unpack(reader.read, target, on_progress=tell, leave_out=None if with_git else _is_of_git)
    else:
        report = unpack_file(reader.read, target, on_progress=tell)
    while reader.read(CHUNK):
        pass  # The guest's verdict comes behind the archive's end mark.
    watch.tell(report.files, report.bytes, last=True)
    counts = {"files": report.files, "dirs": report.dirs, "links": report.links, "bytes": report.bytes}
    _check_download(report, counts, source.done, target)
    return {"path": target, "kind": sent, **counts, "git_left_out": any(report.left_out.values())}


def _is_of_git(name: bytes) -> bool:
    # In any case of letters: some file systems here do not tell .GIT from .git.
    return b".git" in name.lower().split(b"/")


def _open_local(local: str, report: PackReport) -> tuple[str, Iterator[bytes]]:
    shown = printable(os.fsencode(local))
    if os.path.isdir(local):
        return "tree", pack(local, report=report)
    if not os.path.lexists(local):
        raise NotFound(f"There is no file or folder {shown} here.", fix="Check the path.", next="ls")
    if not os.path.isfile(local):
        raise UsageError(
            f"{shown} is neither a file nor a folder.", fix="Only files and folders can be sent.", next=f"ls -l {shown}"
        )
    return "file", pack_file(local, os.path.basename(os.path.abspath(local)), report=report)


def _file_target(local: str, remote: str) -> str:
    """Where a single file goes: into a folder under the name that was asked for, never under one the machine gives."""
    if not (local.endswith("/") or os.path.isdir(local)):
        return local
    own = remote.rstrip("/").rsplit("/", 1)[-1]
    if own in ("", ".", "..", "~"):
        raise TransferFailed(
            f"The machine sends a file where {printable(os.fsencode(remote))} can only be a folder.",
            fix="Give a name for it here.",
        )
    return os.path.join(local, own)


def look(machine_id: str, remote: str) -> str:
    """The command that shows what is around a path in a machine."""
    folder = os.path.dirname(remote.rstrip("/")) or "."
    return f"cloudrouter ssh {machine_id} -- ls -la {quoted(folder)}"


def quoted(path: str) -> str:
    """A path as one word of a command line: who it comes from must not write what an agent then runs."""
    import shlex  # errors alone pay for it

    return shlex.quote(printable(os.fsencode(path)))


def advise(error: CloudRouterError, machine_id: str, remote: str) -> None:
    """Give an error about a machine's files a remedy where it has none; a machine's own advice is never taken."""
    if isinstance(error, NotFound):
        error.fix = error.fix or "Check the path; it is relative to the workspace, ~ is the home folder."
    elif isinstance(error, (TransferFailed, UsageError)):
        error.fix = error.fix or "See what is there, and who may read and write it."
    error.next = error.next or look(machine_id, remote)


def _compare(done: dict[str, Any], report: PackReport, machine_id: str) -> None:
    """Raise TransferFailed unless the guest wrote exactly what was sent."""
    arrived = f"{done.get('files', 0)} of {report.files} files arrived in {machine_id}"
    refused = done.get("refused")
    if report.unreadable:
        names = _list((printable(path), why) for path, why in report.unreadable)
        raise TransferFailed(f"Not everything could be read here: {names}. {arrived}.", fix="Make it readable.")
    if refused:
        raise TransferFailed(f"The machine could not write everything: {name_pairs(refused)}. {arrived}.")
    sent = {"files": report.files, "links": report.links, "bytes": report.bytes}
    for word, count in sent.items():
        if done.get(word) != count:
            raise TransferFailed(
                f"{count} {word} were sent and the machine counted {done.get(word)}. {arrived}.", fix="Send it again."
            )


def _check_download(report: UnpackReport, counts: dict[str, Any], done: dict[str, Any], target: str) -> None:
    arrived = f"{report.files} files arrived in {printable(os.fsencode(target))}"
    if report.refused:
        names = _list(report.refused)
        raise TransferFailed(
            f"Not everything could be written: {names}. {arrived}.",
            fix="Fetch the others by themselves, or make an archive of it in the machine and fetch that.",
            **counts,
        )
    unreadable = done.get("unreadable")
    if unreadable:
        raise TransferFailed(
            f"Not everything could be read in the machine: {name_pairs(unreadable)}. {arrived}.",
            fix="Let the machine's user read it.",
            **counts,
        )
    for word in ("files", "links", "bytes"):
        expected = counts[word] + report.left_out[word]
        if word in done and done[word] != expected:
            raise TransferFailed(
                f"The machine sent {done[word]} {word} and {expected} arrived. {arrived}.",
                fix="Fetch it again.",
                **counts,
            )


def name_pairs(told: Any) -> str:
    """`a (denied), b (denied), ...`: what a machine says of its files, in whatever shape it says it."""
    items = told if isinstance(told, list) else []
    pairs = [(str(one[0]), str(one[1])) for one in items if isinstance(one, list) and len(one) >= 2]
    return _list((printable(_bytes(name)), why) for name, why in pairs)


def _list(pairs: Iterable[tuple[str, str]]) -> str:
    """`a (denied), b (denied), ...`: the first few."""
    shown = [f"{name} ({printable(_bytes(why))})" for name, why in pairs]
    return ", ".join(shown[:_NAMED]) + (", ..." if len(shown) > _NAMED else "")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
