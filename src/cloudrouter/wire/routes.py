"""The paths of the router's API, spelled once for client and server."""

from __future__ import annotations

SERVER = "/v1/server"
SERVER_STOP = "/v1/server/stop"
DOCTOR = "/v1/doctor"
MACHINES = "/v1/machines"
IMAGES = "/v1/images"
IMAGE_BUILD = "/v1/images/build"
EVENTS = "/v1/events"

VERSION_HEADER = "x-cloudrouter-version"
IDEMPOTENCY_HEADER = "idempotency-key"


def machine(ref: str, *rest: str) -> str:
    """`/v1/machines/{ref}/...`; the reference is percent-encoded as far as its grammar could need it."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else _escape(c) for c in ref)
    return "/".join((MACHINES, safe, *rest))


def image(name: str) -> str:
    """`/v1/images/{name}`."""
    return f"{IMAGES}/" + "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else _escape(c) for c in name)


def _escape(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
