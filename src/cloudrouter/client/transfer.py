"""Files to a machine and back: trees and single files as tar on a stream, counted on both sides."""

from __future__ import annotations

import json
import os
import time

from cloudrouter.client import commands
from cloudrouter.trees.names import printable
from cloudrouter.trees.pack import PackReport, pack, pack_file
from cloudrouter.trees.reader import Reader
from cloudrouter.trees.unpack import UnpackReport, unpack, unpack_file
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Internal, NotFound, TransferFailed, UsageError
from cloudrouter.wire.streams import CHUNK, STDOUT, WINDOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from cloudrouter.client.transport import Transport
    from cloudrouter.client.websocket import Stream

    Progress = Callable[[dict[str, Any]], object]

_PROGRESS_EVERY_S = 0.1
_NAMED = 5


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
    watch = _Watch("uploading", progress)
    with transport.stream(routes.machine(machine_id, "stream")) as stream:
        stream.send_text(json.dumps({"op": "put", "path": remote, "kind": kind}))
        done = _send(stream, chunks, lambda: watch.tell(report.files, report.bytes))
    watch.tell(report.files, report.bytes, last=True)
    _compare(done, report, machine_id)
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
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fetch a folder's contents into `local`, or a file to it (into it when local is a folder or ends with /).

    What the machine sends is not trusted: nothing is written outside local, and links that lead out of it are
    refused. `.git` is left out unless with_git: its settings and hooks run commands here as soon as git is used.
    Returns `{"path", "kind", "files", "dirs", "links", "bytes", "git_left_out"}`; TransferFailed, naming what arrived,
    unless everything did.
    """
    watch = _Watch("downloading", progress)
    with transport.stream(routes.machine(machine_id, "stream")) as stream:
        stream.send_text(json.dumps({"op": "get", "path": remote}))
        source = _Download(stream)
        kind, name = source.started()
        target = local if kind == "tree" else _file_target(local, name)
        reader = Reader(source.chunks())

        def tell(report: UnpackReport) -> None:
            watch.tell(report.files, report.bytes)

        if kind == "tree":
            report = unpack(reader.read, target, on_progress=tell, leave_out=None if with_git else _is_of_git)
        else:
            report = unpack_file(reader.read, target, on_progress=tell)
        while reader.read(CHUNK):
            pass  # The guest's verdict comes behind the archive's end mark.
    watch.tell(report.files, report.bytes, last=True)
    counts = {"files": report.files, "dirs": report.dirs, "links": report.links, "bytes": report.bytes}
    _check_download(report, counts, source.done, target)
    return {"path": target, "kind": kind, **counts, "git_left_out": any(report.left_out.values())}


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
        raise UsageError(f"{shown} is neither a file nor a folder.", fix="Only files and folders can be sent.")
    return "file", pack_file(local, os.path.basename(os.path.abspath(local)), report=report)


def _send(stream: Stream, chunks: Iterable[bytes], tell: Callable[[], object]) -> dict[str, Any]:
    """Send chunks as the guest's window allows; the content of its final message."""
    inbox = _Inbox(stream)
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest and inbox.final is None:
            inbox.read(wait=inbox.window == 0)
            piece = rest[: min(inbox.window, CHUNK)]
            if piece and inbox.final is None:
                stream.send_binary(piece)
                inbox.window -= len(piece)
                rest = rest[len(piece) :]
        tell()
        if inbox.final is not None:
            break
    else:
        stream.send_text('{"eof":true}')
    while inbox.final is None:
        inbox.read(wait=True)
    return inbox.final


