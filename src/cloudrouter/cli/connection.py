"""The CLI's door to the router; the one place that decides whether its version must be ours."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.client.transport import Transport


def connect_router() -> Transport:
    """The way to this user's router, which is started when none runs; for verbs that look or run a command."""
    from cloudrouter.client import router

    return router.connect()


def connect_own_version() -> Transport:
    """As connect_router, and an older router is replaced first; for verbs that change something."""
    from cloudrouter.client import router

    return router.ensure_version(router.connect())


def find_router() -> Transport | None:
    """The way to a router that runs already, or None; nothing is started."""
    from cloudrouter.client import router
    from cloudrouter.client.transport import NotListening

    try:
        return router.connect(start=False)
    except NotListening:
        return None
