"""Reads or writes files as the machine's user, in a process of its own, so that rights and links are the user's.

Tar bytes come on stdin (put) or go to stdout (get); what happened goes as JSON lines to stderr.
"""

from __future__ import annotations

import json
import os
import sys

from cloudrouter.trees.names import printable
from cloudrouter.trees.pack import PackReport, pack, pack_file
from cloudrouter.trees.unpack import ANY, unpack, unpack_file
from cloudrouter.wire.errors import CloudRouterError, Internal, NotFound, TransferFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from cloudrouter.trees.unpack import UnpackReport

NAMED_BYTES = 200_000
"""So many bytes of names a report may hold: it must fit into one message."""


def main() -> None:
    """`main` of the child: argv holds the library's folder, `put` or `get`, `tree` or `file` (put), and the path."""
    verb, kind, path = sys.argv[2], sys.argv[3], os.fsencode(sys.argv[4])
    try:
        if verb == "put":
            _say("done", put(kind, path))
        else:
            get(path)
    except BrokenPipeError:
        sys.exit(1)  # nobody reads any more
    except CloudRouterError as error:
        _say("error", error.to_json())
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        _say("error", TransferFailed(f"{printable(path)}: {reason}.").to_json())
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side must hear of it
        _say("error", Internal(f"The transfer broke: {type(error).__name__}.").to_json())


def put(kind: str, path: bytes) -> dict[str, Any]:
    """Unpack stdin below path, or as path; returns the counts."""
    if kind == "tree":
        report = unpack(_read, path, policy=ANY)
    elif os.path.isdir(path) or path.endswith(b"/"):
        report = unpack(_read, path, policy=ANY)
        if report.files != 1 or report.refused:
            why = report.refused[0][1] if report.refused else "the stream does not hold exactly one file"
            raise TransferFailed(f"The file was not written into {printable(path)}: {why}.")
    else:
        report = unpack_file(_read, path)
    return _unpack_body(report)


def get(path: bytes) -> None:
    """Pack path to stdout, with `started` before and `done` after it."""
    report = PackReport()
    if os.path.isdir(path):
        kind, chunks = "tree", pack(path, report=report)
    elif os.path.lexists(path):
        kind, chunks = "file", pack_file(path, os.path.basename(path), report=report)
    else:
        raise NotFound(f"There is no file or folder {printable(path)} in the machine.", fix="Check the path.")
    started = False
    for chunk in chunks:
        if not started:  # the first piece proves that it can be read
            started = True
            name, real = os.path.basename(path.rstrip(b"/")), os.path.realpath(path)
            _say("started", {"kind": kind, "name": os.fsdecode(name), "real": os.fsdecode(real)})
        _write(chunk)
    _say("done", _pack_body(report))


def _unpack_body(report: UnpackReport) -> dict[str, Any]:
    return {
        "files": report.files,
        "dirs": report.dirs,
        "links": report.links,
        "bytes": report.bytes,
        "refused": _bounded([name, why] for name, why in report.refused),
        "refused_count": report.refused_count,
    }


def _pack_body(report: PackReport) -> dict[str, Any]:
    return {
        "files": report.files,
        "dirs": report.dirs,
        "links": report.links,
        "bytes": report.bytes,
        "unreadable": _bounded([printable(name), why] for name, why in report.unreadable),
        "changed": _bounded(printable(name) for name in report.changed),
        "skipped": _bounded(printable(name) for name in report.skipped_special),
    }


def _bounded(items: Iterable[Any]) -> list[Any]:
    """As many of the first items as a message can hold."""
    found, room = [], NAMED_BYTES
    for item in items:
        room -= len(json.dumps(item))
        if room < 0:
            break
        found.append(item)
    return found


def _say(word: str, body: dict[str, Any]) -> None:
    line = memoryview(json.dumps({word: body}).encode() + b"\n")
    while line:
        line = line[os.write(2, line) :]


def _read(limit: int) -> bytes:
    return os.read(0, limit)


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]
