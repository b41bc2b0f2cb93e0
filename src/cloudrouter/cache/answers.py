"""Answering one request: from the store, from a download in progress, or carried through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from cloudrouter.cache import policy
from cloudrouter.cache.counters import Counters
from cloudrouter.cache.fills import CHUNK, KEPT_HEADERS, Failed, Fill, Fills, TooLarge
from cloudrouter.cache.limits import Busy, Limits
from cloudrouter.cache.log import log
from cloudrouter.cache.policy import ARTIFACT, Wanted
from cloudrouter.cache.store import Entry, Store
from cloudrouter.cache.upstream import UNREACHABLE, Upstream

WORD = "x-cloudrouter-cache"
"""Says where an answer came from: hit, miss, revalidated, stale or pass."""
STALL_S = 120.0
"""A reader that takes nothing for so long is cut off."""
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect", "host")
)
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))


class Asker:
    """Who asks, and for which of the five names: both known from the connection, not from what is written on it."""

    def __init__(self, host: str, peer: str) -> None:
        self.host = host
        self.peer = peer


class Answers:
    """The handler of every request."""

    def __init__(
        self,
        store: Store,
        fills: Fills,
        upstream: Upstream,
        counters: Counters,
        limits: Limits,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._fills = fills
        self._upstream = upstream
        self._counters = counters
        self._limits = limits
        self._now = now

    async def answer(self, request: web.BaseRequest, asker: Asker) -> web.StreamResponse:
        """One request to its end; what fails after the first byte is cut off, so that nobody takes it as whole."""
        target = request.raw_path
        if request.method not in METHODS:
            return _refuse(405, "This method is not for package registries.")
        if not target.startswith("/"):
            return _refuse(400, "The request's target must be a path.")
        if _climbs(target):
            return _refuse(400, "The request's target must be a normal path.")
        given = request.headers.getall("host", [])
        if [name.lower().removesuffix(":443") for name in given] != [asker.host]:
            return _refuse(421, "The request is for another host than its connection.")
        wanted = policy.classify(asker.host, request.method, target, request.headers)
        if wanted is None:
            return await self._carry(request, asker)
        return await self._give(request, asker, wanted)

    # -- what may be kept ---------------------------------------------------------------------------------------

    async def _give(self, request: web.BaseRequest, asker: Asker, wanted: Wanted) -> web.StreamResponse:
        entry = self._store.find(wanted.key)
        recheck = "no-cache" in request.headers.get("cache-control", "").lower()
        if entry is not None and self._is_current(entry, recheck=recheck):
            self._counters.hits += 1
            return await self._give_kept(request, entry, "hit") or await self._give(request, asker, wanted)
        if request.method == "HEAD":
            return await self._carry(request, asker)
        with self._fills.reading(wanted, entry, lambda: self._way(asker)) as fill:
            return await self._give_filled(request, asker, fill)

    def _is_current(self, entry: Entry, *, recheck: bool) -> bool:
        if entry.kind == ARTIFACT:
            return True
        return not recheck and self._now() - entry.checked_at < entry.fresh_s

    async def _give_filled(self, request: web.BaseRequest, asker: Asker, fill: Fill) -> web.StreamResponse:
        try:
            await fill.head()
        except TooLarge:
            return await self._carry(request, asker)
        except Busy:
            return _come_again()
        except (Failed, *UNREACHABLE) as error:
            return await self._give_stale(request, fill, error)
        if fill.confirmed is not None:
            given = await self._give_kept(request, fill.confirmed, "revalidated")
            return given if given is not None else _refuse(502, "What was kept has been thrown out; ask again.")
        self._counters.misses += 1
        return await self._stream(request, fill)

    async def _give_stale(self, request: web.BaseRequest, fill: Fill, error: BaseException) -> web.StreamResponse:
        """The registry cannot be reached: what was true once is better than nothing, and it is said."""
        host = fill.wanted.host
        if fill.known is not None and not isinstance(error, Failed):
            given = await self._give_kept(request, fill.known, "stale")
            if given is not None:
                self._counters.stale += 1
                log(f"{host} cannot be reached ({type(error).__name__}), {fill.wanted.path} is served as it was")
                return given
        return _refuse(502, f"{host} cannot be reached: {type(error).__name__}.")

    async def _give_kept(self, request: web.BaseRequest, entry: Entry, word: str) -> web.StreamResponse | None:
        """An entry's content; None when it is not there any more."""
        kept = self._store.open(entry)
        if kept is None:
            return None
        with kept:
            headers = self._headers(entry.headers, word)
            headers["Age"] = str(max(0, int(self._now() - entry.checked_at)))
            if _has_it(request, entry.headers.get("etag", "")):
                self._counters.saved_bytes += entry.size
                return web.Response(status=304, headers=headers)
            if request.method == "HEAD":
                headers["Content-Length"] = str(entry.size)
                return web.Response(headers=headers)
            self._counters.saved_bytes += entry.size
            if entry.size <= CHUNK:
                return web.Response(body=kept.read(0, entry.size), headers=headers)
            response = web.StreamResponse(headers=headers)
            response.content_length = entry.size
            await response.prepare(request)
            for position in range(0, entry.size, CHUNK):
                await _write(response, kept.read(position, min(CHUNK, entry.size - position)))
            await response.write_eof()
            return response

    async def _stream(self, request: web.BaseRequest, fill: Fill) -> web.StreamResponse:
        response = web.StreamResponse(status=fill.status, headers=self._headers(fill.headers, "miss"))
        if fill.length is not None:
            response.content_length = fill.length
        await response.prepare(request)
        position = 0
        try:
            while data := await fill.read(position):
                await _write(response, data)
                position += len(data)
        except Failed:
            if request.transport is not None:
                request.transport.abort()
            raise
        await response.write_eof()
        return response

    def _headers(self, known: Mapping[str, str], word: str) -> CIMultiDict[str]:
        headers = CIMultiDict(
            (name, known[name]) for name in (*KEPT_HEADERS, "location", "retry-after") if name in known
        )
        headers[WORD] = word
        if word == "stale":
            headers["Warning"] = '111 - "revalidation failed"'
        return headers

    # -- what is the asker's own ---------------------------------------------------------------------------------

    async def _carry(self, request: web.BaseRequest, asker: Asker) -> web.StreamResponse:
        """Through to the registry and back, as it is written."""
        self._counters.passed += 1
        if request.headers.get("expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        headers = _passed_on(request.headers)
        body = request.content if request.body_exists else None
        try:
            async with (
                self._way(asker),
                self._upstream.carry(request.method, asker.host, request.raw_path, headers, body) as answer,
            ):
                return await _relay(request, answer)
        except Busy:
            return _come_again()
        except UNREACHABLE as error:
            return _refuse(502, f"{asker.host} cannot be reached: {type(error).__name__}.")

    def _way(self, asker: Asker) -> AbstractAsyncContextManager[None]:
        return self._limits.way_out(asker.peer)


async def _relay(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = _passed_on(answer.headers)
    headers[WORD] = "pass"
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    try:
        async for data in answer.content.iter_chunked(CHUNK):
            await _write(response, data)
    except (aiohttp.ClientError, TimeoutError, OSError):
        if request.transport is not None:
            request.transport.abort()
        raise
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(STALL_S):
        await response.write(data)


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Headers without those that belong to one connection."""
    named = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP | named)


def _has_it(request: web.BaseRequest, etag: str) -> bool:
    """Whether the asker says that it has this version."""
    given = request.headers.get("if-none-match", "")
    bare = etag.removeprefix("W/")
    return bool(etag) and any(word.strip().removeprefix("W/") == bare for word in given.split(","))


def _climbs(target: str) -> bool:
    """Whether a path leads upwards: no registry needs that, and a mirror may have other things beside it."""
    path = unquote(target.partition("?")[0]).replace("\\", "/")
    return any(part in (".", "..") for part in path.split("/"))


def _come_again() -> web.Response:
    """For a machine that asks for more at once than its part; its tools try again by themselves."""
    answer = _refuse(503, "Too many requests of this machine wait already.")
    answer.headers["Retry-After"] = "1"
    return answer


def _refuse(status: int, message: str) -> web.Response:
    return web.Response(status=status, text=f"CloudRouter's package cache: {message}\n", headers={WORD: "none"})
