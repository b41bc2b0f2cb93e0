"""One command of a session with an end to it: by its time, by a dialog, by the end of the browser, by who asked."""

from __future__ import annotations

import asyncio

from cloudrouter.guest import browsingfaults
from cloudrouter.guest.browsingwatch import PASSING
from cloudrouter.guest.tasks import cancel_all, surely
from cloudrouter.wire.errors import BrowserDown, CloudRouterError, StepFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Optional

    from cloudrouter.guest.browsingbinding import Binding
    from cloudrouter.guest.browsingtool import Told, Tool
    from cloudrouter.guest.browsingwatch import Tab, Watch
    from cloudrouter.guest.environment import Account

BREAK_OFF_S = 1.5
"""How long a command that was broken off may take to end; then its session's daemon is ended."""
DIALOG_S, PASSING_S = 0.3, 3.0
"""A command that has opened a dialog answers within that, or waits for the dialog's answer itself."""
LOST_S = 0.3
"""A command whose tab has gone or crashed says so within that, if it ever does."""
LITTLE_S = 10.0
"""For commands that are a part of a step."""


class Crashed(StepFailed):
    """The tab's page crashed under a command; never told as such."""


class Runner:
    """Runs one session's commands."""

    def __init__(
        self, session: str, tool: Tool, watch: Watch, binding: Binding, account: Callable[[], Account]
    ) -> None:
        self._session = session
        self._tool = tool
        self._watch = watch
        self._binding = binding
        self._account = account
        self._fresh = True

    def begin(self) -> None:
        """The session's daemon is a new one: it is to close its door for pictures before anything else."""
        self._fresh = True

    async def run(
        self,
        argv: Sequence[str],
        *,
        flags: Sequence[str] = (),
        deadline: Optional[float] = None,
        tab: Optional[Tab] = None,
        then: Optional[Sequence[str]] = None,
    ) -> Told:
        """What it answers; TimedOut, DialogOpen, BrowserDown. deadline: in the loop's time; tab: where it happens."""
        now = asyncio.get_running_loop().time()
        end = now + LITTLE_S if deadline is None else deadline
        first = ["stream", "disable"] if self._fresh else None
        work = asyncio.ensure_future(self._tool.run(self._session, argv, first=first, flags=flags, then=then))
        self._fresh = False
        try:
            fault = await self._look_after(work, end, tab, end - now)
        except asyncio.CancelledError:
            await surely(self._give_up(work, tab))
            raise
        if fault is not None:
            if await self._break_off(work, tab if not isinstance(fault, BrowserDown) else None):
                fault.message = f"{fault.message} {browsingfaults.LOST}"
            raise fault
        return work.result()

    async def _look_after(
        self, work: asyncio.Future[Told], end: float, tab: Optional[Tab], timeout_s: float
    ) -> Optional[CloudRouterError]:
        """Why it is to be broken off; None once it is done."""
        loop = asyncio.get_running_loop()
        closed = asyncio.ensure_future(self._watch.until_closed())
        try:
            while True:
                fault, patience = (None, end - loop.time()) if tab is None else _trouble(tab, end - loop.time())
                changed = asyncio.ensure_future(tab.changed.wait()) if tab is not None else None
                waited: set[asyncio.Future[Any]] = {work, closed}
                waited |= {changed} if changed is not None else set()
                try:
                    await asyncio.wait(waited, timeout=max(0.0, patience), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if changed is not None:
                        changed.cancel()
                if work.done():
                    return None
                if closed.done():
                    return BrowserDown("The browser ended while this was done.")
                if changed is None or not changed.done():
                    return fault or browsingfaults.timed_out(round(timeout_s, 1))
        finally:
            closed.cancel()

    async def _give_up(self, work: asyncio.Future[Told], tab: Optional[Tab]) -> None:
        await self._break_off(work, tab)

    async def _break_off(self, work: asyncio.Future[Told], tab: Optional[Tab]) -> bool:
        """End a command: what it waits for is stopped in the tab; where that does not help, its daemon is ended (True).

        Behind a dialog it is left to the daemon, which goes on with it once the dialog is answered.
        """
        ended = False
        if tab is not None and tab.dialog is None and not work.done():
            if not (tab.crashed or tab.gone):
                await self._stop_tab(tab)
                await asyncio.wait({work}, timeout=BREAK_OFF_S)
            if not work.done():
                self._binding.kill(self._account())
                self._fresh = ended = True
        await cancel_all(work)
        return ended

    async def _stop_tab(self, tab: Tab) -> None:
        for method in ("Page.stopLoading", "Runtime.terminateExecution"):
            try:
                await self._watch.ask(tab, method, timeout_s=0.5)
            except StepFailed:
                continue  # it has gone, or hangs so that its daemon has to be ended


def _trouble(tab: Tab, left_s: float) -> tuple[Optional[CloudRouterError], float]:
    """What is wrong with the tab now, and how long a command may still take: all of its time where nothing is."""
    if tab.gone:
        return browsingfaults.tab_gone(), min(left_s, LOST_S)
    if tab.crashed:
        return Crashed("The page crashed while this was done."), min(left_s, LOST_S)
    if tab.dialog is not None:
        patience = PASSING_S if tab.dialog["type"] in PASSING else DIALOG_S
        return (browsingfaults.dialog_open(tab.dialog), patience) if patience < left_s else (None, left_s)
    return None, left_s
