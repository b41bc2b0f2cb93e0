"""How the gateway's small pages look: their pictures, style and script, read once, known to their policy by digest."""

from __future__ import annotations

import base64
import hashlib
import urllib.parse
from importlib import resources

_LINE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7"'
    ' stroke-linecap="round" stroke-linejoin="round">{}</svg>'
)

ICONS = {
    "logo": (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect x="2" y="4" width="28" height="24" rx="6"'
        ' fill="#3f51b5"/><path d="M8 12l5 4-5 4M16 21h8" fill="none" stroke="#fff" stroke-width="2.6"'
        ' stroke-linecap="round" stroke-linejoin="round"/></svg>'
    ),
    "copy": _LINE.format('<rect x="9" y="9" width="11" height="11" rx="2"/><path d="M5 15V6a2 2 0 0 1 2-2h8"/>'),
    "starting": (
        '<svg class="ring" viewBox="0 0 48 48" fill="none" stroke-width="3.5" stroke-linecap="round">'
        '<circle class="track" cx="24" cy="24" r="19"/><path class="arc" d="M24 5a19 19 0 0 1 19 19"/></svg>'
    ),
    "nothing_listens": _LINE.format(
        '<path d="M9 3v5M15 3v5M6.5 8h11v3.5a5.5 5.5 0 0 1-11 0zM12 17v4"/>'
        '<circle class="pulse" cx="12" cy="12" r="1"/>'
    ),
    "signed_out": _LINE.format('<circle cx="8" cy="15" r="4"/><path d="M11 12l8.5-8.5M16 7l3 3M13.5 9.5l1.5 1.5"/>'),
    "gone": _LINE.format(
        '<path d="M4 9.5l8-4.5 8 4.5v6" stroke-dasharray="2.5 3"/>'
        '<path d="M4 9.5v6L12 20l8-4.5" stroke-dasharray="2.5 3"/>'
        '<path d="M4 9.5l8 4.5 8-4.5" stroke-dasharray="2.5 3"/>'
    ),
    "not_running": _LINE.format('<circle cx="12" cy="12" r="8.5"/><path d="M10 9v6M14 9v6"/>'),
    "refused": _LINE.format('<path d="M12 3l7 2.5v5.5c0 4.5-3 8-7 10-4-2-7-5.5-7-10V5.5zM9.5 9.5l5 5M14.5 9.5l-5 5"/>'),
    "app_failed": _LINE.format('<path d="M12 4l9 15.5H3zM12 10v4.5"/><path d="M12 17v.01"/>'),
}

_FILES = resources.files("cloudrouter.server.gateway") / "small"
STYLE = (_FILES / "page.css").read_text("utf-8")
SCRIPT = (_FILES / "page.js").read_text("utf-8")
FAVICON = "data:image/svg+xml," + urllib.parse.quote(ICONS["logo"])


def source_digest(text: str) -> str:
    """How a Content-Security-Policy names a style or script that stands in the page itself."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
