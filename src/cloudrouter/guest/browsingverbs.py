"""The verbs that take more than one command of agent-browser, or another than it would do."""

from __future__ import annotations

import asyncio

from cloudrouter.guest import browsingdevices, browsingfaults, browsingfields, browsingfiles, browsingwords
from cloudrouter.guest.browsingtool import Told
from cloudrouter.wire.errors import StepFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any, Optional

    from cloudrouter.guest.browsingfiles import Files
    from cloudrouter.guest.browsingorder import Course
    from cloudrouter.guest.browsingsession import Session
    from cloudrouter.guest.browsingwatch import Tab

SLICE_S = 2.0
"""A wait is done in pieces, so that a session whose wait was broken off is free soon."""
CLOSED_S = 1.0
COMPACT_LETTERS = 30_000
CLIPBOARD = ("clipboard-read", "clipboard-write")
PERMISSIONS = {
    "clipboard-read": {"name": "clipboard-read"},
    "clipboard-write": {"name": "clipboard-write", "allowWithoutSanitization": False},
    "set-geo": {"name": "geolocation"},
}
"""What pages are allowed when a verb needs it: Chromium would ask the person, and the step would wait for that."""
BLANK = "about:blank"


async def do(session: Session, course: Course, tab: Optional[Tab]) -> Told:
    """What comes of the step."""
    name = course.order.step.name
    if name in browsingdevices.VERBS:
        view = browsingdevices.read(name, course.words)
        await session.set_view(view)
        return _done(view.told() if view is not None else {"off": True})
    if name.startswith("dialog-") and tab is not None and tab.dialog is not None:
        return await _answer_dialog(session, course, tab)
    if name in _OWN:
        return await _OWN[name](session, course, tab)
    if name in PERMISSIONS:
        await session.watch.ask_browser("Browser.setPermission", permission=PERMISSIONS[name], setting="granted")
    if name in CLIPBOARD and tab is not None:
        return await _clipboard(session, course, tab)
    told = await plain(session, course, tab)
    if name == "tab-list":
        await _name_tabs(session, told)
    if name == "download":  # it has led all downloads to a folder of agent-browser's own, also those of a click
        where = {"behavior": "allow", "downloadPath": session.downloads}
        await session.watch.ask_browser("Browser.setDownloadBehavior", **where)
    if name == "open" and browsingfaults.is_gone(told):
        course.warnings.append("The session's tab was closed; this is a new one.")
        target = course.words[0] if course.words else BLANK
        told = await session.runner.run(["tab", "new", target], deadline=course.deadline)
        tab = session.tab()
    if name in ("open", "reload") and told.ok and tab is not None:
        await _tell_status(session, course, tab, told)
    return told


async def _tell_status(session: Session, course: Course, tab: Tab, told: Told) -> None:
    """What the server said of the page: an error page looks like any other."""
    found = await _see(session, tab, browsingfields.STATUS)
    status = found.get("status") if found is not None else None
    if isinstance(status, int) and status > 0:
        told.data["status"] = status
        if status >= 400:
            course.warnings.append(f"The server answered {status}.")


async def _read(session: Session, course: Course, tab: Optional[Tab]) -> Told:
    """The text as it is laid out: agent-browser's own reading has what is hidden too."""
    if tab is None:
        return await plain(session, course, tab)
    left = max(0.1, course.deadline - asyncio.get_running_loop().time())
    answer = await session.watch.ask(
        tab,
        "Runtime.evaluate",
        timeout_s=left,
        expression="(document.body || document.documentElement).innerText",
        returnByValue=True,
    )
    text = answer.get("result", {}).get("value")
    return _done({"content": text if isinstance(text, str) else "", "url": tab.url})


async def _tick(session: Session, course: Course, tab: Optional[Tab]) -> Told:
    """Only what may be a box: agent-browser would click anything, and call that done."""
    selector = course.words[0]
    if selector.startswith("@"):
        if not browsingfields.may_tick(selector, session.refs):
            raise browsingfields.no_box(selector, browsingfields.role_of(selector, session.refs))
    elif tab is not None:
        found = await _see(session, tab, f"{browsingfields.BOX}({browsingfields.quoted(selector)})")
        if found is not None and not found.get("ticks"):
            raise browsingfields.no_box(selector, str(found.get("what")))
    return await plain(session, course, tab)


async def _name_tabs(session: Session, told: Told) -> None:
    """Put the titles of now into a list of tabs: agent-browser keeps those of when each tab was made."""
    tabs, titles = told.data.get("tabs"), await session.watch.titles()
    for one in tabs if isinstance(tabs, list) else ():
        if isinstance(one, dict):
            one["title"] = titles.get(str(one.get("targetId"))) or one.get("title")


