"""What acts on a page: going to it, clicking, typing, finding, waiting, tabs and dialogs; awaited. A method each."""

from __future__ import annotations

from typing import Any

from cloudrouter.client import stepping
from cloudrouter.client.aio.browsersteps import AsyncBrowserSteps
from cloudrouter.wire.browserapi import StepAnswer


class AsyncBrowserActs(AsyncBrowserSteps):
    """A part of AsyncBrowser."""

    # -- Navigate ----------------------------------------------------------------------------------------------------

    async def open(self, url: str | None = None, *, timeout: float | None = None) -> StepAnswer:
        """Go to an address; without one, see that the browser is there."""
        return await self.do("open", url, timeout=timeout)

    async def back(self) -> StepAnswer:
        """One page back."""
        return await self.do("back")

    async def forward(self) -> StepAnswer:
        """One page forward."""
        return await self.do("forward")

    async def reload(self, *, timeout: float | None = None) -> StepAnswer:
        """Load the page again."""
        return await self.do("reload", timeout=timeout)

    async def pushstate(self, url: str) -> StepAnswer:
        """Go to an address inside a single-page app."""
        return await self.do("pushstate", url)

    # -- Act ---------------------------------------------------------------------------------------------------------

    async def click(self, selector: str, *, new_tab: bool = False, human: bool = False) -> StepAnswer:
        """Click an element: a `@ref` of the last snapshot, or a CSS selector.

        human: the mouse moves there along a curve.
        """
        return await self.do("click", selector, new_tab=new_tab, human=human)

    async def dblclick(self, selector: str) -> StepAnswer:
        """Click it twice."""
        return await self.do("dblclick", selector)

    async def type(self, selector: str, text: str) -> StepAnswer:
        """Type into an element, after what is there."""
        return await self.do("type", selector, text)

    async def fill(self, selector: str, text: str) -> StepAnswer:
        """Put a text into a field, instead of what is there. NotAField when it is none."""
        return await self.do("fill", selector, text)

    async def press(self, key: str) -> StepAnswer:
        """Press a key: `Enter`, `Tab`, `Control+a`."""
        return await self.do("press", key)

    async def keydown(self, key: str) -> StepAnswer:
        """Hold a key down."""
        return await self.do("keydown", key)

    async def keyup(self, key: str) -> StepAnswer:
        """Let a key go."""
        return await self.do("keyup", key)

    async def keyboard_type(self, text: str) -> StepAnswer:
        """Type into what has the focus, key by key."""
        return await self.do("keyboard-type", text)

    async def keyboard_insert(self, text: str) -> StepAnswer:
        """Insert into what has the focus, as pasting does."""
        return await self.do("keyboard-insert", text)

    async def hover(self, selector: str) -> StepAnswer:
        """Put the mouse over an element."""
        return await self.do("hover", selector)

    async def focus(self, selector: str) -> StepAnswer:
        """Give an element the focus."""
        return await self.do("focus", selector)

    async def select(self, selector: str, *values: str) -> StepAnswer:
        """Choose from a list, by value or by what is seen."""
        return await self.do("select", selector, *values)

    async def check(self, selector: str) -> StepAnswer:
        """Tick a box."""
        return await self.do("check", selector)

    async def uncheck(self, selector: str) -> StepAnswer:
        """Untick a box."""
        return await self.do("uncheck", selector)

    async def scroll(self, direction: str, pixels: float | None = None, *, selector: str | None = None) -> StepAnswer:
        """Scroll `up`, `down`, `left` or `right`; selector: in this element."""
        return await self.do("scroll", direction, pixels, selector=selector)

    async def scrollintoview(self, selector: str) -> StepAnswer:
        """Scroll until an element is seen."""
        return await self.do("scrollintoview", selector)

    async def drag(self, source: str, target: str) -> StepAnswer:
        """Drag one element onto another."""
        return await self.do("drag", source, target)

    async def mouse_move(self, x: float, y: float) -> StepAnswer:
        """Move the mouse, in pixels of the page."""
        return await self.do("mouse-move", x, y)

    async def mouse_down(self, button: str | None = None) -> StepAnswer:
        """Hold a mouse button: `left`, `right`, `middle`."""
        return await self.do("mouse-down", button)

    async def mouse_up(self, button: str | None = None) -> StepAnswer:
        """Let a mouse button go."""
        return await self.do("mouse-up", button)

    async def mouse_wheel(self, dy: float, dx: float | None = None) -> StepAnswer:
        """Turn the wheel, down and to the right."""
        return await self.do("mouse-wheel", dy, dx)

    async def clipboard_write(self, text: str) -> StepAnswer:
        """Put a text into the clipboard."""
        return await self.do("clipboard-write", text)

    async def highlight(self, selector: str) -> StepAnswer:
        """Draw a frame around an element, for whoever watches."""
        return await self.do("highlight", selector)

    # -- Find, wait, script ------------------------------------------------------------------------------------------

    async def find(
        self, locator: str, value: str, *rest: str, name: str | None = None, exact: bool = False
    ) -> StepAnswer:
        """Find an element, and act on it.

        locator: `role`, `text`, `label`, `placeholder`, `alt`, `title`, `testid`, `first`, `last` or `nth`. rest:
        what is done, such as `"click"`, and the text for it. name: of those with this accessible name.
        """
        return await self.do("find", locator, value, *rest, name=name, exact=exact)

    async def wait(
        self,
        what: str | float | None = None,
        *,
        text: str | None = None,
        url: str | None = None,
        load: str | None = None,
        fn: str | None = None,
        state: str | None = None,
        timeout: float | None = None,
    ) -> StepAnswer:
        """Return once an element is there, or after so many milliseconds.

        text: on the page. url: a pattern such as `**/done`. load: `load`, `domcontentloaded` or `networkidle`.
        fn: JavaScript that becomes true. state: of the element: `visible`, `hidden`, `attached`, `detached`.
        TimedOut otherwise.
        """
        return await self.do("wait", what, text=text, url=url, load=load, fn=fn, state=state, timeout=timeout)

    async def evaluate(self, script: str, *, timeout: float | None = None) -> Any:
        """Run JavaScript in the page; what it gives."""
        return stepping.point(await self.do("eval", script, timeout=timeout))

    # -- Tabs, frames, dialogs ---------------------------------------------------------------------------------------

    async def tab_list(self) -> list[Any]:
        """The tabs, each with its `tabId`."""
        return stepping.listed(await self.do("tab-list"))

    async def tab_new(self, url: str | None = None, *, label: str | None = None) -> StepAnswer:
        """Open a tab, and go to it. label: a name to be used as its id."""
        return await self.do("tab-new", url, label=label)

    async def tab_switch(self, tab: str) -> StepAnswer:
        """Go to a tab, by id or label."""
        return await self.do("tab-switch", tab)

    async def tab_close(self, tab: str | None = None) -> StepAnswer:
        """Close a tab; without one, this one."""
        return await self.do("tab-close", tab)

    async def window_new(self) -> StepAnswer:
        """Open a window."""
        return await self.do("window-new")

    async def frame(self, selector: str | None = None) -> StepAnswer:
        """Speak of a frame from now on; `main` or nothing: of the page."""
        return await self.do("frame", selector)

    async def dialog_status(self) -> dict[str, Any]:
        """Whether a dialog is open, and what it says."""
        return (await self.do("dialog-status")).data

    async def dialog_accept(self, text: str | None = None) -> StepAnswer:
        """Say yes to a dialog, with a text for a prompt."""
        return await self.do("dialog-accept", text)

    async def dialog_dismiss(self) -> StepAnswer:
        """Say no to a dialog."""
        return await self.do("dialog-dismiss")
