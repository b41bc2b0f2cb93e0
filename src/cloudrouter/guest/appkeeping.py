"""One app kept as it is wanted: brought up, watched, started again after a crash, halted."""

from __future__ import annotations

import asyncio
import json
import os
import time
from abc import ABC, abstractmethod

from cloudrouter.guest import apphealth, approcess
from cloudrouter.guest.config import write_file
from cloudrouter.guest.health import boot_id
from cloudrouter.guest.log import describe, log
from cloudrouter.guest.tasks import cancel_all
from cloudrouter.wire.apps import FAILED, OFF, RUNNING, STARTING, STOPPING
from cloudrouter.wire.errors import CloudRouterError, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from cloudrouter.guest.approcess import Run
    from cloudrouter.guest.process import Ending
    from cloudrouter.guest.server import Guest
    from cloudrouter.wire.appspec import AppSpec

FIRST_PAUSE_S, MOST_PAUSE_S = 1.0, 30.0
FORGET_S = 60.0
"""After so long in health a crash is forgotten: its reason is told no longer, and the next pause is the first one."""
TOGETHER_S = 3.0
"""What happens within so long may be one thing: an end, and the leaving of clients and of other apps by it."""
_LOOK_S = 0.05
_LOG_LINES, _LOG_BYTES = 10, 1500


