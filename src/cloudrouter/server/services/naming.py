"""Names of machines: what can be one, which is taken, which a folder suggests."""

from __future__ import annotations

from collections.abc import Sequence

from cloudrouter.server.services.finding import shown
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import ids
from cloudrouter.wire.errors import Conflict, InvalidSpec


def check_name(rows: Sequence[Row], name: str, *, own_id: str = "") -> None:
    """Raise unless the machine `own_id`, or a new one, may have this name: InvalidSpec, or Conflict for a taken one."""
    fault = ids.name_fault(name)
    if fault:
        raise InvalidSpec(
            f"{shown(name)} cannot be a name: {fault}.",
            fix="A name looks like web-2: a-z first, then a-z, 0-9 and -, 31 characters at most.",
            field="name",
        )
    holder = next((row.id for row in rows if row.name == name and row.id != own_id), None)
    if holder is not None:
        raise Conflict(
            f"The name {name!r} is taken by {holder}.",
            fix="Choose another name, or delete that machine.",
            next=f"cloudrouter status {name}",
        )


def suggest_name(rows: Sequence[Row], folder: str) -> str:
    """A free name made from a folder's name, numbered where it is taken; empty when nothing can be made of it."""
    taken = {row.name for row in rows}
    base_name = ids.name_from_folder(folder)
    if not base_name or base_name not in taken:
        return base_name
    numbered = (f"{base_name[: ids.NAME_LIMIT - 4]}-{number}" for number in range(2, 1000))
    return next((name for name in numbered if name not in taken), "")
