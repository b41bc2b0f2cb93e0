"""Machines as people see them."""

from __future__ import annotations

import sys

from cloudrouter.cli.output import escape, paint_state
from cloudrouter.wire.sizes import format_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def size_text(machine: dict[str, Any]) -> str:
    """`small`, or `2 cpu, 3 GiB` where the size has no name."""
    size = str(machine.get("size") or "custom")
    return limits_text(machine) if size == "custom" else size


def limits_text(machine: dict[str, Any]) -> str:
    """`2 cpu, 8 GiB`."""
    return f"{machine.get('cpu') or 0:g} cpu, {format_bytes(machine.get('memory_bytes') or 0)}"


def machine_line(machine: dict[str, Any], *more: str) -> str:
    """`cr_7k2m9xqd  my-project  stopped`: one machine on one line, in colours where stdout is a terminal."""
    parts = [escape(machine["id"]), escape(machine.get("name") or ""), paint_state(machine["state"], sys.stdout)]
    return "  ".join(part for part in (*parts, *more) if part)
