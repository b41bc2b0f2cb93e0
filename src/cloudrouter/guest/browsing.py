"""The operation `browser`: a channel for the steps of all sessions, and who does them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

from cloudrouter.guest import browsingorder
from cloudrouter.guest.browsers import Browsing
from cloudrouter.guest.log import describe, log
from cloudrouter.guest.tasks import cancel_all
from cloudrouter.wire.browsing import PART, answer_fault
from cloudrouter.wire.errors import CloudRouterError, Internal, RateLimited, StepFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream
    from cloudrouter.wire.apps import AppState

STEPS_AT_ONCE = 256
"""Of one channel, those that wait for their turn included."""


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `browser`: does steps until the opener ends it; what still runs then is cancelled."""
    channel = Channel(stream, of(guest))
    stream.on_message = channel.take
    try:
        await stream.send("started", {})
        while not stream.input.ended:
            await stream.input.peek(1)
    finally:
        await channel.end()
    await stream.finish("end", {})


def of(guest: Guest) -> Browsing:
    """Who drives the machine's browser."""
    if guest.browsing is None:
        guest.browsing = Browsing(guest)
    return guest.browsing


def teller(stream: Stream) -> Callable[[AppState], Awaitable[None]]:
    """Who says on a stream that the browser is started."""

    async def tell(state: AppState) -> None:
        await stream.send("starting", asdict(state))

    return tell


class Channel:
    """The steps of one stream: each is a task, and answers when it is done."""

    def __init__(self, stream: Stream, browsing: Browsing) -> None:
        self._stream = stream
        self._browsing = browsing
        self._steps: dict[int, asyncio.Future[None]] = {}
        self._begun: set[int] = set()
        self._unwanted: set[int] = set()
        self._sending = asyncio.Lock()

    def take(self, message: dict[str, Any]) -> bool:
        """One message of the opener; UsageError for a step without a number of its own."""
        if "cancel" in message:
            self._cancel(_number(message["cancel"]))
        elif "step" in message:
            number = _number(message["step"])
            if number in self._steps:
                raise UsageError(f"There is a step {number} already.")
            task = asyncio.ensure_future(self._do(number, message["step"]))
            self._steps[number] = task
            task.add_done_callback(lambda _: self._forget(number))
        else:
            return False
        return True

    async def end(self) -> None:
        """Cancel what still runs."""
        await cancel_all(*self._steps.values())

    def _cancel(self, number: int) -> None:
        """A task that is cancelled before it has begun never would, and nobody would answer."""
        if number in self._begun:
            self._steps[number].cancel()
        elif number in self._steps:
            self._unwanted.add(number)

    def _forget(self, number: int) -> None:
        del self._steps[number]
        self._begun.discard(number)
        self._unwanted.discard(number)

    async def _do(self, number: int, body: dict[str, Any]) -> None:
        self._begun.add(number)
        try:
            if number in self._unwanted:
                raise asyncio.CancelledError
            answer = await self._try(body)
        except asyncio.CancelledError:
            answer = {"error": StepFailed("The step was cancelled.").to_json()}
            if self._stream.input.ended:
                raise
        await self._answer(number, answer)

    async def _try(self, body: dict[str, Any]) -> dict[str, Any]:
        if len(self._steps) > STEPS_AT_ONCE:
            error = RateLimited(f"{STEPS_AT_ONCE} steps wait already.", fix="Wait for some of them.")
            return {"error": error.to_json()}
        try:
            return asdict(await self._browsing.do(browsingorder.read(body), teller(self._stream)))
        except CloudRouterError as error:
            return {"error": error.to_json()}
        except Exception as error:  # noqa: BLE001 - one step's failure must not harm the others of the channel
            log(f"a step of the browser broke: {describe(error)}")
            return {"error": Internal("Something unforeseen happened in the machine.", fix="Try it again.").to_json()}

    async def _answer(self, number: int, answer: dict[str, Any]) -> None:
        """In parts where it is long, whose messages nothing comes between."""
        text = json.dumps(answer, separators=(",", ":"))
        fault = answer_fault(text)
        if fault is not None:
            error = StepFailed(f"The answer is too long: {fault}.", fix="Ask for less of the page.")
            answer = {"error": error.to_json()}
            text = json.dumps(answer)
        if len(text) <= PART:
            await self._stream.send("result", {"n": number, **answer})
            return
        async with self._sending:
            for at in range(0, len(text), PART):
                await self._stream.send("part", {"n": number, "text": text[at : at + PART]})
            await self._stream.send("result", {"n": number, "parts": -(-len(text) // PART)})


def _number(body: object) -> int:
    number = body.get("n") if isinstance(body, dict) else None
    if type(number) is not int or not 0 <= number < 2**53:
        raise UsageError("A step has a number n of its own.")
    return number
