"""One session of the browser: its steps one after another, at one tab, by a daemon of agent-browser."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

from cloudrouter.guest import browsingdevices, browsingfaults, browsingrefs, browsingverbs
from cloudrouter.guest.browsingbinding import Binding
from cloudrouter.guest.browsingorder import Answer
from cloudrouter.guest.browsingrun import Crashed, Runner
from cloudrouter.guest.browsingwatch import PASSING
from cloudrouter.guest.environment import find_account, rfc3339
from cloudrouter.wire.browsing import BRING_LIMIT, MAIN
from cloudrouter.wire.errors import BrowserDown, StepFailed, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Any, Optional

    from cloudrouter.guest.browsingfiles import Files
    from cloudrouter.guest.browsingorder import Course
    from cloudrouter.guest.browsingtool import Told, Tool
    from cloudrouter.guest.browsingwatch import Tab, Watch
    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.server import Guest

POPUP_S = 0.1
"""How long is looked for a tab that a click has opened, where the page says that it opens some."""
REVIVE_S = 8.0
_DIALOG_VERBS = ("dialog-status", "dialog-accept", "dialog-dismiss", "tab-list", "tab-new", "tab-switch")


class Session:
    """Steps of one name: they wait for each other, and are at one tab."""

    def __init__(self, name: str, guest: Guest, tool: Tool, files: Files, watch: Watch) -> None:
        self.name = name
        self._guest = guest
        self._files = files
        self.watch = watch
        self._lock = asyncio.Lock()
        self._since_ms = time.time_ns() // 1_000_000
        self._steps = 0
        self._browser = ""
        self._view: Optional[browsingdevices.View] = None
        self._here = self._page = ""
        self.refs: dict[str, Any] = {}
        """Of the snapshots since the session is at this page."""
        self.own: set[str] = set()
        """The tabs that it has been at and has opened."""
        self.downloads = tool.downloads
        """Where the person's downloads are."""
        self.binding = Binding(tool.sockets, name)
        self.runner = Runner(name, tool, watch, self.binding, self.account)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """While this lasts no other step of the session is done; they come in the order of asking."""
        async with self._lock:
            yield

    def account(self) -> Account:
        """The machine's user."""
        return find_account(self._guest.settings.user)

    def tab(self) -> Optional[Tab]:
        """The tab that it is at, as far as it is known and there."""
        return self.watch.tabs.get(self.binding.target(self.account()))

    def describe(self) -> dict[str, Any]:
        """As people are told of it."""
        tab = self.tab()
        return {
            "name": self.name,
            "since": rfc3339(self._since_ms),
            "steps": self._steps,
            "busy": self._lock.locked(),
            "url": tab.url if tab is not None else None,
        }

    async def do(self, course: Course, up: Callable[[], Awaitable[None]]) -> Answer:
        """One step; up: sees that the browser runs. A browser that ends under it is started again once."""
        began = time.monotonic()
        self._steps += 1
        again = course.order.step.reads or course.order.step.name == "open"
        try:
            data, warning = await self._try(course, up)
        except TimedOut as error:
            raise browsingfaults.with_place(error, course.order, self.tab()) from None
        except BrowserDown as error:
            await self.watch.close()  # it may not know yet
            await up()
            if not again:
                raise BrowserDown(
                    f"{error.message} It runs again, without its tabs, and what this step did is not known.",
                    fix="Open the page again.",
                    next="cloudrouter browser open ID URL",
                ) from None
            course.recovered = True
            course.warnings.append("The browser had ended; it runs again, and its tabs are gone.")
            data, warning = await self._try(course, up)
        tab = self.tab()
        if tab is not None:
            course.warnings += await self.watch.heard_alerts(tab)
        return Answer(
            data,
            warning=" ".join([*course.warnings, *([warning] if warning else [])]) or None,
            dialog=tab.dialog if tab is not None else None,
            file=self._made(course) if course.path else None,
            url=self._url_of(data, tab),
            duration_ms=round((time.monotonic() - began) * 1000),
            recovered=course.recovered,
        )

    def _made(self, course: Course) -> dict[str, Any]:
        limit = BRING_LIMIT if course.order.bring else 0
        return self._files.made(self.account(), course.path, own=course.own_path, bring=limit)

    async def _try(self, course: Course, up: Callable[[], Awaitable[None]]) -> tuple[dict[str, Any], str]:
        await up()
        await self._begin(course)
        tab = self.tab()
        if tab is not None:
            if tab.crashed:
                await self._revive(tab, course)
            await self._check_dialog(tab, course)
            await self._show(tab)
            if browsingrefs.page_of(tab.url) != self._page:
                self.refs = {}
        browsingrefs.check(course.order, self.refs)
        before = set(self.watch.tabs)
        browsingverbs.place_files(self, course, self._files)
        told = await self._act(course, tab)
        if not told.ok:
            if browsingfaults.is_down(told):
                raise BrowserDown("The browser ended while this was done.")
            raise browsingfaults.error_of(told, course.order.timeout_s)
        await self._settle(course, told, before)
        return told.data, "" if told.warning.startswith("A JavaScript") else told.warning

    async def _act(self, course: Course, tab: Optional[Tab]) -> Told:
        """The step itself; on a page that crashes under it once more, where that does no harm."""
        try:
            told = await browsingverbs.do(self, course, tab)
        except Crashed:
            if tab is None:
                raise
            return await self._after_crash(tab, course)
        if tab is not None and browsingfaults.is_silent(told) and await self._has_crashed(tab):
            return await self._after_crash(tab, course)
        return told

    async def _begin(self, course: Course) -> None:
        """Where the browser is another one than at the last step, begin anew: at its front tab, or at one's own."""
        if self._browser == self.watch.browser:
            return
        account, lost = self.account(), bool(self._browser)
        self.refs, self.own, self._view = {}, set(), None
        if not self.binding.is_served(account):
            front = await self.watch.front() if self.name == MAIN else None
            self.binding.bind(account, front or "")
        self.runner.begin()
        self._browser = self.watch.browser
        if lost and not course.recovered and course.order.step.name != "open":
            if browsingfaults.needs_page(course.order.step):
                raise browsingfaults.tab_gone("The browser was started again, and the tab of this session is gone.")
            course.warnings.append("The browser was started again since the last step; its tabs are gone.")

    async def _check_dialog(self, tab: Tab, course: Course) -> None:
        """Nothing can be done behind a dialog; alerts are answered by agent-browser in a moment."""
        if tab.dialog is None or course.order.step.name in _DIALOG_VERBS:
            return
        if tab.dialog["type"] in PASSING:
            await self.watch.until(tab, lambda one: one.dialog is None, 1.0)
        if tab.dialog is not None:
            raise browsingfaults.dialog_open(tab.dialog)

    async def _has_crashed(self, tab: Tab) -> bool:
        return await self.watch.until(tab, lambda one: one.crashed, 0.2) or not await self.watch.answers(tab)

    async def _revive(self, tab: Tab, course: Course) -> None:
        """Load a crashed tab again; once in a step."""
        if course.recovered:
            raise StepFailed("The page crashed again.", fix="Open another page.")
        course.recovered = True
        course.warnings.append("The page had crashed, and was loaded again.")
        self.refs = {}
        await self.watch.revive(tab, REVIVE_S)

    async def _after_crash(self, tab: Tab, course: Course) -> Told:
        await self._revive(tab, course)
        if not (course.order.step.reads or course.order.step.name == "open"):
            raise StepFailed(
                "The page crashed while this was done. It was loaded again, and what this step did is not known.",
                fix="Look at the page.",
                next="cloudrouter browser snapshot -i ID",
            )
        return await browsingverbs.do(self, course, tab)

    async def end(self) -> int:
        """Close its own tabs and end its daemon; how many tabs that were. The last tab of the window stays: with it
        the browser would end.
        """
        here = self.binding.target(self.account())
        own = [target for target in self.watch.tabs if target in {*self.own, here}]
        if own and len(own) == len(self.watch.tabs):
            await self.watch.ask_browser("Target.createTarget", url="about:blank")
        for target in own:
            await self.watch.ask_browser("Target.closeTarget", targetId=target)
        self.binding.kill(self.account())
        self.binding.bind(self.account(), "")
        return len(own)

    async def set_view(self, view: Optional[browsingdevices.View]) -> None:
        """Have the session's tab be so from now on, and each that it goes to."""
        self._view = view
        tab = self.tab()
        if tab is not None:
            await self._show(tab)

    async def _show(self, tab: Tab) -> None:
        if tab.view != self._view:
            for method, params in browsingdevices.requests(self._view):
                await self.watch.ask(tab, method, **params)
            tab.view = self._view

    async def _settle(self, course: Course, told: Told, before: set[str]) -> None:
        """What changes with a step that was done: the tab, its refs, a tab that the page has opened."""
        name = course.order.step.name
        here = self.binding.target(self.account())
        opened = [one.target for one in self.watch.tabs.values() if one.target not in before and one.opener == here]
        if name == "tab-close":
            await self._go_on(told)
        elif opened and not course.order.step.reads and name not in ("tab-new", "window-new"):
            self.own.add(here)
            if await self.go(opened[-1]):
                course.warnings.append("The page opened a new tab, and the session is at it now.")
        here = self.binding.target(self.account())
        self.own.add(here)
        tab = self.tab()
        page = browsingrefs.page_of(tab.url if tab is not None else self._url_of(told.data, None) or "")
        if (here, page) != (self._here, self._page):
            self.refs = {}
        self._here, self._page = here, page
        if name == "snapshot":
            browsingverbs.shorten(course, told.data)
        self.refs = {**self.refs, **browsingrefs.of_answer(name, told.data)}

    async def _go_on(self, told: Told) -> None:
        """After its tab was closed: to another of its own, and without a name to any that is in front."""
        closed = told.data.get("targetId")
        if closed != self.binding.target(self.account()):
            return
        own = [target for target in self.watch.tabs if target in self.own and target != closed]
        target = own[-1] if own else await self.watch.front(closed) if self.name == MAIN else None
        if target is not None:
            await self.go(target)

    async def go(self, target: str) -> bool:
        """Have the daemon be at this tab; False when it does not know it."""
        listed = await self.runner.run(["tab", "list"])
        tabs = listed.data.get("tabs")
        for one in tabs if isinstance(tabs, list) else ():
            if isinstance(one, dict) and one.get("targetId") == target:
                return (await self.runner.run(["tab", str(one.get("tabId"))])).ok
        return False

    def _url_of(self, data: dict[str, Any], tab: Optional[Tab]) -> Optional[str]:
        found = data.get("url")
        return found if isinstance(found, str) and found else tab.url if tab is not None else None
