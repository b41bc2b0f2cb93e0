"""Volumes as people see them: where one stands in a machine, which one is new, which a machine leaves behind."""

from __future__ import annotations

from cloudrouter.cli.output import escape, note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cloudrouter.client.transport import Transport


def mount_text(mount: Mapping[str, Any]) -> str:
    """`npm-cache at /home/user/.npm, only read`."""
    return f"{escape(mount['volume'])} at {escape(mount['path'])}" + (", only read" if mount["read_only"] else "")


def tell_new_volumes(transport: Transport, machine: Mapping[str, Any]) -> None:
    """On stderr: which volumes of a machine are new and where they stand, so that a misspelt name is noticed."""
    from cloudrouter.wire import routes
    from cloudrouter.wire.errors import CloudRouterError

    try:
        listed = transport.call("GET", f"{routes.VOLUMES}?provider={machine['provider']}")["volumes"]
    except CloudRouterError:
        listed = []  # the machine is there; whether its volumes are new is not worth a failure
    new = {one["name"] for one in listed if (one["created_at"] or "") >= machine["created_at"]}
    for mount in machine["mounts"]:
        if mount["volume"] in new:
            note(f"new volume {mount_text(mount)}")


def tell_kept(machines: Iterable[Mapping[str, Any]]) -> None:
    """On stderr, after machines were deleted: their volumes are still there."""
    names = dict.fromkeys(str(mount["volume"]) for machine in machines for mount in machine.get("mounts", ()))
    if names:
        word = "volume stays" if len(names) == 1 else "volumes stay"
        shown = " ".join(escape(name) for name in names)
        note(f"The {word}: {', '.join(escape(name) for name in names)}. Remove with: cloudrouter volume rm {shown}")