class _Inbox:
    """What the guest says while data goes to it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.window = WINDOW
        self.final: dict[str, Any] | None = None

    def read(self, *, wait: bool) -> None:
        """Take what is there, or wait for one message; errors among it are raised."""
        if wait:
            message = self._stream.receive()
            if message is None:
                raise commands.ended(self._stream)
            self._take(message)
        else:
            self._stream.feed()
        while self.final is None and (message := self._stream.take()) is not None:
            self._take(message)

    def _take(self, message: tuple[str, bytes]) -> None:
        if message[0] != "text":
            raise Internal("The machine sent data where none was asked for.")
        said = commands.read_text(message[1])
        self.window = commands.granted(self.window, said)
        word = commands.final_of(said)
        if word is not None:
            self.final = said[word] if isinstance(said[word], dict) else {}


class _Download:
    """The guest's side of a `get`: how it begins, the archive's bytes, how it ended."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.done: dict[str, Any] = {}

    def started(self) -> tuple[str, str]:
        """(kind, name) of what comes; the guest's error is raised."""
        kind, payload = self._receive()
        said = commands.read_text(payload) if kind == "text" else {}
        started = said.get("started")
        if not isinstance(started, dict) or started.get("kind") not in ("tree", "file"):
            raise Internal("The machine did not say what it sends.")
        return str(started["kind"]), str(started.get("name", ""))

    def chunks(self) -> Iterator[bytes]:
        """The archive's bytes; an error of the guest is raised in the middle."""
        while True:
            kind, payload = self._receive()
            if kind == "text":
                said = commands.read_text(payload)
                if "done" in said:
                    self.done = said["done"] if isinstance(said["done"], dict) else {}
                    return
            elif payload[:1] == bytes((STDOUT,)):
                yield payload[1:]
            else:
                raise Internal("The machine sent output on a channel that does not exist.")

    def _receive(self) -> tuple[str, bytes]:
        message = self._stream.receive()
        if message is None:
            raise commands.ended(self._stream)
        return message


class _Watch:
    """Tells how far a transfer is, a few times a second."""

    def __init__(self, phase: str, progress: Progress | None) -> None:
        self._phase = phase
        self._progress = progress
        self._start = self._told = time.monotonic()

    def tell(self, files: int, size: int, *, last: bool = False) -> None:
        """Report counts; `rate` is bytes per second so far."""
        if self._progress is None:
            return
        now = time.monotonic()
        if last or now - self._told >= _PROGRESS_EVERY_S:
            self._told = now
            rate = int(size / max(now - self._start, 1e-3))
            self._progress({"phase": self._phase, "files": files, "bytes": size, "rate": rate, "done": last})


def _file_target(local: str, name: str) -> str:
    """Where a single file goes; the name is the machine's word and only its last part is taken."""
    if not (local.endswith("/") or os.path.isdir(local)):
        return local
    own = name.rsplit("/", 1)[-1]
    if own in ("", ".", "..") or "\0" in own:
        raise TransferFailed(f"The machine calls the file {own!r}, which cannot be.", fix="Give a name for it here.")
    return os.path.join(local, own)


def _compare(done: dict[str, Any], report: PackReport, machine_id: str) -> None:
    """Raise TransferFailed unless the guest wrote exactly what was sent."""
    arrived = f"{done.get('files', 0)} of {report.files} files arrived in {machine_id}"
    refused = done.get("refused")
    if report.unreadable:
        names = _list((printable(path), why) for path, why in report.unreadable)
        raise TransferFailed(f"Not everything could be read here: {names}. {arrived}.", fix="Make it readable.")
    if refused:
        pairs = (tuple(one)[:2] for one in refused if isinstance(one, (list, tuple)) and len(one) >= 2)
        names = _list((printable(str(name).encode()), str(why)) for name, why in pairs)
        raise TransferFailed(f"The machine could not write everything: {names}. {arrived}.")
    sent = {"files": report.files, "links": report.links, "bytes": report.bytes}
    for word, count in sent.items():
        if done.get(word) != count:
            raise TransferFailed(f"{count} {word} were sent and the machine counted {done.get(word)}. {arrived}.")


def _check_download(report: UnpackReport, counts: dict[str, Any], done: dict[str, Any], target: str) -> None:
    arrived = f"{report.files} files arrived in {printable(os.fsencode(target))}"
    if report.refused:
        names = _list(report.refused)
        raise TransferFailed(f"Not everything could be written: {names}. {arrived}.", **counts)
    unreadable = done.get("unreadable")
    if unreadable:
        pairs = (tuple(one)[:2] for one in unreadable if isinstance(one, (list, tuple)) and len(one) >= 2)
        names = _list((printable(str(name).encode()), str(why)) for name, why in pairs)
        raise TransferFailed(f"Not everything could be read in the machine: {names}. {arrived}.", **counts)
    for word in ("files", "links", "bytes"):
        expected = counts[word] + report.left_out[word]
        if word in done and done[word] != expected:
            raise TransferFailed(f"The machine sent {done[word]} {word} and {expected} arrived. {arrived}.", **counts)


def _list(pairs: Iterable[tuple[str, str]]) -> str:
    """`a (denied), b (denied), ...`: the first few."""
    shown = [f"{name} ({printable(why.encode())})" for name, why in pairs]
    return ", ".join(shown[:_NAMED]) + (", ..." if len(shown) > _NAMED else "")
