"""Machines as people see them, and doing the same to several of them."""

from __future__ import annotations

import sys

from cloudrouter.cli.output import escape, flush, paint_state, say, say_json, show_error
from cloudrouter.wire.sizes import format_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cloudrouter.wire.errors import CloudRouterError


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


def for_each(
    refs: Sequence[str], act: Callable[[str], dict[str, Any]], *, as_json: bool, told: Callable[[dict[str, Any]], str]
) -> int:
    """Do something to each machine; the failure of one does not keep it from the others.

    Prints a line for each, or `{"machines": [...], "errors": [...]}`. The first failure decides the exit status.
    """
    from cloudrouter.wire.errors import CloudRouterError

    machines, errors = [], []
    for ref in dict.fromkeys(refs):
        try:
            machine = act(ref)
        except CloudRouterError as error:
            errors.append((ref, error))
            show_error(error)
        else:
            machines.append(machine)
            if not as_json:
                say(told(machine))
                flush()
    if as_json:
        say_json({"machines": machines, "errors": [_error_json(ref, error) for ref, error in errors]})
    return errors[0][1].exit_code if errors else 0


def _error_json(ref: str, error: CloudRouterError) -> dict[str, Any]:
    return {"ref": ref, **error.to_json()}
