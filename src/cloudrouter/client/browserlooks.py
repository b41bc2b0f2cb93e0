"""What looks at a page, and what is set around it: texts, states, storage, requests. A method each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cloudrouter.client import stepping
from cloudrouter.client.browsersteps import BrowserSteps
from cloudrouter.wire.browserapi import StepAnswer


class BrowserLooks(BrowserSteps):
    """A part of Browser."""

    # -- Look --------------------------------------------------------------------------------------------------------

    def read(self) -> str:
        """What a reader would read of the page."""
        return stepping.text(self.do("read"))

    def url(self) -> str:
        """The page's address."""
        return stepping.text(self.do("url"))

    def title(self) -> str:
        """The page's title."""
        return stepping.text(self.do("title"))

    def get_text(self, selector: str) -> str:
        """An element's text."""
        return stepping.text(self.do("get-text", selector))

    def get_html(self, selector: str) -> str:
        """An element's inner HTML."""
        return stepping.text(self.do("get-html", selector))

    def get_value(self, selector: str) -> str:
        """What is in a field."""
        return stepping.text(self.do("get-value", selector))

    def get_attr(self, selector: str, attribute: str) -> Any:
        """An attribute of an element; None when it has none such."""
        return stepping.point(self.do("get-attr", selector, attribute))

    def get_count(self, selector: str) -> int:
        """How many elements a selector finds."""
        return stepping.count(self.do("get-count", selector))

    def get_box(self, selector: str) -> dict[str, Any]:
        """Where an element is, and its size."""
        return (self.do("get-box", selector)).data

    def get_styles(self, selector: str) -> Any:
        """An element's computed styles."""
        return stepping.point(self.do("get-styles", selector))

    def is_visible(self, selector: str) -> bool:
        """Whether it is seen."""
        return stepping.truth(self.do("is-visible", selector))

    def is_enabled(self, selector: str) -> bool:
        """Whether it can be used."""
        return stepping.truth(self.do("is-enabled", selector))

    def is_checked(self, selector: str) -> bool:
        """Whether it is ticked."""
        return stepping.truth(self.do("is-checked", selector))

    def clipboard_read(self) -> str:
        """What is in the clipboard."""
        return stepping.text(self.do("clipboard-read"))

    # -- Settings ----------------------------------------------------------------------------------------------------

    def set_viewport(self, width: float | str, height: float | None = None, scale: float | None = None) -> StepAnswer:
        """The size the page thinks it has; the window that a person watches keeps its own. `off` ends it."""
        return self.do("set-viewport", width, height, scale)

    def set_device(self, device: str) -> StepAnswer:
        """Be a device, as `iPhone 12`; `off` ends it."""
        return self.do("set-device", device)

    def set_media(self, scheme: str, motion: str | None = None) -> StepAnswer:
        """`dark` or `light`, and `reduced-motion`."""
        return self.do("set-media", scheme, motion)

    def set_geo(self, latitude: float, longitude: float) -> StepAnswer:
        """Where the browser is."""
        return self.do("set-geo", latitude, longitude)

    def set_offline(self, switch: str | None = None) -> StepAnswer:
        """Cut the page's network, or `off`."""
        return self.do("set-offline", switch)

    def set_headers(self, headers: Mapping[str, str]) -> StepAnswer:
        """Headers for every request; an empty mapping ends it."""
        return self.do("set-headers", json.dumps(dict(headers)))

    def set_credentials(self, user: str, password: str) -> StepAnswer:
        """User and password for HTTP authentication."""
        return self.do("set-credentials", user, password)

    # -- Cookies and storage -----------------------------------------------------------------------------------------

    def cookies(self) -> list[Any]:
        """The cookies."""
        return stepping.listed(self.do("cookies"))

    def cookies_set(
        self,
        name: str,
        value: str,
        *,
        url: str | None = None,
        domain: str | None = None,
        path: str | None = None,
        http_only: bool = False,
        secure: bool = False,
        same_site: str | None = None,
        expires: float | None = None,
    ) -> StepAnswer:
        """Set a cookie. expires: seconds since 1970. same_site: `Strict`, `Lax` or `None`."""
        return self.do(
            "cookies-set",
            name,
            value,
            url=url,
            domain=domain,
            path=path,
            http_only=http_only,
            secure=secure,
            same_site=same_site,
            expires=expires,
        )

    def cookies_clear(self) -> StepAnswer:
        """Forget all cookies."""
        return self.do("cookies-clear")

    def storage_local(self, key: str | None = None) -> dict[str, Any]:
        """localStorage, or one key of it."""
        return (self.do("storage-local", key)).data

    def storage_local_set(self, key: str, value: str) -> StepAnswer:
        """Set a key of localStorage."""
        return self.do("storage-local-set", key, value)

    def storage_local_clear(self) -> StepAnswer:
        """Empty localStorage."""
        return self.do("storage-local-clear")

    def storage_session(self, key: str | None = None) -> dict[str, Any]:
        """sessionStorage, or one key of it."""
        return (self.do("storage-session", key)).data

    def storage_session_set(self, key: str, value: str) -> StepAnswer:
        """Set a key of sessionStorage."""
        return self.do("storage-session-set", key, value)

    def storage_session_clear(self) -> StepAnswer:
        """Empty sessionStorage."""
        return self.do("storage-session-clear")

    # -- Network and debugging ---------------------------------------------------------------------------------------

    def network_requests(
        self,
        *,
        filter: str | None = None,  # noqa: A002 - the verb's own word
        type: str | None = None,  # noqa: A002 - the verb's own word
        method: str | None = None,
        status: str | None = None,
        clear: bool = False,
    ) -> Any:
        """The requests of this session.

        filter: what the address has in it. type: kinds such as `xhr,fetch`. status: `200`, `2xx`, `400-499`.
        clear: forget them instead.
        """
        return stepping.point(
            self.do("network-requests", filter=filter, type=type, method=method, status=status, clear=clear)
        )

    def network_request(self, request: str) -> dict[str, Any]:
        """One request whole, with its answer."""
        return (self.do("network-request", request)).data

    def network_route(
        self,
        pattern: str,
        *,
        abort: bool = False,
        body: str | None = None,
        allow_origin: str | None = None,
        resource_type: str | None = None,
    ) -> StepAnswer:
        """Answer requests that fit a pattern yourself. body: JSON. abort: let them fail."""
        return self.do(
            "network-route", pattern, abort=abort, body=body, allow_origin=allow_origin, resource_type=resource_type
        )

    def network_unroute(self, pattern: str | None = None) -> StepAnswer:
        """Leave requests alone again; without a pattern, all."""
        return self.do("network-unroute", pattern)

    def har_start(self, *, content: str | None = None) -> StepAnswer:
        """Record requests as HAR. content: whose bodies: `text`, `all`, `none`."""
        return self.do("har-start", content=content)

    def console(self, *, clear: bool = False) -> Any:
        """What the page wrote to its console. clear: forget it instead."""
        return stepping.point(self.do("console", clear=clear))

    def errors(self, *, clear: bool = False) -> Any:
        """The page's uncaught errors. clear: forget them instead."""
        return stepping.point(self.do("errors", clear=clear))

    def trace_start(self) -> StepAnswer:
        """Record a DevTools trace."""
        return self.do("trace-start")

    def profiler_start(self) -> StepAnswer:
        """Record where the page spends its time."""
        return self.do("profiler-start")

    def a11y(self, *, tags: str | None = None, selector: str | None = None) -> dict[str, Any]:
        """Look for barriers with axe. tags: rules such as `wcag2a,wcag2aa`."""
        return (self.do("a11y", tags=tags, selector=selector)).data

    def vitals(self) -> dict[str, Any]:
        """How fast the page is: LCP, CLS, TTFB, FCP, INP."""
        return (self.do("vitals")).data

    def diff_snapshot(self) -> str:
        """What has changed since the last snapshot."""
        return stepping.text(self.do("diff-snapshot"))
