"""Downloads in progress: one for each thing that is wanted, however many wait for it, read while it grows."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

import aiohttp

from cloudrouter.cache import digests
from cloudrouter.cache.contents import NoRoom, Part
from cloudrouter.cache.counters import Counters
from cloudrouter.cache.limits import Busy
from cloudrouter.cache.log import log
from cloudrouter.cache.policy import ARTIFACT, METADATA, Wanted
from cloudrouter.cache.store import Entry, Store
from cloudrouter.cache.upstream import UNREACHABLE, Upstream

CHUNK = 256 * 1024
ABANDONED_LIMIT = 64 * 1024 * 1024
"""A download that nobody waits for any more goes on if no more than this is missing."""
DEFAULT_FRESH_S = 60.0
"""How long metadata counts as current where its registry does not say."""
LONGEST_FRESH_S = 3600.0
KEPT_HEADERS = ("content-type", "content-encoding", "etag", "last-modified", "cache-control", "vary")
TOLD_HEADERS = (*KEPT_HEADERS, "location", "retry-after")
WORSE_THAN_STALE = (502, 503, 504)
LOOKERS = 2
"""So many at once look into metadata: each holds one in memory."""
LOOK_S = 10.0
"""An artifact waits no longer than this for what its metadata says of it."""

T = TypeVar("T")
Way = Callable[[], AbstractAsyncContextManager[None]]


class Failed(Exception):
    """The download broke; what its readers have got so far is not the whole."""


class TooLarge(Exception):
    """Larger than what is kept, or than the room that there is: to be carried through."""


class Fill:
    """One download. `await head()` first; it then has a status, headers and bytes, or an entry that is still true."""

    def __init__(self, wanted: Wanted, known: Entry | None) -> None:
        self.wanted = wanted
        self.known = known
        """What is kept of it already, perhaps out of date."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.confirmed: Entry | None = None
        """The kept answer, when its registry says that it is still current."""
        self.readers = 0
        self.begun = False
        """Whether some reader's way out has been used for it."""
        self.lenders: set[asyncio.Task[None]] = set()
        """Those who wait for their turn to lend it one."""
        self.turn = asyncio.Event()
        self.ended = asyncio.Event()
        self.part: Part | None = None
        self._sendable = 0
        self._done = False
        self._error: BaseException | None = None
        self._head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news: asyncio.Future[None] | None = None

    async def head(self) -> None:
        """Wait for the answer's beginning; raises what went wrong: Failed, TooLarge, Busy, or one of UNREACHABLE."""
        await asyncio.shield(self._head)

    async def read(self, position: int) -> bytes:
        """The bytes from a position on as far as they may be sent; empty at the end; raises Failed."""
        while True:
            if self.part is not None and position < self._sendable:
                return self.part.read(position, min(CHUNK, self._sendable - position))
            if self._error is not None:
                raise Failed from self._error
            if self._done:
                return b""
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)

    @property
    def missing(self) -> int:
        """Bytes still to come, as far as that is known."""
        return (self.length or 0) - (self.part.size if self.part else 0)

    def begin(self, lender: asyncio.Task[None] | None) -> None:
        """A lender's turn has come; the others need not wait for theirs."""
        self.begun = True
        self.turn.set()
        for other in self.lenders:
            if other is not lender:
                other.cancel()
        self.lenders.clear()

    def drop(self, lender: asyncio.Task[None] | None) -> None:
        """One who waits less; when nobody is left who could begin it, its readers hear of that."""
        if lender in self.lenders:
            self.lenders.remove(lender)
            if not self.lenders:
                self.turn.set()

    def begin_body(self) -> None:
        """The head is known."""
        if not self._head.done():
            self._head.set_result(None)

    def offer(self, sendable: int) -> None:
        """So many bytes may be sent now."""
        self._sendable = sendable
        self._tell()

    def end(self, error: BaseException | None = None) -> None:
        """No more will come."""
        self._error = error
        self._done = True
        self.ended.set()
        if not self._head.done():
            if error is None:
                self._head.set_result(None)
            else:
                self._head.set_exception(error)
                self._head.exception()  # seen, also when nobody waits any more
        self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None


