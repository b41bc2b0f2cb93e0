"""The verbs on a machine's browser: one step, many at once, a door for programs that speak CDP."""

from __future__ import annotations

import time
from typing import Any

import structlog

from cloudrouter.server.guests.browserchannels import BrowserChannels, Result, Unsent
from cloudrouter.server.services import stepreading
from cloudrouter.server.services.cdpkeys import no_browser
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.doors import known_apps
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import browsing, states
from cloudrouter.wire.browserapi import Batch, BatchAnswer, FailedStep, MadeFile, Step, StepAnswer
from cloudrouter.wire.errors import (
    BrowserDown,
    CloudRouterError,
    DialogOpen,
    NotConfigured,
    NotFound,
    NotRunning,
    StepFailed,
    Unreachable,
    UsageError,
)

EVIDENCE_S = 10.0
"""How long the picture and the outline of a failed step's page may take, each."""
_NO_EVIDENCE = (DialogOpen, BrowserDown, Unreachable, NotConfigured, NotRunning)
"""Failures behind which the page cannot be looked at."""

_NO_OPERATION = "There is no operation"
"""What a guest says of an operation that it is too old for."""

log = structlog.get_logger("browser")


class Browsing:
    """Everything that may be asked of machines' browsers."""

    def __init__(self, context: Context, machines: Machines, channels: BrowserChannels, traffic: Traffic) -> None:
        self._context = context
        self._machines = machines
        self._channels = channels
        self._traffic = traffic
        context.watchers.append(self._watch)

    async def step(self, owner: str, ref: str, asked: Step) -> StepAnswer:
        """Do one step; the browser is started where it does not run. Whoever stops waiting cancels it."""
        wanted = stepreading.checked(asked)
        row = self._machines.reachable(owner, ref)
        answer, _letters = await self._do(row, wanted)
        return answer

    async def batch(self, owner: str, ref: str, asked: Batch) -> BatchAnswer:
        """Do many steps one after another; at the first failure, unless told otherwise, stop and look at the page."""
        if not 0 < len(asked.steps) <= browsing.STEPS_MOST:
            raise UsageError(f"A batch has 1 to {browsing.STEPS_MOST} steps, not {len(asked.steps)}.")
        steps = [_checked_in_place(index, one, asked.session) for index, one in enumerate(asked.steps)]
        row = self._machines.reachable(owner, ref)
        began = time.monotonic()
        answers: list[StepAnswer | FailedStep] = []
        failed: int | None = None
        failure: CloudRouterError | None = None
        letters = 0
        for index, wanted in enumerate(steps):
            try:
                answer, length = await self._do(row, wanted)
                letters += length
                if letters > browsing.ANSWER_LIMIT:
                    raise _too_long()
                answers.append(answer)
            except CloudRouterError as error:
                answers.append(FailedStep(wanted["verb"], wanted["session"], error.to_json()))
                if failed is None:
                    failed, failure = index, error
                if not asked.keep_going or letters > browsing.ANSWER_LIMIT:
                    break
        picture, outline = await self._evidence(row, steps[failed], failure) if failed is not None else (None, None)
        done = sum(1 for one in answers if isinstance(one, StepAnswer))
        return BatchAnswer(answers, done, failed, picture, outline, round((time.monotonic() - began) * 1000))

    # -- inside -------------------------------------------------------------------------------------------------

    async def _do(self, row: Row, wanted: dict[str, Any]) -> tuple[StepAnswer, int]:
        with self._traffic.stream(row.id):
            try:
                result = await self._ask(row, wanted)
                return stepreading.read_answer(wanted, result, row.id), result.letters
            except (NotFound, UsageError) as error:
                await self._explain(row, error)
                raise

    async def _ask(self, row: Row, wanted: dict[str, Any]) -> Result:
        """The guest's result. A step under which the stream broke is done again only where that harms nobody."""
        try:
            return await self._channels.ask(row, wanted)
        except Unreachable as error:
            self._machines.still_reachable(row)
            if not isinstance(error, Unsent) and not stepreading.changes_nothing(wanted["verb"]):
                raise
            log.debug("a step goes out again", machine=row.id, reason=error.message)
        try:
            return await self._channels.ask(row, wanted)
        except Unsent as error:
            raise Unreachable(error.message, next=f"cloudrouter status {row.id}") from None

    async def _explain(self, row: Row, error: CloudRouterError) -> None:
        """Raise what is behind a refusal where the machine has no browser: its own words may say anything."""
        apps = await self._apps(row)
        if apps is None or browsing.APP not in apps:
            raise no_browser(row.id) from error
        if _NO_OPERATION in error.message:
            raise NotConfigured(
                f"{row.id} was made by an older CloudRouter: its browser is for people and programs, not for verbs.",
                fix="Start a new machine; this one goes on as it is, and `vnc` shows its desktop.",
                next="cloudrouter start --image desktop",
            ) from error

    async def _apps(self, row: Row) -> set[str] | None:
        """The machine's apps; None where its guest is from before there were any."""
        try:
            answer = await self._context.guests.ask(row, {"op": "app.list"})
        except UsageError:
            return None
        return {one["name"] for one in known_apps(answer)}

    async def _evidence(
        self, row: Row, wanted: dict[str, Any], failure: CloudRouterError | None
    ) -> tuple[MadeFile | None, str | None]:
        """A picture and an outline of the page that a step failed on; None for what cannot be had."""
        if isinstance(failure, _NO_EVIDENCE):
            return None, None
        session = wanted["session"]
        picture = await self._look(row, Step("screenshot", session=session, timeout_s=EVIDENCE_S, bring=True))
        options = {"interactive": True}
        outline = await self._look(row, Step("snapshot", options=options, session=session, timeout_s=EVIDENCE_S))
        text = outline.data.get("snapshot") if outline is not None else None
        return (picture.file if picture is not None else None), (text if isinstance(text, str) else None)

    async def _look(self, row: Row, asked: Step) -> StepAnswer | None:
        try:
            answer, _letters = await self._do(row, stepreading.checked(asked))
        except CloudRouterError:
            return None
        return answer

    def _watch(self, row: Row) -> None:
        if row.state in (states.DELETING, states.GONE):
            self._channels.forget_machine(row.id)
        elif row.state not in states.REACHABLE:
            self._channels.forget(row.id)


def _checked_in_place(index: int, asked: Step, session: str) -> dict[str, Any]:
    try:
        return stepreading.checked(asked, session=session)
    except UsageError as error:
        error.message = f"Step {index + 1}: {error.message}"
        error.details = {**error.details, "step": index}
        raise


def _too_long() -> StepFailed:
    return StepFailed(
        f"The answers of this batch are longer than {browsing.ANSWER_LIMIT >> 20} MiB together.",
        fix="Do it in smaller batches, or ask for less.",
    )
