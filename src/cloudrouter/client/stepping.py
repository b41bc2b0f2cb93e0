"""Steps of a machine's browser as requests, and their answers as values: what both SDKs share. No I/O."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cloudrouter.client.requests import read_record
from cloudrouter.wire import browsing
from cloudrouter.wire.browserapi import (
    CDP_SECONDS,
    PATIENCE_S,
    BatchAnswer,
    Cdp,
    Dialog,
    FailedStep,
    MadeFile,
    StepAnswer,
)
from cloudrouter.wire.browsing import DEFAULT_TIMEOUT_S, STEPS
from cloudrouter.wire.errors import Conflict, Internal, UsageError, from_json

T = TypeVar("T")
BatchStep = Mapping[str, Any] | Sequence[str]
"""A step of a batch: its words as on the command line, or an object with `verb`, `words`, `options` ..."""
KINDS = ("console", "errors", "network")
"""What can be followed."""


@dataclass(frozen=True)
class Snapshot:
    """The page as an outline."""

    text: str
    """Line by line, with a `[ref=e1]` at each element that has one."""
    refs: dict[str, Any]
    """`e1` -> its `role` and `name`; the other verbs take `@e1`."""


@dataclass(frozen=True)
class StepSettings:
    """Of every step of one Browser object."""

    session: str = browsing.MAIN
    timeout_s: float = DEFAULT_TIMEOUT_S

    def changed(self, session: str | None, timeout: float | None) -> StepSettings:
        """With another session or time; UsageError for what can be neither."""
        made = StepSettings(
            self.session if session is None else session, self.timeout_s if timeout is None else float(timeout)
        )
        fault = browsing.session_fault(made.session)
        if fault:
            raise UsageError(f"{made.session[:40]!r} is not a session's name: {fault}.")
        return made


def step_body(
    settings: StepSettings,
    verb: str,
    words: Iterable[object],
    options: Mapping[str, object],
    timeout: float | None,
    *,
    bring: bool = True,
) -> dict[str, Any]:
    """The body of `POST .../browser`. Words may be numbers; options that are None or False are left out.

    bring: have a small file that the step makes in its answer.
    """
    given = [str(word) for word in words if word is not None]
    brings = {"bring": True} if bring and verb in STEPS and STEPS[verb].gives else {}
    return {
        "verb": verb,
        "words": given,
        "options": {name.replace("_", "-"): _value(one) for name, one in options.items() if _is_given(one)},
        "session": settings.session,
        "timeout_s": settings.timeout_s if timeout is None else float(timeout),
        **brings,
    }


def patience(body: Mapping[str, Any]) -> float:
    """How long the answer to a step, or to a batch, is waited for: the browser may have to start first."""
    steps = body.get("steps", [body])
    return PATIENCE_S + sum(float(one.get("timeout_s", DEFAULT_TIMEOUT_S)) for one in steps)


def read_step(answer: Any) -> StepAnswer:
    """The answer to a step."""
    if not isinstance(answer, dict):
        raise Internal("The router's answer cannot be read: it is no object.")
    parts = {"dialog": _known(Dialog, answer.get("dialog")), "file": _known(MadeFile, answer.get("file"))}
    return read_record(StepAnswer, {**answer, **parts})


def point(answer: StepAnswer) -> Any:
    """What the verb is about: the one value that the table says, or all of the data."""
    shows = STEPS[answer.verb].shows
    return answer.data if shows in ("", "*") else answer.data.get(shows)


def text(answer: StepAnswer) -> str:
    """The point of an answer that is a text."""
    return _typed(answer, str, "text")


def truth(answer: StepAnswer) -> bool:
    """The point of an answer that is yes or no."""
    return _typed(answer, bool, "yes or no")


def count(answer: StepAnswer) -> int:
    """The point of an answer that is a number."""
    return _typed(answer, int, "number")


def listed(answer: StepAnswer) -> list[Any]:
    """The point of an answer that is a list."""
    return _typed(answer, list, "list")


def snapshot(answer: StepAnswer) -> Snapshot:
    """The outline and its refs."""
    refs = answer.data.get("refs")
    return Snapshot(text(answer), refs if isinstance(refs, dict) else {})


def made_file(answer: StepAnswer) -> MadeFile:
    """The file that a step has made."""
    if answer.file is None:
        raise Internal(f"The machine did not say where the file of {answer.verb} is.")
    return answer.file


def file_target(path: str | os.PathLike[str], name: str = "") -> str:
    """Where a made file goes here: into a folder under the page's name for it, which can be no path."""
    target = os.fspath(path)
    if not (target.endswith("/") or os.path.isdir(target)):
        return target
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise UsageError(f"{target} is a folder.", fix="Give the file a name.")
    if os.path.lexists(os.path.join(target, name)):
        # The machine chose the name: it may be that of anything.
        raise Conflict(f"{os.path.join(target, name)} is there already.", fix="Give the file a name.")
    return os.path.join(target, name)