def _done(data: dict[str, Any]) -> Told:
    return Told(ok=True, data=data)


async def plain(session: Session, course: Course, tab: Optional[Tab], then: Optional[Sequence[str]] = None) -> Told:
    """The step's own command; then: one more after it."""
    flags, argv = browsingwords.command(course.order.step, course.words, course.order.options)
    return await session.runner.run(argv, flags=flags, deadline=course.deadline, tab=tab, then=then)


async def _clipboard(session: Session, course: Course, tab: Tab) -> Told:
    """By the guest's own connection, for which the page thinks that it has the keyboard: else Chromium refuses."""
    reads = course.order.step.name == CLIPBOARD[0]
    script = "readText()" if reads else f"writeText({browsingfields.quoted(course.words[0])})"
    await session.watch.ask(tab, "Page.bringToFront")
    left = course.deadline - asyncio.get_running_loop().time()
    answer = await session.watch.ask(
        tab,
        "Runtime.evaluate",
        timeout_s=max(0.1, left),
        expression=f"navigator.clipboard.{script}",
        awaitPromise=True,
        returnByValue=True,
        userGesture=True,
    )
    fault = answer.get("exceptionDetails")
    if isinstance(fault, dict):
        text = str((fault.get("exception") or {}).get("description") or fault.get("text"))
        return Told(ok=False, data={}, error=text)
    return _done({"text": answer.get("result", {}).get("value")} if reads else {"written": course.words[0]})


def place_files(session: Session, course: Course, files: Files) -> None:
    """The step's words with paths in the machine: of a fresh file where it makes one; those given must be there."""
    step, words = course.order.step, list(course.order.words)
    if step.gives:
        at = [word.strip("[].") for word in step.words].index(step.gives)
        if len(words) > at and not words[at].startswith("/"):
            raise UsageError("A file of a step is named by its absolute path in the machine.")
        course.own_path = len(words) > at
        if not course.own_path:
            suffix = browsingfiles.suffix_for(step.suffix, course.order.options.get("format"))
            words[at:] = [files.new(session.account(), f"{step.name}{suffix}")]
        course.path = words[at]
    if step.takes:
        at = [word.strip("[].") for word in step.words].index(step.takes)
        for path in words[at:]:
            browsingfiles.check_given(session.account(), path)
    course.words = words


async def _answer_dialog(session: Session, course: Course, tab: Tab) -> Told:
    """By the guest's own connection: the session's daemon may hang behind the dialog."""
    dialog = tab.dialog or {}
    if course.order.step.name == "dialog-status":
        shown = {"type": dialog["type"], "message": dialog["message"], "defaultPrompt": dialog["default"]}
        return _done({"hasDialog": True, **shown})
    accept = course.order.step.name == "dialog-accept"
    text: dict[str, Any] = {}
    if accept and dialog.get("type") == "prompt":
        text["promptText"] = course.words[0] if course.words else dialog.get("default", "")
    await session.watch.ask(tab, "Page.handleJavaScriptDialog", accept=accept, **text)
    await session.watch.until(tab, lambda one: one.dialog is not dialog, CLOSED_S)
    if tab.dialog is dialog:
        tab.dialog = None
    return _done({"accepted": accept, "handled": True, "dialog": dialog})


async def _wait(session: Session, course: Course, tab: Optional[Tab]) -> Told:
    loop = asyncio.get_running_loop()
    word = course.words[0].strip() if course.words else ""
    if course.words and not word:
        raise UsageError("browser wait: a selector that is empty finds nothing.")
    if not course.words and not set(course.order.options) - {"state"}:
        raise UsageError("browser wait: say for what.", next="cloudrouter browser wait --help")
    if word.isascii() and word.isdigit():
        return await _pause(session, course, tab, int(word[:12]))
    flags, argv = browsingwords.command(course.order.step, course.words, course.order.options)
    while True:
        left = course.deadline - loop.time()
        piece = min(SLICE_S, max(left, 0.05))
        words = [*argv, "--timeout", str(max(1, round(piece * 1000)))]
        told = await session.runner.run(words, flags=flags, deadline=course.deadline + SLICE_S, tab=tab)
        if not browsingfaults.is_timeout(told) or loop.time() >= course.deadline:
            return told


