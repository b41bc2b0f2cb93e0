"""What agent-browser's complaints mean, as errors that say what to do."""

from __future__ import annotations

from cloudrouter.wire.browsing import ACT, FIND, NAVIGATE, WAIT
from cloudrouter.wire.errors import (
    BrowserDown,
    CloudRouterError,
    DialogOpen,
    StaleRef,
    StepFailed,
    TabGone,
    TimedOut,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from cloudrouter.guest.browsingorder import Order
    from cloudrouter.guest.browsingtool import Told
    from cloudrouter.guest.browsingwatch import Tab
    from cloudrouter.wire.browsing import Step

ERROR_LETTERS = 2000
_STALE = (
    "Unknown ref",
    "Ref not found",
    "stale",
    "Stale ref",
    "Could not locate element with role=",
    "Could not resolve ref",
    "No node with given id",
    "Could not find node",
)
_DOWN = (
    "channel closed",
    "WebSocket",
    "connection closed",
    "Connection refused",
    "CDP connection",
    "Failed to connect",
    "ECONNREFUSED",
)
_SILENT = ("not responding", "did not recover", "Target crashed", "target crashed", "CDP command timed out")


def is_timeout(told: Told) -> bool:
    """Whether agent-browser's own patience has ended."""
    return not told.ok and told.error.startswith(("Wait timed out", "Timed out after"))


def is_silent(told: Told) -> bool:
    """Whether the tab seems to have crashed or to hang."""
    return not told.ok and any(text in told.error for text in _SILENT)


def is_down(told: Told) -> bool:
    """Whether the browser seems to have ended."""
    return not told.ok and any(text in told.error for text in _DOWN)


def is_gone(told: Told) -> bool:
    """Whether the session's tab was closed."""
    return told.code == "tab_gone" or told.error.startswith("tab_gone")


def error_of(told: Told, timeout_s: float) -> CloudRouterError:
    """The error of a command that failed."""
    text = told.error[:ERROR_LETTERS] or "The browser could not do this."
    if is_gone(told):
        return tab_gone()
    if any(one in text for one in _STALE):
        return StaleRef(
            f"{text}.",
            fix="The page has changed since that snapshot: take a new one.",
            next="cloudrouter browser snapshot -i ID",
        )
    if text.startswith("A JavaScript"):
        return dialog_open(None)
    if is_timeout(told):
        return timed_out(timeout_s)
    if is_down(told):
        return BrowserDown(f"The browser ended, or does not answer: {text}", fix="Try it again: it is started again.")
    if text.startswith(("Missing arguments", "Unknown command", "Invalid", "Usage")):
        return UsageError(f"agent-browser does not take this: {text}")
    if text.startswith("Tab ") and "not found" in text:
        return StepFailed(
            f"{text.partition(';')[0]}.", fix="See which there are.", next="cloudrouter browser tab-list ID"
        )
    if "undefined (reading 'readText')" in text or "undefined (reading 'writeText')" in text:
        return StepFailed("Chromium keeps the clipboard from this page: only those of https:// and localhost get it.")
    return StepFailed(text, fix="Look at the page.", next="cloudrouter browser snapshot -i ID")


def needs_page(step: Step) -> bool:
    """Whether a step would do something to a page that may be another than the caller thinks."""
    return not step.reads and step.group in (ACT, FIND, WAIT, NAVIGATE)


def tab_gone(message: str = "The tab of this session was closed.") -> TabGone:
    """The session's tab is not there any more."""
    return TabGone(
        message,
        fix="Open a page, which makes a new tab, or go to another tab.",
        next="cloudrouter browser tab-list ID",
    )


LOST = "To end it, the session was begun again at the same tab: its refs, routes, headers and recordings are gone."


def timed_out(timeout_s: float) -> TimedOut:
    """It was not done within the step's time."""
    return TimedOut(
        f"It was not done within {timeout_s:g} s.",
        fix="Look at the page, or give it more time: --timeout.",
        next="cloudrouter browser screenshot ID page.png",
    )


def with_place(error: TimedOut, order: Order, tab: Optional[Tab]) -> TimedOut:
    """With what was waited for and where the page is. Of other verbs than `wait` the words may be secrets."""
    waited = order.step.name == "wait"
    words = [*order.words, *(f"--{name} {value}" for name, value in order.options.items())] if waited else []
    what = " ".join([order.step.name, *words])[:200]
    error.message = f"`{what}`: {error.message[:1].lower()}{error.message[1:]}"
    if tab is not None and tab.url:
        error.message += f" The page is at {tab.url[:300]}."
    return error


def dialog_open(dialog: Optional[dict[str, str]]) -> DialogOpen:
    """A dialog is in the way."""
    said = f": {dialog['message'][:200]!r}" if dialog and dialog.get("message") else ""
    kind = dialog["type"] if dialog and dialog.get("type") else "dialog"
    return DialogOpen(
        f"A {kind} of the page waits for its answer{said}.",
        fix="Answer it with dialog-accept or dialog-dismiss.",
        next="cloudrouter browser dialog-accept ID",
        **({"dialog": dialog} if dialog else {}),
    )
