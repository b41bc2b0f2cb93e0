"""The page that shows a machine's desktop, and what it loads and asks for below its own origin."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Protocol

from aiohttp import web

from cloudrouter.server.gateway import pages
from cloudrouter.server.gateway.desktop import assets
from cloudrouter.server.gateway.desktop.assets import Asset, Assets
from cloudrouter.server.gateway.desktop.bridge import Viewing
from cloudrouter.server.gateway.pagestyle import FAVICON, source_digest

FOLDER = "/_cloudrouter/"
STATE = FOLDER + "state"
FETCH_COMMAND = "scripts/vendor.py"
_FOR_EVER = "private, max-age=31536000, immutable"
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")

_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_PERMISSIONS = (
    "clipboard-read=(self), clipboard-write=(self), fullscreen=(self), keyboard-map=(self), camera=(), microphone=(),"
    " geolocation=(), payment=(), usb=(), serial=(), hid=(), midi=(), display-capture=()"
)


class Seen(Protocol):
    """What the page tells of a machine."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """What its owner calls it."""

    @property
    def state(self) -> str:
        """One of wire.states."""


async def serve(request: web.BaseRequest, session: Viewing, row: Seen) -> web.StreamResponse:
    """The page at `/`, its state as JSON, its files; 404 for anything else, 405 for what does not read."""
    if request.method not in ("GET", "HEAD"):
        return _plain(405, "This page is for looking.\n", {"Allow": "GET, HEAD"})
    if request.path == STATE:
        return _state(session, row)
    try:
        # Reading and packing all files takes some 50 ms, once.
        found = await asyncio.to_thread(assets.load)
    except LookupError:
        return _incomplete(request, row)
    if request.path == "/":
        return _page(request, session, row, found)
    name = request.path.removeprefix(f"{FOLDER}{found.digest}/")
    asset = found.files.get(name) if name != request.path else None
    if asset is None:
        return _plain(404, "There is nothing here; the desktop is at /.\n")
    return _file(request, asset)


def _page(request: web.BaseRequest, session: Viewing, row: Seen, found: Assets) -> web.Response:
    base = f"{FOLDER}{found.digest}/"
    values = {
        "name": html.escape(row.name or row.id),
        "machine": html.escape(row.id),
        "state": html.escape(row.state),
        "view_only": "true" if session.view_only else "false",
        "base": base,
        "boot": found.boot,
        "icon": FAVICON,
        "preloads": "\n".join(f'<link rel="modulepreload" href="{base}{path}">' for path in found.modules),
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], found.page)
    headers = {
        **_COMMON,
        "Cache-Control": "no-store",
        "Content-Security-Policy": _policy(request, found),
        "Permissions-Policy": _PERMISSIONS,
    }
    return web.Response(text=text, content_type="text/html", charset="utf-8", headers=headers)


def _policy(request: web.BaseRequest, found: Assets) -> str:
    """Only the page's own files and its own WebSocket; older browsers do not count that as 'self'."""
    host = request.headers.get("Host", "")
    socket = f" {'wss' if request.secure else 'ws'}://{host}" if _HOST.fullmatch(host) else ""
    return (
        f"default-src 'none'; script-src 'self' {source_digest(found.boot)}; style-src 'self';"
        " img-src 'self' data: blob:;"
        f" connect-src 'self'{socket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _state(session: Viewing, row: Seen) -> web.Response:
    body = {"machine": row.id, "name": row.name, "state": row.state, "view_only": session.view_only}
    return web.json_response(body, headers={**_COMMON, "Cache-Control": "no-store"})


def _file(request: web.BaseRequest, asset: Asset) -> web.Response:
    headers = {**_COMMON, "Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding", "Content-Type": asset.content_type}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=asset.zipped, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=asset.body, headers=headers)


def _incomplete(request: web.BaseRequest, row: Seen) -> web.Response:
    """A checkout whose noVNC was never fetched."""
    missing = "The desktop page needs noVNC, and this installation lacks it."
    if "text/html" not in request.headers.get("Accept", "text/html"):
        error = {"code": "app_failed", "message": missing, "next": FETCH_COMMAND}
        return web.json_response({"error": error}, status=503, headers={**_COMMON, "Cache-Control": "no-store"})
    body = pages.render(
        "app_failed",
        machine=row.id,
        target="desktop",
        title=row.name,
        detail=f"{missing} It is fetched from npm, in the checkout that the router runs from.",
        command=FETCH_COMMAND,
    )
    headers = {**_COMMON, "Cache-Control": "no-store", "Content-Security-Policy": pages.POLICY}
    return web.Response(status=503, body=body, content_type="text/html", charset="utf-8", headers=headers)


def _plain(status: int, text: str, extra: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text, headers={**_COMMON, "Cache-Control": "no-store", **(extra or {})})
