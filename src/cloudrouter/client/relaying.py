"""Copying between two machines through here, and asking what is at a path in one."""

from __future__ import annotations

import json
import os

from cloudrouter.client.tarstream import Incoming, Watch, send
from cloudrouter.client.transfer import look, name_pairs
from cloudrouter.trees.names import printable
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotFound, TransferFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cloudrouter.client.tarstream import Progress
    from cloudrouter.client.transport import Transport


def kind_of(transport: Transport, machine_id: str, remote: str) -> str | None:
    """`file` or `tree` for what is at a path in a machine, links followed; None when nothing is.

    Raises NotFound for a missing machine, and what keeps the machine's user from reading it.
    """
    found = _look(transport, machine_id, remote)
    return None if found is None else found[0]


def real_path(transport: Transport, machine_id: str, remote: str) -> str | None:
    """The path in a machine without links, as the machine tells it; None when nothing is there. Raises as kind_of."""
    found = _look(transport, machine_id, remote)
    return None if found is None else found[1]


def _look(transport: Transport, machine_id: str, remote: str) -> tuple[str, str] | None:
    with transport.stream(routes.machine(machine_id, "stream")) as stream:
        stream.send_text(json.dumps({"op": "get", "path": remote}))
        incoming = Incoming(stream)
        try:
            return incoming.started()[0], incoming.real
        except NotFound as error:
            if error.next:
                raise  # The router's word: there is no such machine. A machine's own errors come without advice.
            return None


def relay(
    transport: Transport,
    source: tuple[str, str],
    target: tuple[str, str],
    kind: str,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Copy a folder's contents (`tree`) or a file from one machine's path to another's, through here but not on disk.

    The machines' counts are held against each other; the result is as upload's.
    """
    watch = Watch("copying", progress)
    size = 0

    def passing(chunks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            size += len(chunk)
            yield chunk

    with transport.stream(routes.machine(source[0], "stream")) as giving:
        giving.send_text(json.dumps({"op": "get", "path": source[1]}))
        origin = Incoming(giving)
        if origin.started()[0] != kind:
            raise TransferFailed(
                f"{printable(os.fsencode(source[1]))} in {source[0]} became something else. Nothing was written.",
                fix="Try again.",
                next=look(*source),
            )
        with transport.stream(routes.machine(target[0], "stream")) as taking:
            taking.send_text(json.dumps({"op": "put", "path": target[1], "kind": kind}))
            done = send(taking, passing(origin.chunks()), lambda: watch.tell(0, size))
    counts = _compare_machines(origin.done, done, source[0], target[0])
    watch.tell(counts["files"], counts["bytes"], last=True)
    return {
        "path": target[1],
        "kind": kind,
        **counts,
        "changed": [printable(path.encode("utf-8", "replace")) for path in _texts(origin.done.get("changed"))],
        "skipped": [printable(path.encode("utf-8", "replace")) for path in _texts(origin.done.get("skipped"))],
    }


def _compare_machines(gave: dict[str, Any], took: dict[str, Any], source: str, target: str) -> dict[str, int]:
    """The counts on which both machines agree; TransferFailed when they do not."""
    counts = {word: took.get(word) for word in ("files", "dirs", "links", "bytes")}
    arrived = f"{counts['files']} of {gave.get('files')} files arrived in {target}"
    for word, who, doing in (("unreadable", source, "read"), ("refused", target, "write")):
        failed = gave.get(word) if who == source else took.get(word)
        if failed:
            names = name_pairs(failed)
            raise TransferFailed(
                f"{who} could not {doing} everything: {names}. {arrived}.",
                fix="Copy the others by themselves, or correct their permissions there.",
                next=f"cloudrouter ssh {who}",
            )
    for word in ("files", "links", "bytes"):
        if counts[word] != gave.get(word) or not isinstance(counts[word], int):
            raise TransferFailed(
                f"{source} sent {gave.get(word)} {word} and {target} counted {counts[word]}. {arrived}.",
                fix="Try again.",
                next=f"cloudrouter ssh {target}",
            )
    return {word: count if isinstance(count, int) else 0 for word, count in counts.items()}


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
