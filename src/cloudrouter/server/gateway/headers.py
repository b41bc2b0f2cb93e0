"""Which headers pass between browsers and machines, and how they change on the way. Pure; bytes in, bytes out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from aiohttp.typedefs import RawHeaders

from cloudrouter.auth import cookies
from cloudrouter.auth.hosts import Address, Place
from cloudrouter.wire.doors import TICKET_QUERY

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_SAID_BY_US = frozenset(
    {
        b"content-length",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)
"""Of requests: what the gateway says itself, or nobody."""
_KEPT_FROM_MACHINES = HOP_BY_HOP | _SAID_BY_US
_HARMFUL = frozenset({b"alt-svc", b"content-length", b"nel", b"report-to"})
"""Of answers: they bind a browser beyond one page, or have it tell others which addresses it asked for."""
_KEPT_FROM_BROWSERS = HOP_BY_HOP | _HARMFUL
_CHANGED = frozenset({b"set-cookie", b"clear-site-data", b"location"})
_CLEARABLE = (b'"cache"', b'"storage"', b'"executionContexts"')
"""What a page may have cleared: only its own. Cookies would go for every machine under the domain."""
_TICKET = TICKET_QUERY.encode()
_BREAK = re.compile(rb"[\r\n\0]")


@dataclass(frozen=True)
class Outside:
    """How a request reached the gateway."""

    address: Address
    place: Place
    host: str
    """The Host header as it came."""
    target: str
    """Path and query as they came, without a ticket."""

    @property
    def origin(self) -> str:
        """The request's own origin."""
        return f"{self.address.scheme}://{self.host.lower()}"

    @property
    def inner_host(self) -> str:
        """What the server inside is told: dev servers know localhost, and no domain of a team."""
        if self.address.is_local or self.place.port is None:
            return self.host
        return f"localhost:{self.place.target}"

    @property
    def inner_origin(self) -> str:
        """The origin that goes with it."""
        return self.origin if self.inner_host == self.host else f"http://{self.inner_host}"


def framing_fault(raw: RawHeaders) -> str:
    """Why two readers might see another body behind these headers than one; empty when that cannot be."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for name, value in raw:
        key = name.lower()
        if key == b"content-length":
            lengths.append(value)
        elif key == b"transfer-encoding":
            codings.append(value)
    if lengths and codings:
        return "it has a length and a transfer coding"
    if len(lengths) > 1 or (lengths and not lengths[0].isdigit()):
        return "its length is not clear"
    if codings and [coding.strip().lower() for coding in codings] != [b"chunked"]:
        return "its transfer coding is not chunked"
    return ""


def request_head(method: str, outside: Outside, raw: RawHeaders, *, upgrade: bool, chunked: bool) -> bytes:
    """A request as the machine gets it: without our cookie, and without what anybody made up."""
    lines = [f"{method} {outside.target} HTTP/1.1\r\nHost: {outside.inner_host}".encode()]
    named = _named_by_connection(raw)
    left = _KEPT_FROM_MACHINES | named if named else _KEPT_FROM_MACHINES
    jar: list[str] = []
    for name, value in raw:
        key = name.lower()
        # Some servers read `_` as `-`, so such a name might pass for one of ours.
        if key in left or (b"_" in key and key.replace(b"_", b"-") in left):
            if key == b"cookie":
                jar.append(value.decode("latin-1"))
            elif key == b"content-length":
                lines.append(name + b": " + value)
        elif key == b"origin" and value == outside.origin.encode():
            lines.append(name + b": " + outside.inner_origin.encode())
        elif key != b"referer" or _TICKET not in value:
            lines.append(name + b": " + value)
    kept = cookies.without_ours(jar) if jar else ""
    if kept:
        lines.append(b"Cookie: " + kept.encode("latin-1"))
    if upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket")
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    lines.append(f"X-Forwarded-Host: {outside.host}\r\nX-Forwarded-Proto: {outside.address.scheme}\r\n\r\n".encode())
    return b"\r\n".join(lines)


def answer_head(status: int, reason: str, outside: Outside, raw: RawHeaders, own: Iterable[bytes]) -> bytes:
    """An answer's head as the browser gets it; `own` are the lines that the gateway says itself."""
    lines = [f"HTTP/1.1 {status} {reason if reason.isascii() and reason.isprintable() else ''}".encode()]
    named = _named_by_connection(raw)
    left = _KEPT_FROM_BROWSERS | named if named else _KEPT_FROM_BROWSERS
    for name, value in raw:
        key = name.lower()
        if key in left:
            continue
        if key in _CHANGED:
            changed = _change(key, value, outside)
            if changed is not None:
                lines.append(name + b": " + changed)
        else:
            lines.append(name + b": " + value)
    return b"\r\n".join((*lines, *own, b"\r\n"))


def is_one_line(raw: RawHeaders) -> bool:
    """Whether no name or value holds what would end its line; a machine's answer is read leniently."""
    return _BREAK.search(b"".join(chain.from_iterable(raw))) is None


def _named_by_connection(raw: RawHeaders) -> frozenset[bytes]:
    words: list[bytes] = []
    for name, value in raw:
        if name.lower() == b"connection":
            words += [word.strip().lower() for word in value.split(b",")]
    # A browser may not have the gateway's own words taken away, nor a machine the name of what it must not say.
    return frozenset(word for word in words if word and word not in (b"keep-alive", b"close"))


def _change(key: bytes, value: bytes, outside: Outside) -> bytes | None:
    if key == b"set-cookie":
        tamed = cookies.tamed(value.decode("latin-1"))
        return None if tamed is None else tamed.encode("latin-1")
    if key == b"clear-site-data":
        return _own_only(value) or None
    return _outer_location(value, outside)


def _own_only(value: bytes) -> bytes:
    words = [word.strip() for word in value.split(b",")]
    if b'"*"' in words:
        return b", ".join(_CLEARABLE)
    return b", ".join(word for word in words if word in _CLEARABLE)


def _outer_location(value: bytes, outside: Outside) -> bytes:
    """Where the server was told that it is localhost, it leads there; the browser has to go on to us."""
    if outside.inner_host == outside.host:
        return value
    scheme, colon, rest = value.partition(b"://")
    authority = rest.partition(b"/")[0].partition(b"?")[0].partition(b"#")[0]
    if colon and scheme.lower() in (b"http", b"https") and authority.lower() == outside.inner_host.encode():
        return outside.origin.encode() + rest[len(authority) :]
    return value
