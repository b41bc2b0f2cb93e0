"""The operation `browser.follow`: what pages write to their console, their errors and requests, as they happen."""

from __future__ import annotations

import asyncio
import time

from cloudrouter.guest import browsing, browsingitems, cdp, supervising
from cloudrouter.guest.browsingitems import KINDS, Items
from cloudrouter.guest.tasks import cancel_all
from cloudrouter.wire.browsing import APP, session_fault
from cloudrouter.wire.errors import StepFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Optional

    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream

QUEUE = 5000
"""Things that wait to be sent; what comes beyond that is counted only."""
TABS_MOST = 1000


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `browser.follow`: goes on until the opener leaves or the browser ends; no session waits for it."""
    kind, session = request.get("kind"), request.get("session")
    if kind not in KINDS:
        raise UsageError(f"kind is one of {', '.join(KINDS)}.")
    fault = session_fault(session) if session is not None else None
    if fault:
        raise UsageError(f"A session cannot be called {str(session)[:40]!r}: {fault}.")
    driver, supervisor = browsing.of(guest), supervising.of(guest)
    with supervisor.using(supervisor.find(APP)):
        await driver.up(browsing.teller(stream))
        wanted = None if session is None else lambda target: driver.has(str(session), target)
        since_ms = time.time() * 1000 if request.get("since_now") is True else 0.0
        follower = Follower(driver.watch.port, str(kind), since_ms, wanted)
        await follower.begin()
        try:
            await stream.send("started", {})
            await follower.pass_on(stream)
        finally:
            await follower.close()
    await stream.finish("end", {"reason": "The browser ended."})


class Follower:
    """One connection that listens to all tabs, or to those that are wanted."""

    def __init__(self, port: int, kind: str, since_ms: float, wanted: Optional[Callable[[str], bool]]) -> None:
        self._port = port
        self._domains = browsingitems.DOMAINS[kind]
        self._items = Items(kind, since_ms)
        self._wanted = wanted
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUE)
        self._dropped = 0
        self._tabs: dict[str, str] = {}
        """Session of the connection -> its tab."""
        self._known: set[str] = set()
        self._tasks: set[asyncio.Future[None]] = set()
        self._cdp: Optional[cdp.Cdp] = None

    async def begin(self) -> None:
        """Begin to listen; BrowserDown when the browser does not answer."""
        self._cdp = await cdp.open_browser(self._port, self._heard)
        await self._cdp.ask("Target.setDiscoverTargets", discover=True)

    async def close(self) -> None:
        """Listen no longer."""
        await cancel_all(*self._tasks)
        if self._cdp is not None:
            await self._cdp.close()

    async def pass_on(self, stream: Stream) -> None:
        """Send what happens, until the browser ends."""
        if self._cdp is None:
            return
        closed = asyncio.ensure_future(self._cdp.until_closed())
        item = asyncio.ensure_future(self._queue.get())
        try:
            while True:
                await asyncio.wait({item, closed}, return_when=asyncio.FIRST_COMPLETED)
                if not item.done():
                    return
                await stream.send("item", item.result())
                if self._dropped and self._queue.empty():
                    dropped, self._dropped = self._dropped, 0
                    await stream.send("item", browsingitems.dropped(dropped))
                item = asyncio.ensure_future(self._queue.get())
        finally:
            await cancel_all(item, closed)

    def _heard(self, event: str, params: dict[str, Any], session: str) -> None:
        if event == "Target.attachedToTarget":
            info, own = params.get("targetInfo") or {}, str(params.get("sessionId"))
            if session in self._tabs and len(self._tabs) < TABS_MOST:  # a frame or a worker of a tab
                self._tabs[own] = self._tabs[session]
                self._do(self._listen(own))
            elif info.get("type") == "page":
                self._tabs[own] = str(info.get("targetId"))
                self._do(self._listen(own))
        elif event == "Target.detachedFromTarget":
            self._tabs.pop(str(params.get("sessionId")), None)
        elif event in ("Target.targetCreated", "Target.targetInfoChanged"):
            self._target(params.get("targetInfo") or {})
        elif session in self._tabs:
            self._take(event, params, self._tabs[session])

    def _target(self, info: dict[str, Any]) -> None:
        target = str(info.get("targetId"))
        if info.get("type") != "page":
            return
        self._items.pages[target] = str(info.get("url") or "")[: browsingitems.URL_LETTERS]
        if target not in self._known and len(self._known) < TABS_MOST:
            self._known.add(target)
            self._do(self._attach(target))

    def _take(self, event: str, params: dict[str, Any], target: str) -> None:
        if self._wanted is not None and not self._wanted(target):
            return
        item = self._items.read(event, params, target)
        if item is None:
            return
        if self._queue.full():
            self._dropped += 1
        else:
            self._queue.put_nowait(item)

    async def _attach(self, target: str) -> None:
        if self._cdp is not None:
            await self._cdp.ask("Target.attachToTarget", targetId=target, flatten=True)

    async def _listen(self, session: str) -> None:
        if self._cdp is None:
            return
        auto = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}
        await self._cdp.ask("Target.setAutoAttach", session, **auto)
        for domain in self._domains:
            await self._cdp.ask(f"{domain}.enable", session)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        def done(task: asyncio.Future[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and task.exception() is not None and not isinstance(task.exception(), StepFailed):
                raise task.exception()  # type: ignore[misc]  # the loop logs it

        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(done)
