"""Opening a machine to a person's browser: what is asked for, and the address with its one-time ticket."""

from __future__ import annotations

from dataclasses import dataclass

TICKET_QUERY = "cloudrouter-ticket"
"""The key that a ticket has in an address; the gateway takes it away with a redirect."""
COOKIE = "cloudrouter-session"
"""The gateway's cookie; under TLS it has the prefix `__Host-`."""
TICKET_SECONDS = 60.0
SESSION_SECONDS = 12 * 3600.0


@dataclass(frozen=True)
class OpenDoor:
    """Body of `POST /v1/machines/{ref}/open`."""

    target: str
    """An app's name, or a port as digits."""
    path: str = "/"
    """Where to go behind the door; begins with a slash and may have a query and a fragment."""
    view_only: bool = False
    """Of a desktop: whoever comes in sees it and cannot type."""


@dataclass(frozen=True)
class Door:
    """An address to open once, within a minute."""

    target: str
    url: str
    """With the ticket."""
    lasting_url: str
    """Without it: where who has been let in finds the page again."""
    expires_at: str
    """Of the ticket; RFC 3339 UTC."""
