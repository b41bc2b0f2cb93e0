"""The guest's own eye on Chromium: which tabs there are, which have crashed, which wait for a dialog's answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from cloudrouter.guest import cdp
from cloudrouter.guest.log import describe, log
from cloudrouter.wire.errors import BrowserDown, StepFailed, TabGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from cloudrouter.guest.browsingdevices import View
    from cloudrouter.guest.cdp import Cdp

ATTACH_S = 0.5
"""For so long is waited for tabs to be attached at first; one that hangs or has crashed answers later or never."""
TEXT = 2000
"""Letters of a dialog's text that are kept, and of an address."""
TABS_MOST = 1000
ALERT = "alert"
PASSING = (ALERT, "beforeunload")
"""Dialogs that agent-browser answers by itself, in a moment."""
ALERTS_MOST = 5


@dataclass
class Tab:
    """One tab of the window."""

    target: str
    url: str = ""
    opener: str = ""
    session: str = ""
    """By which this connection speaks to it; empty until it is attached."""
    crashed: bool = False
    gone: bool = False
    dialog: Optional[dict[str, str]] = None
    alerts: list[str] = field(default_factory=list)
    """What alerts have said since that was told last."""
    view: Optional[View] = None
    """How it was made to be; see browsingdevices."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set and made anew whenever the dialog or the crash changes."""

    def change(self) -> None:
        """Wake who waits for a change."""
        self.changed.set()
        self.changed = asyncio.Event()


