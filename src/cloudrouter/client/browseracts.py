"""What acts on a page: going to it, clicking, typing, finding, waiting, tabs and dialogs. A method each."""

from __future__ import annotations

from typing import Any

from cloudrouter.client import stepping
from cloudrouter.client.browsersteps import BrowserSteps
from cloudrouter.wire.browserapi import StepAnswer


class BrowserActs(BrowserSteps):
    """A part of Browser."""

    # -- Navigate ----------------------------------------------------------------------------------------------------

    def open(self, url: str | None = None, *, timeout: float | None = None) -> StepAnswer:
        """Go to an address; without one, see that the browser is there."""
        return self.do("open", url, timeout=timeout)

    def back(self) -> StepAnswer:
        """One page back."""
        return self.do("back")

    def forward(self) -> StepAnswer:
        """One page forward."""
        return self.do("forward")

    def reload(self, *, timeout: float | None = None) -> StepAnswer:
        """Load the page again."""
        return self.do("reload", timeout=timeout)

    def pushstate(self, url: str) -> StepAnswer:
        """Go to an address inside a single-page app."""
        return self.do("pushstate", url)

    # -- Act ---------------------------------------------------------------------------------------------------------

    def click(self, selector: str, *, new_tab: bool = False, human: bool = False) -> StepAnswer:
        """Click an element: a `@ref` of the last snapshot, or a CSS selector.

        human: the mouse moves there along a curve.
        """
        return self.do("click", selector, new_tab=new_tab, human=human)

    def dblclick(self, selector: str) -> StepAnswer:
        """Click it twice."""
        return self.do("dblclick", selector)

    def type(self, selector: str, text: str) -> StepAnswer:
        """Type into an element, after what is there."""
        return self.do("type", selector, text)

    def fill(self, selector: str, text: str) -> StepAnswer:
        """Put a text into a field, instead of what is there. NotAField when it is none."""
        return self.do("fill", selector, text)

    def press(self, key: str) -> StepAnswer:
        """Press a key: `Enter`, `Tab`, `Control+a`."""
        return self.do("press", key)

    def keydown(self, key: str) -> StepAnswer:
        """Hold a key down."""
        return self.do("keydown", key)

    def keyup(self, key: str) -> StepAnswer:
        """Let a key go."""
        return self.do("keyup", key)

    def keyboard_type(self, text: str) -> StepAnswer:
        """Type into what has the focus, key by key."""
        return self.do("keyboard-type", text)

    def keyboard_insert(self, text: str) -> StepAnswer:
        """Insert into what has the focus, as pasting does."""
        return self.do("keyboard-insert", text)

    def hover(self, selector: str) -> StepAnswer:
        """Put the mouse over an element."""
        return self.do("hover", selector)

    def focus(self, selector: str) -> StepAnswer:
        """Give an element the focus."""
        return self.do("focus", selector)

    def select(self, selector: str, *values: str) -> StepAnswer:
        """Choose from a list, by value or by what is seen."""
        return self.do("select", selector, *values)

    def check(self, selector: str) -> StepAnswer:
        """Tick a box."""
        return self.do("check", selector)

    def uncheck(self, selector: str) -> StepAnswer:
        """Untick a box."""
        return self.do("uncheck", selector)

    def scroll(self, direction: str, pixels: float | None = None, *, selector: str | None = None) -> StepAnswer:
        """Scroll `up`, `down`, `left` or `right`; selector: in this element."""
        return self.do("scroll", direction, pixels, selector=selector)

    def scrollintoview(self, selector: str) -> StepAnswer:
        """Scroll until an element is seen."""
        return self.do("scrollintoview", selector)

    def drag(self, source: str, target: str) -> StepAnswer:
        """Drag one element onto another."""
        return self.do("drag", source, target)

    def mouse_move(self, x: float, y: float) -> StepAnswer:
        """Move the mouse, in pixels of the page."""
        return self.do("mouse-move", x, y)

    def mouse_down(self, button: str | None = None) -> StepAnswer:
        """Hold a mouse button: `left`, `right`, `middle`."""
        return self.do("mouse-down", button)

    def mouse_up(self, button: str | None = None) -> StepAnswer:
        """Let a mouse button go."""
        return self.do("mouse-up", button)

    def mouse_wheel(self, dy: float, dx: float | None = None) -> StepAnswer:
        """Turn the wheel, down and to the right."""
        return self.do("mouse-wheel", dy, dx)

    def clipboard_write(self, text: str) -> StepAnswer:
        """Put a text into the clipboard."""
        return self.do("clipboard-write", text)

    def highlight(self, selector: str) -> StepAnswer:
        """Draw a frame around an element, for whoever watches."""
        return self.do("highlight", selector)

    # -- Find, wait, script ------------------------------------------------------------------------------------------

    def find(self, locator: str, value: str, *rest: str, name: str | None = None, exact: bool = False) -> StepAnswer:
        """Find an element, and act on it.

        locator: `role`, `text`, `label`, `placeholder`, `alt`, `title`, `testid`, `first`, `last` or `nth`. rest:
        what is done, such as `"click"`, and the text for it. name: of those with this accessible name.
        """
        return self.do("find", locator, value, *rest, name=name, exact=exact)

    def wait(
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
        return self.do("wait", what, text=text, url=url, load=load, fn=fn, state=state, timeout=timeout)

    def evaluate(self, script: str, *, timeout: float | None = None) -> Any:
        """Run JavaScript in the page; what it gives."""
        return stepping.point(self.do("eval", script, timeout=timeout))

    # -- Tabs, frames, dialogs ---------------------------------------------------------------------------------------

    def tab_list(self) -> list[Any]:
        """The tabs, each with its `tabId`."""
        return stepping.listed(self.do("tab-list"))

    def tab_new(self, url: str | None = None, *, label: str | None = None) -> StepAnswer:
        """Open a tab, and go to it. label: a name to be used as its id."""
        return self.do("tab-new", url, label=label)

    def tab_switch(self, tab: str) -> StepAnswer:
        """Go to a tab, by id or label."""
        return self.do("tab-switch", tab)

    def tab_close(self, tab: str | None = None) -> StepAnswer:
        """Close a tab; without one, this one."""
        return self.do("tab-close", tab)

    def window_new(self) -> StepAnswer:
        """Open a window."""
        return self.do("window-new")

    def frame(self, selector: str | None = None) -> StepAnswer:
        """Speak of a frame from now on; `main` or nothing: of the page."""
        return self.do("frame", selector)

    def dialog_status(self) -> dict[str, Any]:
        """Whether a dialog is open, and what it says."""
        return (self.do("dialog-status")).data

    def dialog_accept(self, text: str | None = None) -> StepAnswer:
        """Say yes to a dialog, with a text for a prompt."""
        return self.do("dialog-accept", text)

    def dialog_dismiss(self) -> StepAnswer:
        """Say no to a dialog."""
        return self.do("dialog-dismiss")
