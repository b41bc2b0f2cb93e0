"""Who drives the machine's browser: starts it for a step, keeps the sessions, and ends them."""

from __future__ import annotations

import asyncio

from cloudrouter.guest import supervising
from cloudrouter.guest.browsingbinding import PORT
from cloudrouter.guest.browsingfiles import Files
from cloudrouter.guest.browsingorder import SESSIONS, Answer, Course
from cloudrouter.guest.browsingsession import Session
from cloudrouter.guest.browsingtool import Tool
from cloudrouter.guest.browsingwatch import Watch
from cloudrouter.wire.browsing import APP, CLOSE, MAIN
from cloudrouter.wire.errors import BrowserDown, NotFound, QuotaExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Callable

    from cloudrouter.guest.browsingorder import Order
    from cloudrouter.guest.server import Guest
    from cloudrouter.wire.apps import AppState

SESSIONS_MOST = 32
UP_S = 15.0
"""A browser that runs answers on its port within that."""
_PAUSE_S = 0.1


class Browsing:
    """All sessions of this machine's browser."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._tool = Tool(guest)
        self._sessions: dict[str, Session] = {}
        self._files = Files(self._tool.place)
        self.watch = Watch()

    async def do(self, order: Order, told: Callable[[AppState], Awaitable[None]]) -> Answer:
        """Do a step in its session's turn, with the browser running; CloudRouterError when it could not be done."""
        if order.step.name == SESSIONS:
            return Answer({"sessions": [session.describe() for session in self._sessions.values()]})
        supervisor = supervising.of(self._guest)
        app = supervisor.find(APP)
        if order.step.name == CLOSE:
            return await self._close(order.session)
        self._tool.check()
        session = self._session(order.session)
        async with session.turn():
            with supervisor.using(app):
                await self.up(told)
                course = Course(order, asyncio.get_running_loop().time() + order.timeout_s)
                return await session.do(course, lambda: self.up(told))

    async def up(self, told: Callable[[AppState], Awaitable[None]]) -> None:
        """The browser, running and watched; one that has just ended may still seem to run."""
        deadline = asyncio.get_running_loop().time() + UP_S
        while True:
            app = await supervising.of(self._guest).start(APP, hurry=True, told=told)
            self.watch.port = self._tool.port = app.spec.port or PORT
            try:
                await self.watch.ready()
            except BrowserDown:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    def has(self, session: str, target: str) -> bool:
        """Whether a tab is the session's: it is at it, or has been, or has opened it."""
        known = self._sessions.get(session)
        return known is not None and (target in known.own or target == known.binding.target(known.account()))

    async def _close(self, name: str) -> Answer:
        """End a session: without a name the browser itself, which ends all; else its tabs and its daemon."""
        supervisor = supervising.of(self._guest)
        if name == MAIN:
            await self.watch.close()
            await supervisor.stop(supervisor.find(APP), "It was closed.")
            self._sessions.clear()
            return Answer({"closed": True})
        session = self._sessions.pop(name, None)
        if session is None:
            raise NotFound(f"There is no session {name!r}.", next="cloudrouter browser sessions ID")
        async with session.turn():
            return Answer({"closed": True, "tabs": await session.end()})

    def _session(self, name: str) -> Session:
        session = self._sessions.get(name)
        if session is None:
            if len(self._sessions) >= SESSIONS_MOST:
                raise QuotaExceeded(
                    f"There are {SESSIONS_MOST} sessions already.",
                    fix="End one of them.",
                    next="cloudrouter browser sessions ID",
                )
            session = self._sessions[name] = Session(name, self._guest, self._tool, self._files, self.watch)
        return session