class Watch:
    """What is known of the tabs, kept current by one connection."""

    def __init__(self) -> None:
        self.port = 0
        """Chromium's debugging port."""
        self._cdp: Optional[Cdp] = None
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Future[None]] = set()
        self.tabs: dict[str, Tab] = {}
        self.browser = ""
        """Which browser this is: another one after each start; empty before the first."""

    @property
    def is_open(self) -> bool:
        """Whether the connection is there."""
        return self._cdp is not None and self._cdp.is_open

    async def ready(self) -> Cdp:
        """The connection, opened where there is none; BrowserDown when the browser does not answer."""
        async with self._opening:
            if self._cdp is None or not self._cdp.is_open:
                self.tabs.clear()
                self._cdp = await cdp.open_browser(self.port, self._heard)
                await self._cdp.ask("Target.setDiscoverTargets", discover=True)
                if self._tasks:
                    await asyncio.wait(set(self._tasks), timeout=ATTACH_S)
                self.browser = self._cdp.browser
            return self._cdp

    async def until_closed(self) -> None:
        """Wait until the connection has ended; at once where there is none."""
        if self._cdp is not None:
            await self._cdp.until_closed()

    async def close(self) -> None:
        """Leave the browser alone."""
        connection, self._cdp = self._cdp, None
        if connection is not None:
            await connection.close()
        self.tabs.clear()

    async def front(self, but: object = None) -> Optional[str]:
        """The tab that was in front last, without one: Chromium lists the one that was used last first."""
        listed = await cdp.get(self.port, "/json/list")
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict) and one.get("type") == "page" and one.get("id") in self.tabs and one["id"] != but:
                return str(one["id"])
        return None

    async def titles(self) -> dict[str, str]:
        """Target -> what is written on its tab now; no event tells that a page has another title."""
        answer = await self.ask_browser("Target.getTargets")
        listed = answer.get("targetInfos")
        return {
            str(one.get("targetId")): str(one.get("title") or "")[:TEXT]
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, dict)
        }

    async def ask(self, tab: Tab, method: str, *, timeout_s: float = cdp.ASK_S, **params: Any) -> dict[str, Any]:
        """Ask one tab."""
        connection = await self.ready()
        if self.tabs.get(tab.target) is not tab:
            raise TabGone("The tab was closed.") if tab.gone else BrowserDown("The browser has ended.")
        if not tab.session:
            await self._attach(tab)
        return await connection.ask(method, tab.session, timeout_s=timeout_s, **params)

    async def ask_browser(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser itself."""
        return await (await self.ready()).ask(method, **params)

    async def heard_alerts(self, tab: Tab) -> list[str]:
        """What alerts of the tab have said, each told once, after they were accepted."""
        if tab.dialog is not None and tab.dialog["type"] in PASSING:
            await self.until(tab, lambda one: one.dialog is None, 1.0)
        said, tab.alerts = tab.alerts, []
        return [f"The page showed an alert, which was accepted: {text!r}." for text in said]

    async def until(self, tab: Tab, condition: Callable[[Tab], bool], timeout_s: float) -> bool:
        """Whether the condition comes to hold within the time."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not condition(tab):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(tab.changed.wait(), left)
            except asyncio.TimeoutError:
                return condition(tab)
        return True

    async def answers(self, tab: Tab) -> bool:
        """Whether the tab's page still does anything."""
        try:
            await self.ask(tab, "Runtime.evaluate", timeout_s=1.0, expression="1")
        except (BrowserDown, TabGone):
            raise
        except StepFailed:
            return False
        return True

    async def revive(self, tab: Tab, timeout_s: float) -> None:
        """Load a crashed page again in its tab; StepFailed when it does not come back."""
        await self.ask(tab, "Page.reload", timeout_s=timeout_s)
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not await self.answers(tab):
            if asyncio.get_running_loop().time() > deadline:
                raise StepFailed("The page crashed, and does not come back.", fix="Close the tab and open another one.")
        tab.crashed = False

    def _heard(self, event: str, params: dict[str, Any], session: str) -> None:
        if event.startswith("Target."):
            self._target_event(event[len("Target.") :], params)
            return
        tab = next((one for one in self.tabs.values() if one.session == session), None)
        if tab is None:
            return
        if event == "Page.javascriptDialogOpening":
            words = {
                "type": params.get("type"),
                "message": params.get("message"),
                "default": params.get("defaultPrompt"),
            }
            tab.dialog = {key: str(value or "")[:TEXT] for key, value in words.items()}
            if tab.dialog["type"] == ALERT and len(tab.alerts) < ALERTS_MOST:
                tab.alerts.append(tab.dialog["message"][:200])
            tab.change()
        elif event == "Page.javascriptDialogClosed":
            tab.dialog = None
            tab.change()
        elif event in ("Inspector.targetCrashed", "Inspector.targetReloadedAfterCrash"):
            tab.crashed = event == "Inspector.targetCrashed"
            tab.change()

    def _target_event(self, event: str, params: dict[str, Any]) -> None:
        info = params.get("targetInfo") or {}
        target = str(info.get("targetId") or params.get("targetId") or "")
        if event in ("targetCreated", "targetInfoChanged") and info.get("type") == "page":
            tab = self.tabs.get(target)
            if tab is None and len(self.tabs) < TABS_MOST:
                tab = self.tabs[target] = Tab(target, opener=str(info.get("openerId") or ""))
                self._do(self._attach(tab))
            if tab is not None:
                tab.url = str(info.get("url") or "")[:TEXT]
        elif event == "targetDestroyed":
            tab = self.tabs.pop(target, None)
            if tab is not None:
                tab.gone = True
                tab.change()
        elif event == "targetCrashed" and target in self.tabs:
            self.tabs[target].crashed = True
            self.tabs[target].change()

    async def _attach(self, tab: Tab) -> None:
        if self._cdp is None or tab.session:
            return
        answer = await self._cdp.ask("Target.attachToTarget", targetId=tab.target, flatten=True)
        tab.session = str(answer.get("sessionId") or "")
        await self._cdp.ask("Inspector.enable", tab.session)
        await self._cdp.ask("Page.enable", tab.session)
        # A tab behind another one draws nothing, and a click waits for that 5 s or is lost: several work at once here.
        await self._cdp.ask("Emulation.setFocusEmulationEnabled", tab.session, enabled=True)

    def _do(self, work: Any) -> None:
        def done(task: asyncio.Future[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and task.exception() is not None and not isinstance(task.exception(), StepFailed):
                log(f"a tab cannot be watched: {describe(task.exception())}")  # type: ignore[arg-type]

        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(done)
