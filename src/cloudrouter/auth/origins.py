"""Where a request comes from: what browsers say of the page that made it, and what that page may do.

SameSite does not part the machines under one domain, nor does it part ports of localhost; these headers do, and no
page can set them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OWN = ("same-origin", "none")
"""Sec-Fetch-Site of a page's own requests, and of what a person asked for directly."""
_EARLY = ("prefetch", "prerender", "preview")


@dataclass(frozen=True)
class Asked:
    """What of a request tells where it comes from; headers by their names in small letters, each with all values."""

    method: str
    headers: Mapping[str, Sequence[str]]

    def one(self, name: str) -> str:
        """The header's only value; empty when there is none. Several are as good as a wrong one."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else ",".join(values)

    @property
    def is_navigation(self) -> bool:
        """Whether a person's window goes to this address: a GET for the whole window, asked for now."""
        return (
            self.method == "GET"
            and self.one("sec-fetch-mode") == "navigate"
            and self.one("sec-fetch-dest") == "document"
            and not self.headers.get("upgrade")
            and not self.is_early
        )

    @property
    def is_early(self) -> bool:
        """Whether the browser only guesses that a person will want this (prefetch, prerender, preview)."""
        words = [self.one(name).lower() for name in ("sec-purpose", "purpose", "x-purpose", "x-moz")]
        return any(early in word for word in words for early in _EARLY)

    @property
    def is_silent(self) -> bool:
        """Whether it does not say where it comes from, as programs do not."""
        return not self.headers.get("sec-fetch-site") and not self.headers.get("origin")

    def is_from(self, own: str) -> bool:
        """Whether the request comes from the origin's own pages or from the person.

        A navigation of the whole window may come from anywhere: that is what links are. A request that says nothing
        about where it comes from is not from a browser, or from one that is too old to be safe.
        """
        site, origins = self.one("sec-fetch-site"), self.headers.get("origin", ())
        # A page that wants no referrer sends `null` in its own forms; a foreign page's site is never same-origin.
        hidden = list(origins) == ["null"] and site == "same-origin"
        if origins and list(origins) != [own] and not hidden:
            return False
        if site in OWN:
            return True
        if not site:
            return bool(origins)
        return self.is_navigation