async def _pause(session: Session, course: Course, tab: Optional[Tab], ms: int) -> Told:
    if ms > course.order.timeout_s * 1000:
        raise UsageError(
            f"{ms} ms are longer than the step's {course.order.timeout_s:g} s.",
            fix=f"Give it more time: --timeout {-(-ms // 1000) + 1}s.",
        )
    end = asyncio.get_running_loop().time() + ms / 1000
    if tab is None:
        await asyncio.sleep(ms / 1000)
    elif await session.watch.until(tab, lambda one: one.dialog is not None, end - asyncio.get_running_loop().time()):
        raise browsingfaults.dialog_open(tab.dialog)
    return _done({"waited": "timeout", "ms": ms})


async def _fill(session: Session, course: Course, tab: Optional[Tab]) -> Told:
    """Only what is a field; then see that it holds the text."""
    selector, text = course.words[0], course.words[1]
    kind = await _kind(session, course, tab, selector)
    if kind == browsingfields.EDITABLE and tab is not None:
        return await _fill_editable(session, course, tab)
    told = await plain(session, course, tab, ["get", "value", selector] if kind == browsingfields.FIELD else None)
    if told.ok and told.then is not None and told.then.ok:
        value = told.then.data.get("value")
        if isinstance(value, str) and value != text:
            course.warnings.append(f"The field holds {value[:100]!r} now, which is not what was filled in.")
    return told


async def _kind(session: Session, course: Course, tab: Optional[Tab], selector: str) -> str:
    """What the selector finds; NotAField when it is surely no field."""
    known = browsingfields.by_role(selector, session.refs)
    if known == browsingfields.OTHER:
        raise browsingfields.refusal(selector, browsingfields.role_of(selector, session.refs))
    if known == browsingfields.FIELD or tab is None:
        return known
    found = None
    if not selector.startswith("@"):
        found = await _see(session, tab, f"{browsingfields.BY_SELECTOR}({browsingfields.quoted(selector)})")
    if found is None:
        focused = await session.runner.run(["focus", selector], deadline=course.deadline, tab=tab)
        if not focused.ok:
            raise browsingfaults.error_of(focused, course.order.timeout_s)
        box = await session.runner.run(["get", "box", selector], deadline=course.deadline, tab=tab)
        found = await _see(session, tab, browsingfields.ACTIVE)
        if not box.ok or (found is not None and not browsingfields.is_there(found, box.data)):
            raise browsingfields.refusal(selector, "something that cannot have the focus")
    if found is None:
        return browsingfields.UNKNOWN
    if found.get("kind") == browsingfields.OTHER:
        raise browsingfields.refusal(selector, str(found.get("what")))
    return str(found.get("kind"))


async def _see(session: Session, tab: Tab, expression: str) -> Optional[dict[str, Any]]:
    try:
        answer = await session.watch.ask(tab, "Runtime.evaluate", expression=expression, returnByValue=True)
    except StepFailed:
        return None
    value = answer.get("result", {}).get("value")
    return value if isinstance(value, dict) else None


async def _fill_editable(session: Session, course: Course, tab: Tab) -> Told:
    """All that is in it is selected, and the text inserted instead, as pasting does."""
    selector, text = course.words[0], course.words[1]
    focused = await session.runner.run(["focus", selector], deadline=course.deadline, tab=tab)
    if not focused.ok:
        return focused
    await session.watch.ask(tab, "Runtime.evaluate", expression=browsingfields.SELECT_ALL)
    argv = ["keyboard", "inserttext", text] if text else ["press", "Delete"]
    told = await session.runner.run(argv, deadline=course.deadline, tab=tab)
    return Told(told.ok, {"filled": selector} if told.ok else {}, told.error, told.code, told.warning)


def shorten(course: Course, data: dict[str, Any]) -> None:
    """A compact snapshot stays small, however large the page is: it ends at a line, and says so."""
    text = data.get("snapshot")
    if not course.order.options.get("compact") or not isinstance(text, str) or len(text) <= COMPACT_LETTERS:
        return
    kept = text[: text.rfind("\n", 0, COMPACT_LETTERS) + 1] or text[:COMPACT_LETTERS]
    left = text.count("\n", len(kept)) + 1
    data["snapshot"] = f"{kept}- ... {left} more lines: take a part of the page with --selector or --depth"
    refs = data.get("refs")
    if isinstance(refs, dict):
        data["refs"] = {name: one for name, one in refs.items() if f"ref={name}]" in kept or f"ref={name}," in kept}
    data["truncated"] = True


_OWN: dict[str, Callable[[Session, Course, Optional[Tab]], Awaitable[Told]]] = {
    "wait": _wait,
    "fill": _fill,
    "read": _read,
    "check": _tick,
    "uncheck": _tick,
}
"""Verbs that are done in a way of their own."""