def sessions(answer: StepAnswer) -> list[dict[str, Any]]:
    """The sessions that a machine's browser has."""
    found = answer.data.get("sessions")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Internal("The machine did not list its sessions in a way that can be read.")
    return found


def inbox(local: str | os.PathLike[str]) -> str:
    """Where a file of this host goes in the machine for a step that needs it: a place that nobody guesses."""
    name = os.path.basename(os.path.abspath(os.fspath(local))) or "file"
    return f"{browsing.FOLDER}/in/{secrets.token_hex(8)}/{name}"


def batch_body(settings: StepSettings, steps: Iterable[BatchStep], *, keep_going: bool) -> dict[str, Any]:
    """The body of `POST .../browser/batch`; UsageError for what is no step."""
    made = [_batch_step(index, one, settings) for index, one in enumerate(steps)]
    return {"steps": made, "session": settings.session, "keep_going": keep_going}


def read_batch(answer: Any) -> BatchAnswer:
    """The answer to a batch, with StepAnswer or FailedStep for each step that was begun."""
    answers = answer.get("answers") if isinstance(answer, dict) else None
    if not isinstance(answers, list):
        raise Internal("The router's answer cannot be read: it has no answers.")
    read = [
        read_record(FailedStep, one) if isinstance(one, dict) and "error" in one else read_step(one) for one in answers
    ]
    picture = _known(MadeFile, answer.get("screenshot"))
    return read_record(BatchAnswer, {**answer, "answers": read, "screenshot": picture})


def check_batch(answer: BatchAnswer) -> BatchAnswer:
    """The answer; raises the error of the first step that failed."""
    failed = None if answer.failed is None else answer.answers[answer.failed]
    if isinstance(failed, FailedStep):
        error = from_json(failed.error)
        error.details = {**error.details, "step": answer.failed}
        raise error
    return answer


def cdp_body(ttl: float | None) -> dict[str, Any]:
    """The body of `POST .../browser/cdp`."""
    return {"ttl_s": CDP_SECONDS if ttl is None else float(ttl)}


def read_cdp(answer: Any) -> Cdp:
    """A debugging address."""
    return read_record(Cdp, answer)


def follow_request(settings: StepSettings, kind: str) -> dict[str, Any]:
    """The first message of a stream that tells what happens in the browser from now on."""
    if kind not in KINDS:
        raise UsageError(f"{kind[:40]!r} cannot be followed.", fix=f"One of {', '.join(KINDS)}.")
    return {"op": "browser.follow", "kind": kind, "session": settings.session, "since_now": True}


def read_item(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """The thing that a message of such a stream tells; None where it tells none."""
    item = message.get("item")
    return item if isinstance(item, dict) else None


def _batch_step(index: int, step: BatchStep, settings: StepSettings) -> dict[str, Any]:
    if isinstance(step, Mapping):
        given = dict(step)
        session, timeout = given.pop("session", None), given.pop("timeout_s", None)
        options, words = given.pop("options", {}), given.pop("words", [])
        verb = given.pop("verb", None)
        if given or not isinstance(verb, str) or not isinstance(options, Mapping) or isinstance(words, str):
            raise _no_step(index)
        body = step_body(settings, verb, words, options, timeout, bring=False)
        return {**body, "session": session}
    if isinstance(step, str) or not step:
        raise _no_step(index)
    verb, *rest = step
    return {**step_body(settings, str(verb), rest, {}, None, bring=False), "session": None}


def _no_step(index: int) -> UsageError:
    return UsageError(
        f"Step {index + 1} is none.",
        fix='Give its words, as ["click", "@e2"], or {"verb": "screenshot", "options": {"full": True}}.',
    )


def _known(kind: Any, value: Any) -> Any:
    """The object without fields that a newer router added."""
    names = {one.name for one in dataclasses.fields(kind)}
    return {key: one for key, one in value.items() if key in names} if isinstance(value, dict) else value


def _typed(answer: StepAnswer, kind: type[T], called: str) -> T:
    value = point(answer)
    if type(value) is not kind:
        raise Internal(f"The machine's answer to {answer.verb} cannot be read: it has no {called}.")
    return value


def _is_given(value: object) -> bool:
    return value is not None and value is not False


def _value(value: object) -> object:
    if value is True or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
