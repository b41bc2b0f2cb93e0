"""Refs of snapshots: which of them may still be used, so that none silently means another element."""

from __future__ import annotations

from cloudrouter.wire.errors import StaleRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloudrouter.guest.browsingorder import Order

_SELECTORS = ("SELECTOR", "SELECTOR_OR_MS", "FROM", "TO")


def page_of(url: str) -> str:
    """What of an address tells one page from another: no query, and of a fragment only a route such as #/settings.

    A page may change the rest with every key that is typed, and its elements stay.
    """
    before, _, fragment = url.partition("#")
    return before.partition("?")[0] + (f"#{fragment.partition('?')[0]}" if fragment.startswith(("/", "!/")) else "")


def check(order: Order, refs: dict[str, Any]) -> None:
    """StaleRef for a ref that no snapshot of this page has given.

    agent-browser would look for an element of the same role and name, and find one on another page too.
    """
    for word in _selectors(order):
        name = _ref(word)
        if name and name not in refs:
            raise StaleRef(
                f"Unknown ref: {word[:40]}. No snapshot of this page has it.",
                fix="The page has changed since that snapshot, or it was never taken: take a new one.",
                next="cloudrouter browser snapshot -i ID",
            )


def of_answer(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """The refs that a step has told of, besides those that were known."""
    found = data.get("refs")
    if isinstance(found, dict):
        return found
    if name == "screenshot" and isinstance(data.get("annotations"), list):
        return {str(one.get("ref", "")).lstrip("@"): one for one in data["annotations"] if isinstance(one, dict)}
    if name == "diff-snapshot" and isinstance(data.get("diff"), str):
        pieces = data["diff"].split("ref=e")[1:]
        return {f"e{_digits(piece)}": {} for piece in pieces if _digits(piece)}
    return {}


def _selectors(order: Order) -> list[str]:
    named = [word.strip("[].") for word in order.step.words]
    words = [word for name, word in zip(named, order.words) if name in _SELECTORS]  # noqa: B905 - Python 3.9
    option = order.options.get("selector")
    return [*words, option] if isinstance(option, str) else words


def _ref(word: str) -> str:
    """`e5` of `@e5` and `ref=e5`; empty for what is none."""
    name = word[1:] if word.startswith("@") else word[4:] if word.startswith("ref=") else ""
    return name if name[:1] == "e" and name[1:].isascii() and name[1:].isdigit() else ""


def _digits(text: str) -> str:
    end = 0
    while end < len(text) and end < 9 and text[end] in "0123456789":
        end += 1
    return text[:end]
