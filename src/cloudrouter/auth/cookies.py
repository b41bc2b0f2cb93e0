"""Cookies at the gateway: ours is found and kept from machines; theirs cannot reach beyond their own origin."""

from __future__ import annotations

from collections.abc import Iterable

from cloudrouter.wire.doors import COOKIE, SESSION_SECONDS

SECURE_COOKIE = f"__Host-{COOKIE}"
_OURS = frozenset({COOKIE.lower(), SECURE_COOKIE.lower()})


def cookie_name(*, tls: bool) -> str:
    """The name of the session's cookie; under TLS the prefix lets no sibling page set it."""
    return SECURE_COOKIE if tls else COOKIE


def session_secrets(headers: Iterable[str], *, tls: bool) -> list[str]:
    """Every value that these Cookie headers have for our name: more than one is somebody's attempt."""
    name = cookie_name(tls=tls)
    return [value for key, value in _pairs(headers) if key == name]


def without_ours(headers: Iterable[str]) -> str:
    """The Cookie header for the machine: all but ours."""
    parts = [part.strip() for header in headers for part in header.split(";")]
    return "; ".join(part for part in parts if part and not _is_ours(part))


def set_session(secret: str, *, tls: bool) -> str:
    """The Set-Cookie header that lets a browser in.

    Lax: a link from elsewhere opens the page for whoever has been let in; what else comes from elsewhere is refused
    by where it comes from. No Domain: this one host.
    """
    secure = "; Secure" if tls else ""
    lifetime = int(SESSION_SECONDS)
    return f"{cookie_name(tls=tls)}={secret}; Path=/; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}"


def tamed(header: str) -> str | None:
    """A machine's Set-Cookie as browsers may see it: without Domain; None when it speaks of our cookie."""
    first, *attributes = header.split(";")
    if _is_ours(first):
        return None
    kept = [part for part in attributes if part.partition("=")[0].strip(" \t").lower() != "domain"]
    return ";".join((first, *kept))


def _pairs(headers: Iterable[str]) -> Iterable[tuple[str, str]]:
    for header in headers:
        for part in header.split(";"):
            name, _, value = part.partition("=")
            yield name.strip(" \t"), value.strip(" \t")


def _is_ours(pair: str) -> bool:
    """Whether a pair is one of ours; a name that is empty would make a value look like a pair."""
    return pair.lstrip("= \t").partition("=")[0].strip(" \t").lower() in _OURS