class Clock:
    """The time for pauses and for idleness; tests pass another."""

    def now(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        await asyncio.sleep(seconds)


class Around(ABC):
    """What an app has to know of the others."""

    @abstractmethod
    async def prepare(self, app: App) -> dict[str, str]:
        """Start all that the app requires; the variables that these export."""

    @abstractmethod
    def has_lost(self, app: App) -> bool:
        """Whether something that the app requires has failed just now."""

    @abstractmethod
    def has_failed(self, app: App) -> None:
        """Hear that an app has failed: some that require it may have ended with it."""


class App:
    """The state of one app, and the task that keeps it."""

    def __init__(self, guest: Guest, spec: AppSpec, clock: Clock, around: Around) -> None:
        self.spec = spec
        self.state = OFF
        self.since_ms = _now_ms()
        self.run: Optional[Run] = None
        self.clients = 0
        """Streams that are at it now."""
        self.last_used = clock.now()
        self.wanted = False
        self.failures = 0
        """How often it could not be brought up, or crashed; for those who wait for the end of a start."""
        self.halting: Optional[asyncio.Future[None]] = None
        self._guest = guest
        self._clock = clock
        self._around = around
        self._left_at = self._ended_at = self._failed_at = -TOGETHER_S
        self._note = ""
        self._fault = ""
        self._retry_at: Optional[float] = None
        self._healthy_at: Optional[float] = None
        self._keeper: Optional[asyncio.Task[None]] = None
        self._hurry = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        self.restarts = self._read_restarts()

    @property
    def place(self) -> str:
        """Its own folder, with its socket."""
        return f"{self._guest.settings.apps_run}/{self.spec.name}"

    @property
    def reason(self) -> str:
        """What there is to say about its state."""
        if self.state == FAILED:
            if self._retry_at is None:
                return self._fault
            # What the app wrote last may stand at the end, and has no full stop.
            gap = " " if self._fault.endswith(".") else "\n"
            return f"{self._fault}{gap}It is tried again in {max(0.0, self.retry_in()):.0f} s."
        if self.state == STARTING and self._fault:
            return f"It is started again after this: {self._fault}"
        if self.state == RUNNING and self._fault and not self._is_forgotten():
            return f"It was started again after this: {self._fault}"
        return self._note

    def retry_in(self) -> float:
        """Seconds until the next try of a failed app; 0 when none is coming."""
        return 0.0 if self._retry_at is None else self._retry_at - self._clock.now()

    def error(self) -> CloudRouterError:
        """What is told to who wanted it."""
        return Unreachable(
            f"The app {self.spec.name} does not run: {self.reason}",
            fix="Look at its log, then start it again.",
            next=f"cloudrouter apps ID logs {self.spec.name}",
        )

    def use(self) -> None:
        """Somebody uses it now."""
        self.last_used = self._clock.now()

    def leave(self) -> None:
        """A stream that was at it is there no longer."""
        self.clients -= 1
        self._left_at = self.last_used = self._clock.now()

    def failed_just_now(self) -> bool:
        """Whether it has failed so lately that what requires it may have ended of that."""
        return self.state in (FAILED, STARTING) or self._clock.now() - self._failed_at < TOGETHER_S

    def come_back(self, lost: str) -> None:
        """Start it again, if it has ended of its own will just now: that was for want of an app that it requires."""
        if self.state == OFF and self._clock.now() - self._ended_at < TOGETHER_S:
            self.want()
            self._fault = f"It ended together with the app {lost}."
            self._count_restart()

    def want(self, adopted: Optional[Run] = None) -> None:
        """Keep it running from now on, at first with a run that is there already, if there is one."""
        self.wanted = True
        if self._keeper is None or self._keeper.done():
            self._fault = self._note = ""
            self._set(STARTING)
            self._keeper = asyncio.ensure_future(self._keep(adopted))

    def hurry(self) -> None:
        """Try again now instead of after the pause."""
        self._hurry.set()

    async def settled(self, seen: int) -> None:
        """Wait until it runs, has failed once more than `seen`, or is no longer wanted."""
        while self.wanted and self.state != RUNNING and self.failures <= seen:
            await self._change()

    async def _change(self) -> None:
        """Wait until there is something new."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def is_over(self, run: Optional[Run]) -> bool:
        """Whether that run is not the app's any more; where its command has ended, once its keeper has seen that."""
        while run is not None and self.run is run:
            if run.goes_on():
                return False
            await self._change()
        return True

    async def halt(self, note: str = "", *, give_up: bool = False) -> None:
        """End it, and do not start it again; give_up: it stays failed, with its reason."""
        if self.halting is None:
            self.halting = asyncio.ensure_future(self._halt(note, give_up=give_up))
            self.halting.add_done_callback(self._halted)
        await asyncio.shield(self.halting)

    def _halted(self, _: asyncio.Future[None]) -> None:
        self.halting = None

    async def _halt(self, note: str, *, give_up: bool) -> None:
        self.wanted = False
        keeper, run, self._keeper, self.run = self._keeper, self.run, None, None
        self._retry_at = None
        if not give_up:
            self._set(STOPPING)
        if keeper is not None:
            await cancel_all(keeper)  # first: it would take the end for a crash
        try:
            if run is not None:
                await run.stop(self.spec.stop_signal)
            # A start that was cancelled may have begun something.
            await approcess.sweep(self._guest, self.spec.name)
        except CloudRouterError as error:
            self._fault = error.message
            self._set(FAILED)
            return
        if give_up:
            self._set(FAILED)
        else:
            self._note, self._fault = note, ""
            self._set(OFF)

    async def _keep(self, adopted: Optional[Run]) -> None:
        """Bring it up and watch it, again and again, until it is halted or has ended of its own will."""
        pause = FIRST_PAUSE_S
        try:
            while True:
                fault, ended = await self._bring_up(adopted)
                adopted = None
                if ended is not None:
                    self._healthy_at = self._clock.now()
                    self._set(RUNNING)
                    fault = await self._watch(ended)
                    if not fault:
                        return
                    if self._is_forgotten():
                        pause = FIRST_PAUSE_S
                self.run, self._fault = None, fault
                self._retry_at = self._clock.now() + pause
                self.failures += 1
                self._failed_at = self._clock.now()
                log(f"the app {self.spec.name} failed and is tried again in {pause:g} s")
                self._set(FAILED)
                self._around.has_failed(self)
                await self._wait(pause)
                pause = min(pause * 2, MOST_PAUSE_S)
                self._retry_at = None
                self._count_restart()
        except Exception as error:  # noqa: BLE001 - nobody waits for this task, and the app must not seem to start
            self._fault, self.wanted, self.failures = f"Its keeper broke: {describe(error)}.", False, self.failures + 1
            log(f"the keeper of the app {self.spec.name} broke: {describe(error)}")
            self._set(FAILED)

    async def _bring_up(self, adopted: Optional[Run]) -> tuple[str, Optional[asyncio.Future[Optional[Ending]]]]:
        """(why not, None), or once it is healthy ("", the task that knows its ending)."""
        self._healthy_at = None
        self._set(STARTING)
        try:
            run = adopted or await approcess.start(self._guest, self.spec, await self._around.prepare(self))
        except CloudRouterError as error:
            return error.message, None
        except OSError as error:
            return f"It cannot be started: {(error.strerror or 'unknown error').lower()}.", None
        self.run = run
        self._set(STARTING)
        ended = asyncio.ensure_future(run.ended())
        try:
            fault = await self._until_healthy(run, ended)
        except BaseException:
            await cancel_all(ended)
            raise
        return fault, None if fault else ended

    async def _until_healthy(self, run: Run, ended: asyncio.Future[Optional[Ending]]) -> str:
        """Ask until it answers (empty); what went wrong when it ends or does not answer in time."""
        deadline = self._clock.now() + self.spec.start_timeout_s
        last = "It has not answered yet."
        while True:
            trial = asyncio.ensure_future(apphealth.is_healthy(self.spec, self.place, run.account))
            left = max(0.0, deadline - self._clock.now())
            both: set[asyncio.Future[Any]] = {trial, ended}
            try:
                await asyncio.wait(both, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    return f"It ended {_how(ended.result())} before it answered.{self._last_output(run)}"
                if trial.done():
                    last = trial.result()
            finally:
                await cancel_all(trial)
            if not last:
                return ""
            if self._clock.now() >= deadline:
                await run.stop(self.spec.stop_signal)
                await ended
                within = f"It did not answer within {self.spec.start_timeout_s:g} s."
                return f"{within} {last}{self._last_output(run)}"
            await self._clock.sleep(_LOOK_S)

    async def _watch(self, ended: asyncio.Future[Optional[Ending]]) -> str:
        """Wait for its end; empty when it has ended of its own will, else how it crashed."""
        try:
            ending = await ended
        except asyncio.CancelledError:
            await cancel_all(ended)
            raise
        run, self.run = self.run, None
        if ending is not None and ending.code == 0 and not self._is_missed():
            self.wanted = False
            self._ended_at = self._clock.now()
            self._note, self._fault = "It ended by itself (exit code 0).", ""
            self._set(OFF)
            return ""
        return f"It ended {_how(ending)}.{self._last_output(run)}"

    def _is_missed(self) -> bool:
        """Whether anybody was at it when it ended, or it ended for want of what it requires."""
        somebody = self.clients or self._clock.now() - self._left_at < TOGETHER_S
        return bool(somebody) or self._around.has_lost(self)

    async def _wait(self, pause: float) -> None:
        """Let the pause pass, or less when somebody wants it now."""
        self._hurry.clear()
        pausing: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(pause))
        hurried: asyncio.Future[Any] = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait([pausing, hurried], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all(pausing, hurried)

    def _set(self, state: str) -> None:
        if state != self.state:
            self.state, self.since_ms = state, _now_ms()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _is_forgotten(self) -> bool:
        return self._healthy_at is not None and self._clock.now() - self._healthy_at >= FORGET_S

    def _last_output(self, run: Optional[Run]) -> str:
        log_bytes = b"" if run is None else approcess.read_log(run.folder)[-_LOG_BYTES:]
        text = _plain(b"".join(log_bytes.splitlines(keepends=True)[-_LOG_LINES:]).decode("utf-8", "replace")).strip()
        return f" Its last output: {text}" if text else ""

    def _notes(self) -> str:
        return f"{approcess.runs_folder(self._guest.settings.state, self.spec.name)}/notes.json"

    def _count_restart(self) -> None:
        self.restarts += 1
        try:
            os.makedirs(os.path.dirname(self._notes()), mode=0o700, exist_ok=True)
            boot = boot_id(self._guest.settings.machine_id)
            write_file(self._notes(), json.dumps({"boot": boot, "restarts": self.restarts}), 0o600)
        except OSError as error:
            log(f"the restarts of {self.spec.name} cannot be noted: {describe(error)}")

    def _read_restarts(self) -> int:
        """How many there were in this boot before this guest."""
        try:
            with open(self._notes(), encoding="utf-8") as file:
                notes = json.load(file)
            return int(notes["restarts"]) if notes["boot"] == boot_id(self._guest.settings.machine_id) else 0
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            log(f"the restarts of {self.spec.name} cannot be read: {describe(error)}")
            return 0


def _how(ending: Optional[Ending]) -> str:
    if ending is None:
        return "in a way that nobody saw"
    return f"by the signal {ending.signal}" if ending.signal else f"with exit code {ending.code}"


def _plain(text: str) -> str:
    """The text without colours and without anything else that is not to be shown."""
    first, *rest = text.split("\x1b[")
    words = (word.lstrip("0123456789;:?")[1:] for word in rest)
    return "".join(one for one in first + "".join(words) if one.isprintable() or one == "\n")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
