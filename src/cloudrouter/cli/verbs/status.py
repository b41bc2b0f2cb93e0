"""`status`: what a person wants to know of machines."""

from __future__ import annotations

import sys

from cloudrouter.cli import batch, output
from cloudrouter.cli.connection import connect_own_version, connect_router
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `status`."""
    batch.add_words(parser, asks=False)
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Print each machine."""
    # A router of before would take no notice of a label, and show what nobody asked for.
    batch.check_words(args, "status")
    transport = connect_own_version() if args.label else connect_router()

    def look(ref: str) -> dict[str, Any]:
        machine: dict[str, Any] = transport.call("GET", routes.machine(ref))
        failure = _failed_start(machine)
        return {**machine, "reason": failure} if failure else machine

    refs = batch.choose(args, transport, verb="status", states=()) or []
    return batch.run_each(args, look, refs, line=_text)


def _failed_start(machine: dict[str, Any]) -> str:
    """Why the background start of this machine failed, if it did; the router itself does not know."""
    if machine["state"] == "running":
        return ""
    from cloudrouter.cli.background import failure_of

    return failure_of(machine["id"])


def _text(machine: dict[str, Any]) -> str:
    from cloudrouter.cli.machines import limits_text, machine_line, size_text
    from cloudrouter.cli.times import age, clock_time, left
    from cloudrouter.cli.volumes import mount_text

    reason = machine["reason"]
    size = limits_text(machine) if machine["size"] == "custom" else f"{size_text(machine)} ({limits_text(machine)})"
    rows = [
        ("reason", output.escape(reason)) if reason else None,
        ("size", output.escape(size)),
        ("disk", "limited" if machine["disk_enforced"] else "shared with the host, no limit"),
        ("image", output.escape(machine["image"])),
        ("apps", output.escape(", ".join(machine["apps"]))) if machine.get("apps") else None,
        ("provider", output.escape(machine["provider"])),
        ("workspace", output.escape(machine["workspace"])) if machine["workspace"] else None,
        ("packages", "through this host's cache" if machine.get("package_cache") else "straight from the registries"),
        *(("volume", mount_text(mount)) for mount in machine.get("mounts", ())),
        ("made", f"{clock_time(machine['created_at'])} ({age(machine['created_at'])} ago)"),
        ("boot", f"{machine['ready_ms'] / 1000:.2f} s") if machine["ready_ms"] is not None else None,
        ("deadline", _deadline(clock_time(machine["expires_at"]), left(machine["expires_at"]))),
        *((f"url {output.escape(app)}", output.escape(url)) for app, url in machine["urls"].items()),
        *(("label", f"{output.escape(key)}={output.escape(value)}") for key, value in machine["labels"].items()),
    ]
    pairs = output.pairs([row for row in rows if row], stream=sys.stdout)
    return "\n".join([machine_line(machine), *pairs])


def _deadline(at: str, remaining: str) -> str:
    if remaining == "-":
        return "none"
    return f"{at} (over)" if remaining == "over" else f"{at} ({remaining} left)"


VERBS = {
    "status": Verb(
        "[flags] ID...",
        description="Show machines: their state and why, size, image, apps, volumes, deadline and labels.",
        examples=(
            ("cloudrouter status my-project", "by name"),
            ("cloudrouter status cr_7k2m9xqd --json", "by id, for programs"),
            ("cloudrouter status --all --label agent=me", "all of yours"),
        ),
        configure=configure,
        run=run,
    )
}