class Fills:
    """Begins downloads and puts what came whole into the store."""

    def __init__(self, store: Store, upstream: Upstream, counters: Counters, now: Callable[[], float]) -> None:
        self._store = store
        self._upstream = upstream
        self._counters = counters
        self._now = now
        self._running: dict[str, tuple[Fill, asyncio.Task[None]]] = {}
        self._helping: set[asyncio.Task[Any]] = set()
        self._looking = asyncio.Semaphore(LOOKERS)

    @contextmanager
    def reading(self, wanted: Wanted, known: Entry | None, way: Way) -> Iterator[Fill]:
        """The download of this, begun if it is not running, for one reader."""
        fill = self._get(wanted, known)
        fill.readers += 1
        lender = None if fill.begun else self._help(_lend(fill, way))
        if lender is not None:
            fill.lenders.add(lender)
        try:
            yield fill
        finally:
            if lender in fill.lenders:
                lender.cancel()
                fill.drop(lender)
            self._leave(fill)

    def _get(self, wanted: Wanted, known: Entry | None) -> Fill:
        running = self._running.get(wanted.key)
        if running is None:
            fill = Fill(wanted, known)
            running = self._running[wanted.key] = (fill, self._help(self._run(fill)))
        return running[0]

    def _help(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task beside the readers' own, which ends with the process at the latest."""
        task = asyncio.create_task(work)
        self._helping.add(task)
        task.add_done_callback(self._helping.discard)
        return task

    def _leave(self, fill: Fill) -> None:
        """One reader less; a long download that nobody reads is ended."""
        fill.readers -= 1
        running = self._running.get(fill.wanted.key)
        if running is not None and running[0] is fill:
            if not fill.readers and (not fill.begun or fill.missing > ABANDONED_LIMIT):
                del self._running[fill.wanted.key]  # at once: whoever comes now begins another
                running[1].cancel()
        elif not fill.readers:
            self._close(fill)

    def get_running(self, path: str) -> list[Fill]:
        """The downloads of this path that are going on or wait for their turn."""
        return [fill for fill, _task in self._running.values() if fill.wanted.path == path]

    async def aclose(self) -> None:
        """End every download."""
        tasks = list(self._helping)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, fill: Fill) -> None:
        try:
            await fill.turn.wait()
            if not fill.begun:
                raise Busy
            await self._download(fill)
            fill.end()
        except UNREACHABLE as error:
            fill.end(error)
        except (TooLarge, Failed, Busy) as error:
            fill.end(error)
        except (aiohttp.ClientError, digests.Mismatch, asyncio.CancelledError) as error:
            fill.end(Failed(type(error).__name__))
            if not isinstance(error, asyncio.CancelledError):
                self._counters.refused_bodies += 1
                log(f"not kept: {fill.wanted.host}{fill.wanted.path}: {type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, and the others go on
            fill.end(Failed(type(error).__name__))
            log(f"a download met a defect: {fill.wanted.host}{fill.wanted.path}: {type(error).__name__}: {error}")
        finally:
            running = self._running.get(fill.wanted.key)
            if running is not None and running[0] is fill:
                del self._running[fill.wanted.key]
            if not fill.readers:
                self._close(fill)

    def _close(self, fill: Fill) -> None:
        if fill.part is not None:
            fill.part.close()
            fill.part = None

    async def _download(self, fill: Fill) -> None:
        wanted, known = fill.wanted, fill.known
        expected = digests.Expected.of_url(wanted)
        await self._expect_described(expected, wanted)
        if wanted.kind == ARTIFACT:
            self._counters.artifact_fetches += 1
        async with self._upstream.fetch(wanted, etag=known.headers.get("etag", "") if known else "") as answer:
            if answer.status == 304 and known is not None:
                self._counters.revalidated += 1
                fill.confirmed = self._store.confirm(known, fresh_s=freshness(answer.headers.get("cache-control", "")))
                return
            if answer.status in WORSE_THAN_STALE and known is not None and wanted.kind == METADATA:
                raise OSError(errno.EHOSTUNREACH, f"upstream answers {answer.status}")
            fill.status = answer.status
            fill.headers = {name: answer.headers[name] for name in TOLD_HEADERS if name in answer.headers}
            fill.length = answer.content_length
            if (fill.length or 0) > self._store.largest():
                raise TooLarge
            fill.part = self._begin_part(fill.length)
            fill.begin_body()
            await self._take_body(fill, answer, expected)
        if fill.status == 200 and may_keep(wanted, answer.headers):
            self._keep(fill)
        fill.offer(fill.part.size)

    def _begin_part(self, length: int | None) -> Part:
        try:
            return self._store.begin(length)
        except NoRoom as error:
            raise TooLarge from error
        except OSError as error:
            # A full disk must not keep anybody from their packages: carried through, they need no room here.
            log(f"nothing can be kept: {error.strerror}")
            raise TooLarge from error

    async def _take_body(self, fill: Fill, answer: aiohttp.ClientResponse, expected: digests.Expected) -> None:
        """Everything into the part; its last byte is not sent on before the whole has been checked."""
        part = fill.part
        assert part is not None
        checked = fill.status == 200
        async for data in answer.content.iter_chunked(CHUNK):
            try:
                part.write(data)
            except OSError as error:
                log(f"a download could not be written: {error.strerror}")
                raise Failed from error
            except NoRoom as error:
                raise Failed("no room for what was not said before") from error
            if checked:
                expected.update(data)
            if part.size > self._store.largest():
                raise Failed("larger than what is kept, and not said before")
            fill.offer(part.size - 1)
        self._counters.fetched_bytes += part.size
        if fill.length is not None and part.size != fill.length:
            raise digests.Mismatch("content-length")
        if checked:
            expected.check()

    def _keep(self, fill: Fill) -> None:
        wanted, now = fill.wanted, self._now()
        assert fill.part is not None
        headers = {name: value for name, value in fill.headers.items() if name in KEPT_HEADERS}
        fresh_s = freshness(fill.headers.get("cache-control", ""))
        entry = Entry(wanted.key, wanted.host, wanted.path, wanted.kind, "", 0, headers, now, now, fresh_s)
        try:
            self._store.keep(fill.part, entry)
        except OSError as error:
            log(f"not kept: {wanted.host}{wanted.path}: {error.strerror}")

    async def _expect_described(self, expected: digests.Expected, wanted: Wanted) -> None:
        """What metadata that is kept says of this artifact."""
        if wanted.described_by is None:
            return
        looking = self._help(self._look(wanted, *wanted.described_by))
        try:
            async with asyncio.timeout(LOOK_S):
                found = await asyncio.shield(looking)
        except TimeoutError:
            log(f"what describes {wanted.host}{wanted.path} could not be looked into in time")
            return
        if found is not None:
            expected.add_named(*found)

    async def _look(self, wanted: Wanted, host: str, path: str) -> tuple[str, bytes] | None:
        """The digest that kept metadata tells. Few at once, each to its end: metadata may have tens of megabytes."""
        async with self._looking:
            for entry in self._store.describing(host, path):
                kept = self._store.open(entry)
                if kept is not None:
                    packed = entry.headers.get("content-encoding", "") == "gzip"
                    with kept:
                        # A descriptor of the thread's own, for nothing stops a thread that has begun.
                        return await asyncio.to_thread(_look_into, os.dup(kept.fd), wanted, packed)
        return None


async def _lend(fill: Fill, way: Way) -> None:
    """Let a download have a reader's way out, unless another's came first.

    Each reader offers its own: nobody waits in the queue of a machine that keeps all its ways busy.
    """
    lender = asyncio.current_task()
    try:
        async with way():
            if not fill.begun and not fill.ended.is_set():
                fill.begin(lender)
                await fill.ended.wait()
    except Busy:
        fill.drop(lender)


def _look_into(descriptor: int, wanted: Wanted, packed: bool) -> tuple[str, bytes] | None:  # noqa: FBT001
    with open(descriptor, "rb") as file:
        return digests.find_described(wanted, file.read(digests.METADATA_LIMIT + 1), packed=packed)


def may_keep(wanted: Wanted, headers: Mapping[str, str]) -> bool:
    """Whether a good answer is for everybody."""
    encoding = headers.get("content-encoding", "identity")
    if wanted.kind == ARTIFACT:
        return encoding == "identity"
    control = headers.get("cache-control", "").lower()
    return "no-store" not in control and "private" not in control and encoding in ("identity", "gzip")


def freshness(cache_control: str) -> float:
    """Seconds for which metadata counts as current, from what its registry says."""
    control = cache_control.lower()
    if "no-cache" in control:
        return 0.0
    found = re.search(r"s-maxage\s*=\s*(\d{1,9})", control) or re.search(r"max-age\s*=\s*(\d{1,9})", control)
    return min(float(found[1]), LONGEST_FRESH_S) if found else DEFAULT_FRESH_S
