"""Debugging addresses, `/cdp/<key>/...`: who may use them, and what of them leads to a browser. Pure.

Programs have no cookies, so the key is in the address. A web page must never use one, whoever told it: so a request
that a browser's page could have made is refused, and so is a name that a foreign page may have made mean this host.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cloudrouter.auth.hosts import Address, Place
from cloudrouter.wire.browserapi import CDP_PATH
from cloudrouter.wire.browsing import APP

KEY_LETTERS = 64
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_KINDS = ("browser", "page")
VERSION = "/json/version"
LISTS = ("/json", "/json/list")


@dataclass(frozen=True)
class Debugging:
    """A request to a debugging address."""

    key: str
    path: str
    """What stands behind the key, without a slash at its end: `/json/version`, `/devtools/browser/...`, or empty."""
    machine_id: str | None
    """The machine that its host names; None where the host is this one itself."""

    def fits(self, place: Place) -> bool:
        """Whether its host is where that browser is."""
        return self.machine_id in (None, place.machine_id)


def read(address: Address, host: str, target: str) -> Debugging | None:
    """What a request's Host and target ask for; None when it is no debugging address."""
    if not target.startswith(CDP_PATH):
        return None
    machine_id = None
    if address.is_local:
        if host.lower() not in _own_names(address.port):
            return None
    else:
        place = address.read(host)
        if place is None or place.target != APP:
            return None
        machine_id = place.machine_id
    key, _, rest = target.partition("?")[0][len(CDP_PATH) :].partition("/")
    rest = rest.rstrip("/")
    return Debugging(key if is_word(key) else "", f"/{rest}" if rest else "", machine_id)


def is_of_a_page(names: Iterable[str]) -> bool:
    """Whether a browser's page, or a person's window, made the request with these headers."""
    return any(name.lower() == "origin" or name.lower().startswith("sec-fetch-") for name in names)


def is_socket(path: str) -> bool:
    """Whether a WebSocket of the browser, or of one of its pages, may be there."""
    words = path.split("/")
    return len(words) == 4 and words[:2] == ["", "devtools"] and words[2] in _KINDS and is_word(words[3])


def is_word(text: str) -> bool:
    """Whether this may be a key, or the id of a page: nothing that means something in an address."""
    return 0 < len(text) <= KEY_LETTERS and _WORD.issuperset(text)


def socket_path(url: object) -> str | None:
    """The path in an address that a browser gives for itself or a page; None when it is not of that kind."""
    if not isinstance(url, str):
        return None
    scheme, _, rest = url.partition("://")
    path = f"/{rest.partition('/')[2]}"
    return path if scheme == "ws" and is_socket(path) else None


def base(address: Address, machine_id: str, key: str, *, socket: bool, host: str = "") -> str:
    """`ws://127.0.0.1:7080/cdp/<key>`, or with http; `host` as a request had it, else the one we tell."""
    scheme = ("ws" if socket else "http") + ("s" if address.tls else "")
    if not host:
        named = address.origin(Place(machine_id, APP)).partition("://")[2]
        host = f"127.0.0.1:{address.port}" if address.is_local else named
    return f"{scheme}://{host}{CDP_PATH}{key}"


def _own_names(port: int) -> tuple[str, ...]:
    return tuple(f"{name}:{port}" for name in LOOPBACK_NAMES) + (LOOPBACK_NAMES if port == 80 else ())
