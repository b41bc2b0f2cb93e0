"""The paths of the router's API, spelled once for client and server."""

from __future__ import annotations

from cloudrouter.wire.errors import UsageError

SERVER = "/v1/server"
SERVER_STOP = "/v1/server/stop"
DOCTOR = "/v1/doctor"
MACHINES = "/v1/machines"
IMAGES = "/v1/images"
IMAGE_BUILD = "/v1/images/build"
EVENTS = "/v1/events"
EVENTS_FOLLOW = "/v1/events/follow"
STATS = "/v1/stats"
VOLUMES = "/v1/volumes"
PACKAGE_CACHE = "/v1/package-cache"

VERSION_HEADER = "x-cloudrouter-version"
IDEMPOTENCY_HEADER = "idempotency-key"


def machine(ref: str, *rest: str) -> str:
    """`/v1/machines/{ref}/...`; UsageError for a reference that can be none: empty, or a path."""
    if not ref or "/" in ref or "\0" in ref:
        raise UsageError(
            f"{ref[:60]!r} is not a machine." if ref else "The machine's id is empty.",
            fix="Give an id such as cr_7k2m9xqd or a name; an empty one may come from a start that failed.",
            next="cloudrouter ls",
        )
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else _escape(c) for c in ref)
    return "/".join((MACHINES, safe, *rest))


def image(name: str) -> str:
    """`/v1/images/{name}`."""
    return f"{IMAGES}/" + "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else _escape(c) for c in name)


def _escape(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
