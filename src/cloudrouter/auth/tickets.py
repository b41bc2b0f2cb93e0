"""One-time tickets: in memory only, good once and for a minute, for one place."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import unquote_plus

from cloudrouter.auth.hosts import Place
from cloudrouter.wire.doors import TICKET_QUERY, TICKET_SECONDS

KEPT_PER_MACHINE = 256
"""Tickets of one machine that may wait at once; the oldest give way."""


@dataclass(frozen=True)
class Grant:
    """What a ticket, and the session that it becomes, lets a person see."""

    place: Place
    view: str
    """`http` or `rfb`, as wire.apps has them; a port is `http`."""
    view_only: bool = False


def digest(secret: str) -> str:
    """What is kept of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_secret() -> str:
    """256 random bits, safe in addresses and cookies."""
    return secrets.token_urlsafe(32)


class Tickets:
    """The tickets that were given out and not used yet; found by digest, so comparing them tells nothing."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Grant, float]] = {}

    def mint(self, grant: Grant, now: float) -> tuple[str, float]:
        """A new ticket, and when it ends (seconds since the epoch)."""
        self._sweep(now)
        same = [key for key, (one, _) in self._waiting.items() if one.place.machine_id == grant.place.machine_id]
        for key in same[: max(0, len(same) + 1 - KEPT_PER_MACHINE)]:
            del self._waiting[key]
        ticket, expires = new_secret(), now + TICKET_SECONDS
        self._waiting[digest(ticket)] = (grant, expires)
        return ticket, expires

    def redeem(self, ticket: str, place: Place, now: float) -> Grant | None:
        """What the ticket grants at this place; with that it is used up. At another place it is worth nothing."""
        key = digest(ticket)
        grant, expires = self._waiting.get(key, (None, 0.0))
        if grant is None or grant.place != place:
            return None
        del self._waiting[key]
        return grant if now < expires else None

    def revoke(self, machine_id: str) -> int:
        """Throw away the tickets of a machine; how many there were."""
        mine = [key for key, (grant, _) in self._waiting.items() if grant.place.machine_id == machine_id]
        for key in mine:
            del self._waiting[key]
        return len(mine)

    def _sweep(self, now: float) -> None:
        for key in [key for key, (_, expires) in self._waiting.items() if expires <= now]:
            del self._waiting[key]


def take_ticket(target: str) -> tuple[str | None, str]:
    """A request target's first ticket, and the target without any; the rest stays as it was written."""
    path, mark, query = target.partition("?")
    if not mark:
        return None, target
    parts = query.split("&")
    found = [part for part in parts if _is_ticket(part)]
    if not found:
        return None, target
    rest = "&".join(part for part in parts if not _is_ticket(part))
    return unquote_plus(found[0].partition("=")[2]), f"{path}?{rest}" if rest else path


def _is_ticket(part: str) -> bool:
    return unquote_plus(part.partition("=")[0]) == TICKET_QUERY
