"""What looks at a page, and what is set around it: texts, states, storage, requests; awaited. A method each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cloudrouter.client import stepping
from cloudrouter.client.aio.browsersteps import AsyncBrowserSteps
from cloudrouter.wire.browserapi import StepAnswer


class AsyncBrowserLooks(AsyncBrowserSteps):
    """A part of AsyncBrowser."""

    # -- Look --------------------------------------------------------------------------------------------------------

    async def read(self) -> str:
        """What a reader would read of the page."""
        return stepping.text(await self.do("read"))

    async def url(self) -> str:
        """The page's address."""
        return stepping.text(await self.do("url"))

    async def title(self) -> str:
        """The page's title."""
        return stepping.text(await self.do("title"))

    async def get_text(self, selector: str) -> str:
        """An element's text."""
        return stepping.text(await self.do("get-text", selector))

    async def get_html(self, selector: str) -> str:
        """An element's inner HTML."""
        return stepping.text(await self.do("get-html", selector))

    async def get_value(self, selector: str) -> str:
        """What is in a field."""
        return stepping.text(await self.do("get-value", selector))

    async def get_attr(self, selector: str, attribute: str) -> Any:
        """An attribute of an element; None when it has none such."""
        return stepping.point(await self.do("get-attr", selector, attribute))

    async def get_count(self, selector: str) -> int:
        """How many elements a selector finds."""
        return stepping.count(await self.do("get-count", selector))

    async def get_box(self, selector: str) -> dict[str, Any]:
        """Where an element is, and its size."""
        return (await self.do("get-box", selector)).data

    async def get_styles(self, selector: str) -> Any:
        """An element's computed styles."""
        return stepping.point(await self.do("get-styles", selector))

    async def is_visible(self, selector: str) -> bool:
        """Whether it is seen."""
        return stepping.truth(await self.do("is-visible", selector))

    async def is_enabled(self, selector: str) -> bool:
        """Whether it can be used."""
        return stepping.truth(await self.do("is-enabled", selector))

    async def is_checked(self, selector: str) -> bool:
        """Whether it is ticked."""
        return stepping.truth(await self.do("is-checked", selector))

    async def clipboard_read(self) -> str:
        """What is in the clipboard."""
        return stepping.text(await self.do("clipboard-read"))

    # -- Settings ----------------------------------------------------------------------------------------------------

    async def set_viewport(
        self, width: float | str, height: float | None = None, scale: float | None = None
    ) -> StepAnswer:
        """The size the page thinks it has; the window that a person watches keeps its own. `off` ends it."""
        return await self.do("set-viewport", width, height, scale)

    async def set_device(self, device: str) -> StepAnswer:
        """Be a device, as `iPhone 12`; `off` ends it."""
        return await self.do("set-device", device)

    async def set_media(self, scheme: str, motion: str | None = None) -> StepAnswer:
        """`dark` or `light`, and `reduced-motion`."""
        return await self.do("set-media", scheme, motion)

    async def set_geo(self, latitude: float, longitude: float) -> StepAnswer:
        """Where the browser is."""
        return await self.do("set-geo", latitude, longitude)

    async def set_offline(self, switch: str | None = None) -> StepAnswer:
        """Cut the page's network, or `off`."""
        return await self.do("set-offline", switch)

    async def set_headers(self, headers: Mapping[str, str]) -> StepAnswer:
        """Headers for every request; an empty mapping ends it."""
        return await self.do("set-headers", json.dumps(dict(headers)))

    async def set_credentials(self, user: str, password: str) -> StepAnswer:
        """User and password for HTTP authentication."""
        return await self.do("set-credentials", user, password)

    # -- Cookies and storage -----------------------------------------------------------------------------------------

    async def cookies(self) -> list[Any]:
        """The cookies."""
        return stepping.listed(await self.do("cookies"))

    async def cookies_set(
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
        return await self.do(
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

    async def cookies_clear(self) -> StepAnswer:
        """Forget all cookies."""
        return await self.do("cookies-clear")

    async def storage_local(self, key: str | None = None) -> dict[str, Any]:
        """localStorage, or one key of it."""
        return (await self.do("storage-local", key)).data

    async def storage_local_set(self, key: str, value: str) -> StepAnswer:
        """Set a key of localStorage."""
        return await self.do("storage-local-set", key, value)

    async def storage_local_clear(self) -> StepAnswer:
        """Empty localStorage."""
        return await self.do("storage-local-clear")

    async def storage_session(self, key: str | None = None) -> dict[str, Any]:
        """sessionStorage, or one key of it."""
        return (await self.do("storage-session", key)).data

    async def storage_session_set(self, key: str, value: str) -> StepAnswer:
        """Set a key of sessionStorage."""
        return await self.do("storage-session-set", key, value)

    async def storage_session_clear(self) -> StepAnswer:
        """Empty sessionStorage."""
        return await self.do("storage-session-clear")

    # -- Network and debugging ---------------------------------------------------------------------------------------

    async def network_requests(
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
            await self.do("network-requests", filter=filter, type=type, method=method, status=status, clear=clear)
        )

    async def network_request(self, request: str) -> dict[str, Any]:
        """One request whole, with its answer."""
        return (await self.do("network-request", request)).data

    async def network_route(
        self,
        pattern: str,
        *,
        abort: bool = False,
        body: str | None = None,
        allow_origin: str | None = None,
        resource_type: str | None = None,
    ) -> StepAnswer:
        """Answer requests that fit a pattern yourself. body: JSON. abort: let them fail."""
        return await self.do(
            "network-route", pattern, abort=abort, body=body, allow_origin=allow_origin, resource_type=resource_type
        )

    async def network_unroute(self, pattern: str | None = None) -> StepAnswer:
        """Leave requests alone again; without a pattern, all."""
        return await self.do("network-unroute", pattern)

    async def har_start(self, *, content: str | None = None) -> StepAnswer:
        """Record requests as HAR. content: whose bodies: `text`, `all`, `none`."""
        return await self.do("har-start", content=content)

    async def console(self, *, clear: bool = False) -> Any:
        """What the page wrote to its console. clear: forget it instead."""
        return stepping.point(await self.do("console", clear=clear))

    async def errors(self, *, clear: bool = False) -> Any:
        """The page's uncaught errors. clear: forget them instead."""
        return stepping.point(await self.do("errors", clear=clear))

    async def trace_start(self) -> StepAnswer:
        """Record a DevTools trace."""
        return await self.do("trace-start")

    async def profiler_start(self) -> StepAnswer:
        """Record where the page spends its time."""
        return await self.do("profiler-start")

    async def a11y(self, *, tags: str | None = None, selector: str | None = None) -> dict[str, Any]:
        """Look for barriers with axe. tags: rules such as `wcag2a,wcag2aa`."""
        return (await self.do("a11y", tags=tags, selector=selector)).data

    async def vitals(self) -> dict[str, Any]:
        """How fast the page is: LCP, CLS, TTFB, FCP, INP."""
        return (await self.do("vitals")).data

    async def diff_snapshot(self) -> str:
        """What has changed since the last snapshot."""
        return stepping.text(await self.do("diff-snapshot"))
