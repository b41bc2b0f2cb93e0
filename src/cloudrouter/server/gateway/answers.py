"""What the gateway says itself: pages for people, a line or JSON for programs, and the way in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from cloudrouter.server.gateway import pages

STATUS = {
    "signed_out": 401,
    "refused": 403,
    "gone": 410,
    "not_running": 503,
    "starting": 503,
    "nothing_listens": 502,
    "app_failed": 502,
}
RETRY_AFTER_S = 1
_COMMON = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "CloudRouter",
    "Vary": "Accept, Cookie, Sec-Fetch-Site, Sec-Fetch-Mode, Origin",
}
_BARE = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@dataclass(eq=False)
class Trouble(Exception):
    """Why a request is not answered by a machine: a kind of page, and what it needs to know."""

    kind: str
    machine: str = ""
    target: str = ""
    name: str = ""
    """The machine's own, where whoever looks may know it."""
    detail: str = ""
    command: str = ""
    closes: bool = False
    """Whether the connection cannot be used any more."""


def tell(request: web.BaseRequest, trouble: Trouble) -> web.Response:
    """The trouble as a page for a browser's window, else as a line of text or as JSON."""
    status = STATUS[trouble.kind]
    headers: CIMultiDict[str] = CIMultiDict(_COMMON)
    if status == 401:
        headers["WWW-Authenticate"] = "CloudRouter-Ticket"
    if trouble.kind in ("starting", "nothing_listens"):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if wants_page(request):
        body = pages.render(
            trouble.kind,
            machine=trouble.machine,
            target=trouble.target,
            title=trouble.name,
            detail=trouble.detail,
            command=trouble.command,
        )
        headers["Content-Type"] = "text/html; charset=utf-8"
        headers["Content-Security-Policy"] = pages.POLICY
    else:
        body = _plain(request, trouble, headers)
        headers["Content-Security-Policy"] = _BARE
    answer = web.Response(status=status, body=body, headers=headers)
    if trouble.closes:
        answer.force_close()
    return answer


def wants_page(request: web.BaseRequest) -> bool:
    """Whether a person's window will show what comes."""
    shown = request.headers.get("Sec-Fetch-Dest", "document") in ("document", "iframe", "frame", "embed", "object")
    return shown and "text/html" in request.headers.get("Accept", "")


def let_in(location: str, cookie: str | None) -> web.Response:
    """The redirect by which a ticket disappears from the address, with the cookie that takes its place."""
    headers: CIMultiDict[str] = CIMultiDict(_COMMON)
    headers["Content-Security-Policy"] = _BARE
    headers["Location"] = location
    if cookie is not None:
        headers["Set-Cookie"] = cookie
    return web.Response(status=303, headers=headers)


def bad_request(reason: str) -> web.Response:
    """What cannot be understood in one way only; the connection ends, for nobody knows what follows in it."""
    answer = web.Response(status=400, text=f"The request cannot be answered: {reason}.\n", headers=_COMMON)
    answer.force_close()
    return answer


def not_found(reason: str) -> web.Response:
    """There is nothing at this address of the gateway's own."""
    return web.Response(status=404, text=f"{reason}\n", headers=_COMMON)


def data(value: Any) -> web.Response:
    """Something for a program to read, as JSON."""
    body = json.dumps(value).encode()
    return web.Response(body=body, headers={**_COMMON, "Content-Type": "application/json", "X-Robots-Tag": "none"})


def _plain(request: web.BaseRequest, trouble: Trouble, headers: CIMultiDict[str]) -> bytes:
    message = trouble.detail or _SENTENCES[trouble.kind]
    if "json" in request.headers.get("Accept", ""):
        headers["Content-Type"] = "application/json"
        error = {"code": trouble.kind, "message": message, "next": trouble.command}
        return json.dumps({"error": error}).encode() + b"\n"
    headers["Content-Type"] = "text/plain; charset=utf-8"
    lines = [message] + ([f"Next: {trouble.command}"] if trouble.command else [])
    return "\n".join([*lines, ""]).encode("utf-8", "replace")


_SENTENCES = {
    "signed_out": "You are not signed in here, or the link was used already or is too old.",
    "refused": "This request came from another page than the machine's own, so it was refused.",
    "gone": "This machine is gone.",
    "not_running": "This machine is not running.",
    "starting": "It is starting; ask again in a moment.",
    "nothing_listens": "Nothing listens there yet.",
    "app_failed": "The app does not work.",
}
