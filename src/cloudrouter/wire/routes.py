"""The paths of the router's API, spelled once for client and server."""

from __future__ import annotations

from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.ids import name_fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SERVER = "/v1/server"
SERVER_STOP = "/v1/server/stop"
DOCTOR = "/v1/doctor"
MACHINES = "/v1/machines"
IMAGES = "/v1/images"
IMAGE_BUILD = "/v1/images/build"
IMAGE_BUILD_FOLDER = "/v1/images/build-folder"
IMAGE_APP = "/v1/images/app"
IMAGE_PRUNE = "/v1/images/prune"
EVENTS = "/v1/events"
EVENTS_FOLLOW = "/v1/events/follow"
STATS = "/v1/stats"
STATS_FOLLOW = "/v1/stats/follow"
UNINSTALL = "/v1/uninstall"
VOLUMES = "/v1/volumes"
PACKAGE_CACHE = "/v1/package-cache"
SSH_AUTHORITY = "/v1/ssh/authority"

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


def browser(ref: str, *rest: str) -> str:
    """`/v1/machines/{ref}/browser/...`: a step; `batch`: many; `cdp`: an address for programs."""
    return machine(ref, "browser", *rest)


def image(name: str) -> str:
    """`/v1/images/{name}`."""
    return f"{IMAGES}/" + "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else _escape(c) for c in name)


def volume(name: str) -> str:
    """`/v1/volumes/{name}`; UsageError for a name that can be none."""
    fault = name_fault(name)
    if fault:
        raise UsageError(f"{name[:40]!r} is not a volume's name: {fault}.", next="cloudrouter volume ls")
    return f"{VOLUMES}/{name}"


def query(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """The path with these words as its query; a key may come several times."""
    words = [f"{_safe(key)}={_safe(value)}" for key, value in pairs]
    return f"{path}?{'&'.join(words)}" if words else path


def _safe(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else _escape(c) for c in text)


def _escape(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
