"""What is asked of a machine's browser, and what the machine says of it: both are checked word by word."""

from __future__ import annotations

import binascii
import json
from typing import Any

from cloudrouter.server.guests.browserchannels import Result
from cloudrouter.server.guests.connections import said_by_machine
from cloudrouter.wire import browsing
from cloudrouter.wire.browserapi import Dialog, MadeFile, Step, StepAnswer
from cloudrouter.wire.browsing import CLOSE, LONGEST_TIMEOUT_S, MAIN, STEPS
from cloudrouter.wire.errors import (
    BrowserDown,
    CloudRouterError,
    DialogOpen,
    Internal,
    NotAField,
    StaleRef,
    TabGone,
    UsageError,
)

SESSIONS = "sessions"
"""The verb that lists sessions."""
_TEXT = 64 * 1024
_NAME = 255
_DIALOGS = ("alert", "confirm", "prompt", "beforeunload")


def checked(asked: Step, *, session: str = MAIN) -> dict[str, Any]:
    """The step as it travels to the guest; UsageError for what the table of verbs does not know."""
    chosen = session if asked.session is None else asked.session
    fault = browsing.session_fault(chosen)
    if fault:
        raise UsageError(f"{chosen[:40]!r} is not a session's name: {fault}.")
    if not 0 < asked.timeout_s <= LONGEST_TIMEOUT_S:
        raise UsageError(f"A step cannot take {asked.timeout_s:g} s.", fix=f"Give up to {LONGEST_TIMEOUT_S:g} seconds.")
    if asked.verb in (CLOSE, SESSIONS):
        if asked.words or asked.options:
            raise UsageError(f"{asked.verb} takes no words and no options.")
        options: dict[str, Any] = {}
    else:
        step = STEPS.get(asked.verb)
        if step is None:
            raise UsageError(
                f"There is no step {asked.verb[:40]!r}.", fix="See which there are.", next="cloudrouter browser help"
            )
        _check_words(step, asked.words)
        options = _options(step, asked.options)
    wanted = {
        "verb": asked.verb,
        "words": asked.words,
        "options": options,
        "session": chosen,
        "timeout_s": asked.timeout_s,
    }
    if asked.bring:
        wanted["bring"] = True
    if len(json.dumps(wanted)) > browsing.REQUEST_LIMIT:
        raise UsageError(
            f"The step {asked.verb} is longer than {browsing.REQUEST_LIMIT} bytes.",
            fix="Put what is long into a file, or do it in pieces.",
        )
    return wanted


def changes_nothing(verb: str) -> bool:
    """Whether it may be done again when nobody knows whether it was done."""
    return verb == SESSIONS or (verb in STEPS and STEPS[verb].reads)


def _check_words(step: browsing.Step, words: list[str]) -> None:
    # The file that a step makes may be left to the machine: then it chooses a place, and says which.
    named = [word for word in step.words if word.strip("[].") != step.gives]
    short = browsing.Step(step.name, step.group, step.help, " ".join(named), "") if step.gives else step
    fault = browsing.words_fault(step if len(words) > len(named) else short, words)
    if fault:
        shape = " ".join(step.words)
        raise UsageError(
            f"The step {step.name} is not right: {fault}.", fix=f"Its words are {shape}." if shape else "It has none."
        )
    made = words[len(named) :] if step.gives else []
    needed = words[len(named) - 1 :] if step.takes else []
    for path in (*made, *needed):
        if not path.startswith("/"):
            raise UsageError(
                f"{path[:80]!r} is no file in the machine: its path does not begin with a slash.",
                fix="Send the file first, and give the path that it has there.",
            )


def _options(step: browsing.Step, given: dict[str, Any]) -> dict[str, Any]:
    known = {option.name: option for option in step.options}
    found: dict[str, Any] = {}
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            have = ", ".join(f"--{one}" for one in known) or "none"
            raise UsageError(f"The step {step.name} has no option {name[:40]!r}.", fix=f"It has {have}.")
        if option.value:
            if not isinstance(value, str):
                raise UsageError(f"The option {name} of {step.name} is a text: {option.value}.")
            found[name] = value
        elif value is True:
            found[name] = True
        elif value is not False:
            raise UsageError(f"The option {name} of {step.name} is true or false.")
    return found


# -- what the machine says ------------------------------------------------------------------------------------------


