"""What Chromium's events tell of consoles, errors and requests, as the items that people and programs read."""

from __future__ import annotations

import json
import time

from cloudrouter.guest.environment import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

CONSOLE, ERRORS, NETWORK = "console", "errors", "network"
KINDS = (CONSOLE, ERRORS, NETWORK)
DOMAINS = {CONSOLE: ("Runtime", "Log"), ERRORS: ("Runtime",), NETWORK: ("Network",)}
TEXT_LETTERS, URL_LETTERS = 10_000, 2000
REQUESTS_MOST = 2000
"""Requests whose end is waited for; the oldest are forgotten."""
_LEVELS = {"verbose": "debug"}


class Items:
    """Makes items of one kind. Whatever a page chose in an event, nothing is believed of it but texts and numbers."""

    def __init__(self, kind: str, since_ms: float) -> None:
        self._kind = kind
        self._since_ms = since_ms
        self._requests: dict[str, dict[str, Any]] = {}
        self.pages: dict[str, str] = {}
        """Tab -> the address of its page."""

    def read(self, event: str, params: dict[str, Any], target: str) -> Optional[dict[str, Any]]:
        """The item of an event; None for one of another kind, or from before the time that is wanted."""
        try:
            found = self._read(event, params)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
            return None
        if found is None:
            return None
        at_ms = found.pop("at_ms", None) or time.time() * 1000
        if at_ms < self._since_ms:
            return None
        page = self.pages.get(target, "")
        return {"time": rfc3339(int(at_ms)), "tab": target, "url": page, **found, "page": page}

    def _read(self, event: str, params: dict[str, Any]) -> Optional[dict[str, Any]]:
        if self._kind == CONSOLE and event == "Runtime.consoleAPICalled":
            text = " ".join(_shown(one) for one in params["args"][:100])
            return {"type": _text(params["type"], 40), "text": text[:TEXT_LETTERS], "at_ms": _ms(params["timestamp"])}
        if self._kind == CONSOLE and event == "Log.entryAdded":
            entry = params["entry"]
            level = _text(entry["level"], 40)
            text = _text(entry["text"], TEXT_LETTERS)
            return {"type": _LEVELS.get(level, level), "text": text, "at_ms": _ms(entry["timestamp"])}
        if self._kind == ERRORS and event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            text = (details.get("exception") or {}).get("description") or details.get("text")
            place = {"line": _whole(details.get("lineNumber")) + 1, "column": _whole(details.get("columnNumber")) + 1}
            source = _text(details.get("url") or "", URL_LETTERS)
            return {
                "type": "error",
                "text": _text(text, TEXT_LETTERS),
                "source": source,
                **place,
                "at_ms": _ms(params["timestamp"]),
            }
        return self._read_request(event, params) if self._kind == NETWORK else None

    def _read_request(self, event: str, params: dict[str, Any]) -> Optional[dict[str, Any]]:
        number = _text(params.get("requestId") or "", 200)
        if event == "Network.requestWillBeSent":
            if len(self._requests) >= REQUESTS_MOST:
                self._requests.pop(next(iter(self._requests)))
            request = params["request"]
            self._requests[number] = {
                "type": _text(params.get("type") or "other", 40).lower(),
                "method": _text(request["method"], 20),
                "url": _text(request["url"], URL_LETTERS),
                "status": None,
                "began": float(params["timestamp"]),
                "at_ms": _ms(float(params["wallTime"]) * 1000),
            }
        elif event == "Network.responseReceived" and number in self._requests:
            response = params["response"]
            self._requests[number]["status"] = _whole(response["status"])
            self._requests[number]["mime"] = _text(response.get("mimeType") or "", 100)
        elif event in ("Network.loadingFinished", "Network.loadingFailed") and number in self._requests:
            return _ended(self._requests.pop(number), params)
        return None


def dropped(count: int) -> dict[str, Any]:
    """The item that stands for those that nobody took in time."""
    now = rfc3339(int(time.time() * 1000))
    return {"time": now, "tab": "", "url": "", "type": "dropped", "text": f"{count} more came than could be told."}


def _ended(found: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    began = found.pop("began")
    found["duration_ms"] = max(0, round((float(params["timestamp"]) - began) * 1000))
    if "encodedDataLength" in params:
        found["bytes"] = _whole(params["encodedDataLength"])
    else:
        found["error"] = _text(params.get("errorText") or "failed", 200)
    outcome = found["status"] if found["status"] is not None else found.get("error", "")
    return {**found, "text": f"{found['method']} {outcome} {found['url']}"}


def _shown(argument: dict[str, Any]) -> str:
    """One argument of console.log, about as the browser's own console shows it."""
    if "value" in argument:
        value = argument["value"]
        return value if isinstance(value, str) else json.dumps(value)
    preview = argument.get("preview")
    if isinstance(preview, dict):
        parts = [f"{one.get('name')}: {one.get('value')}" for one in preview.get("properties", [])[:20]]
        if preview.get("subtype") == "array":
            return "[" + ", ".join(part.partition(": ")[2] for part in parts) + "]"
        return f"{{{', '.join(parts)}{', ...' if preview.get('overflow') else ''}}}"
    return str(argument.get("unserializableValue") or argument.get("description") or argument.get("type"))


def _text(value: object, letters: int) -> str:
    return value[:letters] if isinstance(value, str) else ""


def _whole(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) else 0


def _ms(value: object) -> float:
    """A time in milliseconds since 1970, of this age."""
    found = float(value) if isinstance(value, (int, float)) else 0.0
    return found if 0 < found < 1e14 else 0.0
