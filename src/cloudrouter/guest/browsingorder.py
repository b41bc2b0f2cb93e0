"""One step as it was asked for, checked, and what is answered to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cloudrouter.guest import browsingwords
from cloudrouter.wire.browsing import (
    CLOSE,
    DEFAULT_TIMEOUT_S,
    LONGEST_TIMEOUT_S,
    MAIN,
    STEPS,
    Step,
    session_fault,
)
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

SESSIONS = "sessions"
"""The verb that lists the sessions."""
CLOSING = Step(CLOSE, "", "end a session", "", "close")
LISTING = Step(SESSIONS, "", "list the sessions", "", "", reads=True)


@dataclass(frozen=True)
class Order:
    """A step that fits its verb."""

    step: Step
    words: list[str]
    options: dict[str, Any]
    session: str
    timeout_s: float
    bring: bool = False
    """The file that it makes is wanted in the answer."""


@dataclass(frozen=True)
class Answer:
    """What came of a step."""

    data: dict[str, Any]
    warning: Optional[str] = None
    dialog: Optional[dict[str, str]] = None
    file: Optional[dict[str, Any]] = None
    url: Optional[str] = None
    duration_ms: int = 0
    recovered: bool = False


@dataclass
class Course:
    """What is noted of a step while it is done."""

    order: Order
    deadline: float
    """In the loop's time."""
    words: list[str] = field(default_factory=list)
    """Its words, with paths in the machine where files are meant."""
    path: str = ""
    """The file that it makes in the machine, where it makes one."""
    own_path: bool = False
    """The caller has named that file."""
    warnings: list[str] = field(default_factory=list)
    recovered: bool = False


def read(body: object) -> Order:
    """The order in a message; UsageError says what of it cannot be."""
    if not isinstance(body, dict):
        raise UsageError("A step is an object.")
    verb, words, session = body.get("verb"), body.get("words", []), body.get("session", MAIN)
    step = {CLOSE: CLOSING, SESSIONS: LISTING}.get(str(verb)) or STEPS.get(str(verb))
    if step is None:
        raise UsageError(f"There is no verb browser {str(verb)[:40]}.", next="cloudrouter browser help")
    if not isinstance(words, list):
        raise UsageError("words must be a list.")
    fault = session_fault(session)
    if fault:
        raise UsageError(f"A session cannot be called {str(session)[:40]!r}: {fault}.")
    options = browsingwords.check(step, words, body.get("options") or {})
    for word in (*words, *(value for value in options.values() if isinstance(value, str))):
        _check_text(word)
    timeout_s = _timeout(body.get("timeout_s", DEFAULT_TIMEOUT_S))
    return Order(step, words, options, session, timeout_s, body.get("bring") is True)


def _check_text(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError("A word of a step holds what stands for no character.") from None
    if "\0" in word:
        raise UsageError("A word of a step cannot hold a NUL character.")


def _timeout(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST_TIMEOUT_S:
        raise UsageError(f"timeout_s must be a number of seconds, at most {LONGEST_TIMEOUT_S:g}.")
    return float(value)
