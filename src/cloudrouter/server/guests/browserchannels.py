"""One `browser` stream for each machine whose browser is driven: steps go in, their results come back by number."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from websockets.protocol import State
from websockets.typing import BytesLike

from cloudrouter.server.guests.connections import GuestConnection, Guests, said_by_machine
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import browsing
from cloudrouter.wire.errors import CloudRouterError, Internal, RateLimited, TimedOut, Unreachable

QUIET_S = 600.0
"""A channel that nobody used for this long is closed."""
START_S = 300.0
"""What a step may take beyond its own time: the browser may have to start, with the desktop below it."""
STEPS_AT_ONCE = 64
"""Steps of one machine that are under way or wait in its sessions."""

log = structlog.get_logger("browser")


class Unsent(Unreachable):
    """The channel was gone before the guest took it up: the step has surely not been done."""


@dataclass
class _Pending:
    session: str
    timeout_s: float
    answer: asyncio.Future[Result]
    parts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """What the guest said of one step: an object, of which nothing is checked yet, and how long it was."""

    said: dict[str, Any]
    letters: int


class Channel:
    """One stream with the operation `browser`. Many steps may be under way; the guest orders those of a session."""

    def __init__(self, connection: GuestConnection, on_gone: Callable[[Channel], None]) -> None:
        self._connection = connection
        self._on_gone = on_gone
        self._pending: dict[int, _Pending] = {}
        self._last = 0
        self._held = 0
        """Characters of parts that wait for their rest."""
        self._failure: CloudRouterError | None = None
        self.taken_up = False
        """Whether the guest has said anything: before that no step can have been done."""
        self._lost = False
        connection.taker = self
        self._say({"op": "browser"})

    @property
    def over(self) -> bool:
        """Whether nothing can be asked over it any more."""
        return self._lost or self._failure is not None or self._connection.protocol.state is not State.OPEN

    @property
    def is_busy(self) -> bool:
        """Whether a step is under way."""
        return bool(self._pending)

    async def ask(self, step: dict[str, Any]) -> Result:
        """Have a step done (`verb`, `words`, `options`, `session`, `timeout_s`) and return what the guest says of it.

        Whoever stops waiting cancels it. Unreachable when the stream breaks: then it may have happened, unless it is
        Unsent. TimedOut when the guest keeps neither its own bound nor ours.
        """
        if len(self._pending) >= STEPS_AT_ONCE:
            raise RateLimited(f"{STEPS_AT_ONCE} steps of this machine's browser wait already.", fix="Wait for some.")
        if self.over:
            raise Unsent("The stream to the machine broke.")
        self._last += 1
        number, session, timeout_s = self._last, step["session"], step["timeout_s"]
        before = sum(one.timeout_s for one in self._pending.values() if one.session == session)
        pending = _Pending(session, timeout_s, asyncio.get_running_loop().create_future())
        self._pending[number] = pending
        try:
            self._say({"step": {"n": number, **step}})
            async with asyncio.timeout(before + timeout_s + START_S):
                return await pending.answer
        except TimeoutError:
            self._cancel(number)
            raise TimedOut(f"The machine did not finish the step within {before + timeout_s + START_S:g} s.") from None
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        finally:
            self._drop(number)

    def close(self) -> None:
        """End it now, and with it every step that is under way."""
        self._connection.transport.abort()

    # -- FrameTaker ---------------------------------------------------------------------------------------------

    def take_text(self, data: BytesLike) -> None:
        """A word of the guest; once it has failed, what else it says counts for nothing."""
        if self._failure is not None:
            return
        try:
            said = msgspec.json.decode(bytes(data))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            self._break("a word that cannot be read")
        elif "error" in said:
            self._fail(said_by_machine(said["error"]))
        elif "part" in said:
            self._take_part(said["part"])
        elif "result" in said:
            self._take_result(said["result"], len(data))
        elif "end" in said:
            self._connection.transport.abort()
        else:  # started, or an app that starts
            self.taken_up = True

    def take_binary(self, _data: BytesLike) -> None:
        """Nothing of a browser comes in bytes."""
        self._break("bytes where only words are said")

    def writable(self) -> None:
        """Steps are small and few: they wait in the socket's own buffer."""

    def lost(self) -> None:
        """The stream is gone, and with it the answers to what was sent."""
        if self._lost:
            return
        self._lost = True
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(self._failure or self._broken())
                pending.answer.exception()  # who waits has it already, or has left
        self._on_gone(self)

    # -- inside -------------------------------------------------------------------------------------------------

    def _broken(self) -> CloudRouterError:
        if not self.taken_up:
            return Unsent("The stream to the machine broke before its browser could be asked.")
        return Unreachable(
            "The stream to the machine broke under the step: it may have happened, or not.",
            fix="Look at the page before you do it again.",
        )

    def _take_part(self, part: Any) -> None:
        text = part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str) or not 0 < len(text) <= browsing.PART:
            self._break("a part that cannot be")
            return
        pending = self._pending.get(_number(part.get("n")))
        if pending is None:
            return  # of a step that nobody waits for any more
        self._held += len(text)
        if self._held > browsing.ANSWER_LIMIT:
            self._break("an answer that is too long")
            return
        pending.parts.append(text)

    def _take_result(self, result: Any, letters: int) -> None:
        if not isinstance(result, dict):
            self._break("a result that cannot be read")
            return
        pending = self._pending.get(_number(result.get("n")))
        if pending is None or pending.answer.done():
            return
        self.taken_up = True
        count = result.get("parts")
        if count is not None:
            if type(count) is not int or count != len(pending.parts):
                self._break("an answer whose parts are missing")
                return
            text = "".join(pending.parts)
            letters = len(text)
            if browsing.answer_fault(text) is not None:
                self._break("an answer that is too much")
                return
            try:
                result = msgspec.json.decode(text)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                result = None
        if not isinstance(result, dict):
            pending.answer.set_exception(Internal("The machine answered a step with something unreadable."))
        else:
            pending.answer.set_result(Result(result, letters))

    def _cancel(self, number: int) -> None:
        if not self.over:
            self._say({"cancel": {"n": number}})

    def _drop(self, number: int) -> None:
        self._held -= sum(len(text) for text in self._pending.pop(number).parts)

    def _say(self, word: dict[str, Any]) -> None:
        self._connection.protocol.send_text(json.dumps(word, separators=(",", ":")).encode())
        self._connection.send_data()

    def _fail(self, error: CloudRouterError) -> None:
        self._failure = error
        self._connection.transport.abort()

    def _break(self, what: str) -> None:
        log.warning("a guest broke the rules of streams", what=what)
        self._fail(Internal(f"The machine broke the rules of streams: {what}."))


