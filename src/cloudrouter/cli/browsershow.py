"""How answers of the browser are shown: a line, a text, or a table; nothing of a page can harm a terminal."""

from __future__ import annotations

import json
import sys

from cloudrouter.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloudrouter.wire.browsing import Step

RAW = frozenset(("get-text", "get-html", "get-value", "get-attr", "read", "eval", "clipboard-read", "storage"))
"""Verbs whose text goes out as it is where no terminal would obey it."""
LOUD = {"error": "red", "warning": "yellow", "warn": "yellow"}


def show(step: Step, answer: dict[str, Any]) -> None:
    """Print what a step gave."""
    data = answer["data"]
    special = _SPECIAL.get(step.name)
    if special is not None:
        special(data)
    elif step.shows in data:
        _show_value(step, data)
    else:
        done(answer)


def done(answer: dict[str, Any]) -> None:
    """That it is done, and where the page is now."""
    url = answer.get("url")
    output.say(f"done  {output.escape(url)}" if url else "done")


def text(value: str, *, raw: bool = False) -> None:
    """A text of a page, line by line, escaped unless it is to stay as it is and nobody looks at it."""
    if raw and not output.is_terminal(sys.stdout):
        output.say(value)
        return
    for line in value.removesuffix("\n").split("\n"):
        output.say("\t".join(output.escape(part) for part in line.split("\t")))


def as_json(value: Any) -> None:
    """A value of a page as JSON, for eyes and programs."""
    output.say(json.dumps(value, indent=2))


def _show_value(step: Step, data: dict[str, Any]) -> None:
    value = data[step.shows]
    if isinstance(value, str):
        text(value, raw=step.name in RAW)
    elif isinstance(value, bool):
        output.say("true" if value else "false")
    elif value is None:
        output.say(output.escape(data.get("unserializable", "null")) if step.name == "eval" else "")
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        for one in value:
            output.say(output.escape(one))
    else:
        as_json(value)
    if step.name == "open" and data.get("title"):
        output.note(output.escape(data["title"]))


# -- lists ----------------------------------------------------------------------------------------------------------


def _objects(data: dict[str, Any], word: str) -> list[dict[str, Any]]:
    found = data.get(word)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _table(headers: list[str], rows: list[list[str]], none: str, shrink: tuple[int, ...]) -> None:
    if not rows:
        output.note(none)
        return
    for line in output.table(headers, rows, shrink=shrink):
        output.say(line)


def _tabs(data: dict[str, Any]) -> None:
    rows = [
        [
            "*" if one.get("active") else "",
            str(one.get("tabId")),
            str(one.get("label") or "-"),
            str(one.get("title") or "-"),
            str(one.get("url")),
        ]
        for one in _objects(data, "tabs")
    ]
    _table(["", "TAB", "LABEL", "TITLE", "ADDRESS"], rows, "No tabs.", (3, 4))


def _cookies(data: dict[str, Any]) -> None:
    rows = []
    for one in _objects(data, "cookies"):
        flags = [word for word, key in (("http-only", "httpOnly"), ("secure", "secure")) if one.get(key)]
        flags += [str(one["sameSite"])] if one.get("sameSite") else []
        row = [str(one.get(key, "")) for key in ("name", "value", "domain", "path")]
        rows.append([*row, _expiry(one.get("expires")), ",".join(flags) or "-"])
    _table(["NAME", "VALUE", "DOMAIN", "PATH", "EXPIRES", "FLAGS"], rows, "No cookies.", (1, 2))


def _expiry(at: Any) -> str:
    if not isinstance(at, (int, float)) or not 0 < at < 1e11:
        return "session"
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _requests(data: dict[str, Any]) -> None:
    if "requests" not in data:
        done({"data": data})
        return
    rows = [
        [
            str(one.get("status") or "-"),
            str(one.get("method") or "-"),
            str(one.get("resourceType") or "-").lower(),
            str(one.get("requestId") or "-"),
            str(one.get("url") or "-"),
        ]
        for one in _objects(data, "requests")
    ]
    _table(["STATUS", "METHOD", "TYPE", "REQUEST", "ADDRESS"], rows, "No requests.", (4,))


def _console(data: dict[str, Any]) -> None:
    if "messages" not in data:
        done({"data": data})
        return
    messages = _objects(data, "messages")
    for one in messages:
        message(str(one.get("type") or "log"), str(one.get("text", "")))
    if not messages:
        output.note("The console is empty.")


def _errors(data: dict[str, Any]) -> None:
    if "errors" not in data:
        done({"data": data})
        return
    found = _objects(data, "errors")
    for one in found:
        message("error", str(one.get("text", "")))
    if not found:
        output.note("No errors.")