def read_answer(wanted: dict[str, Any], result: Result, machine_id: str) -> StepAnswer:
    """The answer in a guest's result; raises the error that it tells, with advice of our own."""
    said = result.said
    if "error" in said:
        raise step_error(said["error"], wanted, machine_id)
    data = said.get("data")
    if not isinstance(data, dict):
        raise Internal("The machine did not say what came of the step.")
    duration = said.get("duration_ms")
    return StepAnswer(
        verb=wanted["verb"],
        session=wanted["session"],
        data=data,
        warning=_text(said.get("warning")),
        dialog=_dialog(said.get("dialog")),
        file=_file(said.get("file"), wanted),
        url=_text(said.get("url")),
        duration_ms=duration if type(duration) is int and 0 <= duration < 2**53 else 0,
        recovered=said.get("recovered") is True,
    )


def step_error(body: Any, wanted: dict[str, Any], machine_id: str) -> CloudRouterError:
    """A guest's error about a step. Its advice is not handed on; the command that helps is ours."""
    details = body.get("details") if isinstance(body, dict) else None
    error = said_by_machine(body)
    if isinstance(error, DialogOpen) and isinstance(details, dict):
        dialog = _dialog(details.get("dialog"))
        if dialog is not None:
            error.details = {"dialog": {"type": dialog.type, "message": dialog.message, "default": dialog.default}}
    for kind, verb in _HELPS.items():
        if isinstance(error, kind):
            error.next = _command(verb, wanted["session"], machine_id)
    for sign, fix, verb in _SIGNS:
        if sign in error.message and not error.next:
            error.fix = fix
            own = verb in STEPS or " " in verb
            error.next = _command(verb, wanted["session"], machine_id) if own else f"cloudrouter {verb} {machine_id}"
    return error


_SIGNS = (
    ("ERR_CONNECTION_REFUSED", "Nothing listens there: see what does, or wait until it is up.", "ports"),
    ("ERR_NAME_NOT_RESOLVED", "The machine knows no host of that name: check the address.", "url"),
    ("says: Tab ", "See which tabs there are.", "tab-list"),
    ("No dialog is showing", "No dialog is open in this tab: see what is there.", "snapshot -i"),
    (
        "Element not found",
        "Take a snapshot and use its @refs. A selector finds nothing in a frame; refs do, and so does `browser frame`.",
        "snapshot -i",
    ),
    ("not a file input", "Choose the file field: a snapshot shows it as a button with the text of its label.",
     "snapshot -i"),
)  # fmt: skip
"""What agent-browser says -> what helps, and the verb for it."""


_HELPS: dict[type[CloudRouterError], str] = {
    StaleRef: "snapshot -i",
    NotAField: "snapshot -i",
    DialogOpen: "dialog-accept",
    TabGone: "tab-list",
    BrowserDown: "snapshot -i",
}
"""What helps against which error."""


def _command(verb: str, session: str, machine_id: str) -> str:
    beside = "" if session == MAIN else f"--session {session} "
    return f"cloudrouter browser {verb} {beside}{machine_id}"


def _dialog(said: Any) -> Dialog | None:
    if not isinstance(said, dict):
        return None
    kind = said.get("type")
    return Dialog(
        type=kind if kind in _DIALOGS else "alert",
        message=_text(said.get("message")) or "",
        default=_text(said.get("default")),
    )


def _file(said: Any, wanted: dict[str, Any]) -> MadeFile | None:
    """The file that the step has made: where it was to be made, or in the folder for that, and nowhere else."""
    step = STEPS.get(wanted["verb"])
    if said is None or step is None or not step.gives:
        return None
    path, size, name = (said.get(key) if isinstance(said, dict) else None for key in ("path", "size", "name"))
    if not (isinstance(path, str) and path.startswith("/") and path.isprintable() and len(path) < 4096):
        raise Internal("The machine did not say where the file is that the step has made.")
    asked = wanted["words"][len([word for word in step.words if word.strip("[].") != step.gives]) :]
    if path not in asked and (asked or not path.startswith(f"{browsing.FOLDER}/out/") or ".." in path):
        raise Internal("The machine named another place for the file than it was to be in.")
    if type(size) is not int or size < 0:
        raise Internal("The machine did not say how long the file is that the step has made.")
    return MadeFile(path, size, _file_name(name), _content(said.get("content"), size))


def _content(said: Any, size: int) -> str | None:
    """A file's bytes in base64; None, and it is fetched, where they are not all of it."""
    if not isinstance(said, str) or size > browsing.BRING_LIMIT or len(said) != 4 * -(-size // 3):
        return None
    try:
        whole = len(binascii.a2b_base64(said, strict_mode=True)) == size
    except ValueError:
        return None
    return said if whole else None


def _file_name(name: Any) -> str:
    """A name without folders, that can be printed; the page chose it."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1] if isinstance(name, str) else ""
    kept = "".join(c for c in last if c.isprintable())[:_NAME].strip()
    return "" if kept in (".", "..") else kept


def _text(value: Any) -> str | None:
    return value[:_TEXT] if isinstance(value, str) else None
