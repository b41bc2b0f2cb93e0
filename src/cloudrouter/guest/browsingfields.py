"""What is to be filled, seen before it is: agent-browser would type into whatever has the focus, and call that done."""

from __future__ import annotations

import json

from cloudrouter.wire.errors import NotAField

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

_NEAR = 2.0
FIELD, EDITABLE, OTHER, UNKNOWN = "field", "editable", "other", "unknown"
_ROLES = ("textbox", "searchbox", "spinbutton", "Date", "DateTime", "InputTime", "ColorWell", "slider")
_UNSURE = ("combobox", "generic", "paragraph", "textarea", "document", "application", "group", "region", "article")
"""Roles that fields have and others, too: an input with a list and a select, and whatever can be edited."""

DESCRIBE = """
(function (element) {
    if (!element || !element.tagName) return {kind: "other", what: "nothing"};
    const tag = element.tagName.toLowerCase(), type = tag === "input" ? (element.type || "text") : "";
    const shown = "<" + tag + (type ? " type=" + type : "") + ">";
    const typed = !["button", "submit", "reset", "image", "checkbox", "radio", "file", "hidden"].includes(type);
    const isField = tag === "textarea" || (tag === "input" && typed);
    if (isField && element.disabled) return {kind: "other", what: "a field that is disabled, " + shown};
    if (isField && element.readOnly) return {kind: "other", what: "a field that is read-only, " + shown};
    if (isField) return {kind: "field", what: shown};
    return {kind: element.isContentEditable ? "editable" : "other", what: shown};
})
"""
BY_SELECTOR = (
    "(function (selector) { let found; try { found = document.querySelector(selector) } catch (error) { return null } "
    "return found ? %s(found) : null })" % DESCRIBE
)
"""Of what a CSS selector finds in the page itself; null where it finds nothing, or is no CSS selector."""
ACTIVE = (
    "(function () { let found = document.activeElement, inside = false; for (;;) {"
    " if (found && found.shadowRoot && found.shadowRoot.activeElement) found = found.shadowRoot.activeElement;"
    " else if (found && found.tagName === 'IFRAME') {"
    " let inner = null; try { inner = found.contentDocument } catch (error) { inner = null }"
    " if (!inner) return null; found = inner.activeElement; inside = true }"
    " else break }"
    " const told = %s(found);"
    " if (!inside && found) { const box = found.getBoundingClientRect();"
    " told.box = [box.x, box.y, box.width, box.height]; told.scroll = [scrollX, scrollY] }"
    " return told })()" % DESCRIBE
)
"""Of what has the focus; null where that is in a frame of another site."""
SELECT_ALL = (
    "(function () { let found = document.activeElement;"
    " while (found && found.shadowRoot && found.shadowRoot.activeElement) found = found.shadowRoot.activeElement;"
    " getSelection().selectAllChildren(found) })()"
)


BOX = (
    "(function (selector) { let found; try { found = document.querySelector(selector) } catch (error) { return null } "
    "if (!found) return null; const box = 'input[type=checkbox], input[type=radio]', role = found.getAttribute('role');"
    " const ticks = found.matches(box) || found.querySelector(box) || (found.control && found.control.matches(box)) ||"
    " found.closest('label') || /^(checkbox|radio|switch|menuitemcheckbox|menuitemradio|option|treeitem)$/.test(role);"
    " const type = found.tagName === 'INPUT' ? ' type=' + found.type : '';"
    " return {ticks: Boolean(ticks), what: '<' + found.tagName.toLowerCase() + type + '>'} })"
)
"""Whether what a CSS selector finds in the page itself can be ticked; null where it finds nothing, or is none."""
STATUS = "({status: (performance.getEntriesByType('navigation')[0] || {}).responseStatus || 0})"
"""The HTTP status of the page itself; 0 where there is none, as for a file."""
_BOXES = (
    "checkbox",
    "radio",
    "switch",
    "menuitemcheckbox",
    "menuitemradio",
    "option",
    "treeitem",
    "LabelText",
    "generic",
)


def may_tick(selector: str, refs: dict[str, Any]) -> bool:
    """Whether a ref is a box, as far as the snapshot tells."""
    known = refs.get(selector.lstrip("@"))
    role = known.get("role") if isinstance(known, dict) else None
    return not isinstance(role, str) or role in _BOXES


def no_box(selector: str, what: str) -> NotAField:
    """The error of ticking something that is no box."""
    return NotAField(
        f"{selector[:200]} is no box that can be ticked: it is {what[:100]}.",
        fix="Choose a checkbox, a radio button or a switch of the snapshot.",
        next="cloudrouter browser snapshot -i ID",
    )


def is_there(found: dict[str, Any], box: dict[str, Any]) -> bool:
    """Whether what has the focus lies where the selector's element does: else that cannot have the focus at all."""
    mine, scroll = found.get("box"), found.get("scroll")
    try:
        wanted = [float(box[key]) for key in ("x", "y", "width", "height")]
        places = [(mine[0], mine[1]), (mine[0] + scroll[0], mine[1] + scroll[1])] if mine and scroll else []
    except (KeyError, TypeError, ValueError, IndexError):
        return True  # it cannot be told, as in a frame
    sizes = mine is None or all(abs(mine[at] - wanted[at]) < _NEAR for at in (2, 3))
    near = not places or any(abs(x - wanted[0]) < _NEAR and abs(y - wanted[1]) < _NEAR for x, y in places)
    return sizes and near


def by_role(selector: str, refs: dict[str, Any]) -> str:
    """What the last snapshot says of a ref."""
    name = selector[1:] if selector.startswith("@") else selector[4:] if selector.startswith("ref=") else selector
    known = refs.get(name)
    role = known.get("role") if isinstance(known, dict) else None
    if not isinstance(role, str):
        return UNKNOWN
    return FIELD if role in _ROLES else UNKNOWN if role in _UNSURE else OTHER


def refusal(selector: str, what: str) -> NotAField:
    """The error of a fill of something that is no field."""
    return NotAField(
        f"{selector[:200]} is no field that can be filled: it is {what[:100]}.",
        fix="Fill a textbox of the snapshot; for a list take select, for a box check, for a key press.",
        next="cloudrouter browser snapshot -i ID",
    )


def quoted(text: str) -> str:
    """The text as JavaScript has it."""
    return json.dumps(text)


def role_of(selector: str, refs: dict[str, Any]) -> str:
    """The role that the last snapshot gave it, for people."""
    known: Optional[Any] = refs.get(selector.lstrip("@"))
    role, name = (known.get("role"), known.get("name")) if isinstance(known, dict) else ("", "")
    return f"a {role} {str(name)[:60]!r}" if name else f"a {role}"