def message(kind: str, said: str, before: str = "") -> None:
    """`error     Error: oops`; the lines behind the first one are indented."""
    shown = output.escape(kind)
    first, *more = said.split("\n")
    style = LOUD.get(kind)
    word = output.paint(f"{shown:<8}", style, sys.stdout) if style else f"{shown:<8}"
    output.say(f"{before}{word}  {output.escape(first)}".rstrip())
    for line in more:
        output.say(f"{' ' * 10}{output.escape(line.strip())}")


def _sessions(data: dict[str, Any]) -> None:
    from cloudrouter.cli.times import age

    rows = [
        [
            str(one.get("name")),
            "busy" if one.get("busy") else "-",
            str(one.get("steps", "-")),
            age(str(one["since"])) if isinstance(one.get("since"), str) else "-",
            str(one.get("url") or "-"),
        ]
        for one in _objects(data, "sessions")
    ]
    _table(["SESSION", "NOW", "STEPS", "SINCE", "ADDRESS"], rows, "No session is open.", (4,))


# -- single things --------------------------------------------------------------------------------------------------


def _pairs(data: dict[str, Any]) -> None:
    """One `name value` a line; values that are no words as JSON."""
    rows = [(output.escape(key), _word(value)) for key, value in data.items() if key not in ("origin", "selector")]
    for line in output.pairs(rows):
        output.say(line.strip())


def _word(value: Any) -> str:
    return output.escape(value) if isinstance(value, str) else json.dumps(value)


def _styles(data: dict[str, Any]) -> None:
    found = data.get("styles")
    _pairs(found if isinstance(found, dict) else {})


def _storage(data: dict[str, Any]) -> None:
    if "key" in data:
        value = data.get("value")
        text(value if isinstance(value, str) else "", raw=True)
        return
    found = data.get("data")
    if not isinstance(found, dict) or not found:
        output.note("It is empty.")
        return
    for key, value in found.items():
        output.say(f"{output.escape(key)}={_word(value)}")


def _dialog(data: dict[str, Any]) -> None:
    if not data.get("hasDialog"):
        output.say("no dialog is open")
        return
    begins = f', begins with "{output.escape(data["defaultPrompt"])}"' if data.get("defaultPrompt") else ""
    output.say(f'{output.escape(data.get("type"))}: "{output.escape(data.get("message"))}"{begins}')


def _barriers(data: dict[str, Any]) -> None:
    """Each rule that is broken, and by what; the counts on stderr."""
    for one in _objects(data, "violations"):
        impact = str(one.get("impact") or "minor")
        output.say(f"{output.escape(impact):<9} {output.escape(one.get('id'))}: {output.escape(one.get('help'))}")
        for node in _objects(one, "nodes"):
            target = node.get("target")
            output.say(
                f"{' ' * 10}{output.escape(' '.join(map(str, target if isinstance(target, list) else [target])))}"
            )
    counts = data.get("counts")
    counted = counts if isinstance(counts, dict) else {}
    output.note(f"{_count(counted, 'violations')} broken, {_count(counted, 'passes')} kept, "
                f"{_count(counted, 'incomplete')} to be looked at by a person")  # fmt: skip


def _count(counts: dict[str, Any], word: str) -> int:
    return counts[word] if isinstance(counts.get(word), int) else 0


_MOST = 1e12


def _vitals(data: dict[str, Any]) -> None:
    largest, shift = data.get("lcp"), data.get("cls")
    found = {
        "LCP": largest.get("startTime") if isinstance(largest, dict) else largest,
        "FCP": data.get("fcp"),
        "TTFB": data.get("ttfb"),
        "INP": data.get("inp"),
        "CLS": shift.get("score") if isinstance(shift, dict) else shift,
    }
    for name, value in found.items():
        number = isinstance(value, (int, float)) and -_MOST < value < _MOST
        unit = "" if name == "CLS" or not number else " ms"
        output.say(f"{name:<4}  {f'{value:g}{unit}' if number else '-'}")


def _difference(data: dict[str, Any]) -> None:
    if data.get("changed") is False:
        output.note("Nothing has changed.")
        return
    text(str(data.get("diff", "")))


_SPECIAL: dict[str, Callable[[dict[str, Any]], None]] = {
    "a11y": _barriers,
    "console": _console,
    "cookies": _cookies,
    "dialog-status": _dialog,
    "diff-snapshot": _difference,
    "errors": _errors,
    "get-box": _pairs,
    "get-styles": _styles,
    "network": _requests,
    "network-request": as_json,
    "network-requests": _requests,
    "sessions": _sessions,
    "storage-local": _storage,
    "storage-session": _storage,
    "tab-list": _tabs,
    "vitals": _vitals,
}
"""Verbs whose answer is more than one word."""