class BrowserChannels:
    """The channel of each machine, opened at its first step and kept while it is used."""

    def __init__(self, guests: Guests, *, quiet_s: float = QUIET_S) -> None:
        self._guests = guests
        self._quiet_s = quiet_s
        self._channels: dict[str, Channel] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def ask(self, row: Row, step: dict[str, Any]) -> Result:
        """Have a step done over the machine's channel; see Channel.ask."""
        channel = await self._channel(row)
        timer = self._timers.pop(row.id, None)
        if timer is not None:
            timer.cancel()
        try:
            return await channel.ask(step)
        finally:
            if not channel.is_busy and not channel.over:
                loop = asyncio.get_running_loop()
                self._timers[row.id] = loop.call_later(self._quiet_s, self.forget, row.id)

    def forget(self, machine_id: str) -> None:
        """Close the channel of a machine that stops or goes."""
        channel = self._channels.pop(machine_id, None)
        if channel is not None:
            channel.close()

    def forget_machine(self, machine_id: str) -> None:
        """`forget` for one that will not come back."""
        self.forget(machine_id)
        self._opening.pop(machine_id, None)

    async def aclose(self) -> None:
        """Close every channel."""
        for machine_id in list(self._channels):
            self.forget(machine_id)
        await asyncio.sleep(0)  # the aborted ones say so in the loop's next turn
        while self._closing:
            await asyncio.gather(*self._closing)

    async def _channel(self, row: Row) -> Channel:
        async with self._opening.setdefault(row.id, asyncio.Lock()):
            channel = self._channels.get(row.id)
            if channel is not None and not channel.over:
                return channel
            stack = AsyncExitStack()
            connection = await stack.enter_async_context(self._guests.stream(row))
            channel = self._channels[row.id] = Channel(connection, lambda gone: self._gone(row.id, gone, stack))
            return channel

    def _gone(self, machine_id: str, channel: Channel, stack: AsyncExitStack) -> None:
        if self._channels.get(machine_id) is channel:
            del self._channels[machine_id]
        if machine_id not in self._channels:
            timer = self._timers.pop(machine_id, None)
            if timer is not None:
                timer.cancel()
        task = asyncio.ensure_future(stack.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _number(value: Any) -> int:
    return value if type(value) is int else 0
