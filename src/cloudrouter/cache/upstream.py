"""The way out to the registries: verified TLS, the person's proxies, no cookies, no credentials of the person's."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from cloudrouter.cache.policy import Wanted
from cloudrouter.wire.packages import HOSTS

CONNECT_S = 10.0
SILENCE_S = 60.0
"""A registry that sends nothing for so long has failed."""
AGENT = "cloudrouter-package-cache"

UNREACHABLE = (aiohttp.ClientConnectionError, TimeoutError, OSError, ssl.SSLError)
"""What is raised when nobody answers."""


class Upstream:
    """Requests to the five registries, or to a mirror that stands in for one."""

    def __init__(self, mirrors: Mapping[str, str] | None = None) -> None:
        """mirrors: host -> `https://host[:port][/path]` that is asked in its place."""
        self._bases = {host: (mirrors or {}).get(host, f"https://{host}").rstrip("/") for host in HOSTS}
        self._session: aiohttp.ClientSession | None = None

    def fetch(self, wanted: Wanted, *, etag: str = "") -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Ask for what may be kept; nothing of the asker's goes along but the checked path."""
        headers = {"Accept": wanted.accept, "Accept-Encoding": "gzip" if wanted.gzip else "identity"}
        if etag:
            headers["If-None-Match"] = etag
        return self._request("GET", wanted.host, wanted.path, headers, None)

    def carry(
        self, method: str, host: str, target: str, headers: CIMultiDict[str], body: Any
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Pass on a request as its asker wrote it."""
        return self._request(method, host, target, headers, body)

    def _request(
        self, method: str, host: str, target: str, headers: Mapping[str, str], body: Any
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        base = self._bases[host]
        return self._open().request(
            method,
            URL(base + target, encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
            proxy=_proxy_for(base),
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # trust_env would also send what the person's .netrc holds for these hosts.
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S),
                headers={"User-Agent": AGENT},
            )
        return self._session

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _proxy_for(base: str) -> str | None:
    """The proxy that the person's environment names for this address."""
    url = URL(base)
    found = urllib.request.getproxies().get(url.scheme)
    if not found or urllib.request.proxy_bypass(url.host or ""):
        return None
    return found if "://" in found else f"http://{found}"
