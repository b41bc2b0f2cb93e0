"""Who runs the apps: what each requires goes before it, who requires it is stopped first, and idle ones are stopped."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

from cloudrouter.guest import apphealth, appmemory, approcess, browsingplace, netfiles
from cloudrouter.guest.appkeeping import App, Around, Clock
from cloudrouter.guest.environment import find_account, rfc3339
from cloudrouter.guest.log import describe, log
from cloudrouter.wire.apps import FAILED, OFF, RUNNING, STARTING, STOPPING, VIEW_NONE, AppState
from cloudrouter.wire.appspec import fill
from cloudrouter.wire.errors import CloudRouterError, Conflict, NotConfigured, NotFound, Unreachable, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
    from typing import Any, Optional

    from cloudrouter.guest.appfiles import Installed
    from cloudrouter.guest.server import Guest

LOOK_S = 5.0
"""How often is looked for apps that nobody uses, while any runs."""
PATIENCE_S = 2.5
"""Who connects to a failed app waits for its next try when that is so near, and else is told at once."""
_REMEMBER_S = 2.0
"""For how long a measured size is told again."""


class Supervisor(Around):
    """All apps of this machine."""

    def __init__(self, guest: Guest, installed: Installed, clock: Optional[Clock] = None) -> None:
        self._guest = guest
        self._installed = installed
        self._clock = clock or Clock()
        self._apps: dict[str, App] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._looking: Optional[asyncio.Future[None]] = None
        self._sizes: dict[str, tuple[int, float, int]] = {}

    def find(self, name: object) -> App:
        """The app of that name; NotFound names those there are, NotConfigured says what is wrong with a broken one."""
        self._installed.look()
        if not isinstance(name, str):
            raise UsageError("app must be an app's name.")
        if name in self._installed.faults:
            raise NotConfigured(f"The app {name} cannot be used: {self._installed.faults[name]}")
        app = self._apps.get(name)
        spec = self._installed.specs.get(name)
        if spec is None:
            known = ", ".join(self._installed.specs)
            fix = (
                f"Apps here: {known}." if known else "This machine has no apps: start one from an image that has some."
            )
            raise NotFound(f"There is no app {name[:40]!r} in this machine.", fix=fix)
        if app is None:
            app = self._apps[name] = App(self._guest, spec, self._clock, self)
        elif app.state == OFF:
            app.spec = spec
        return app

    async def start(
        self, name: object, *, hurry: bool, told: Optional[Callable[[AppState], Awaitable[None]]] = None
    ) -> App:
        """The app once it runs; an error that says why it does not. told: hears when there is something to wait for.

        hurry: a failed app is tried at once, which a person who starts it wants. It goes on starting when the caller
        is cancelled.
        """
        app = self.find(name)
        app.use()
        if app.state != RUNNING and told is not None:
            await told(await self.describe(app))
        while app.halting is not None:
            await asyncio.wait({app.halting})
        if app.state == RUNNING:
            return app
        if app.retry_in() > 0:
            if hurry:
                app.hurry()
            elif app.retry_in() > PATIENCE_S:
                raise app.error()
        seen = app.failures
        app.want()
        self._look_regularly()
        await app.settled(seen)
        app.use()
        if app.state == RUNNING:
            return app
        if app.failures > seen:
            raise app.error()
        raise Conflict(f"The app {app.spec.name} was stopped while it was starting.", fix="Start it again.")

    async def reach(self, app: App, told: Callable[[AppState], Awaitable[None]]) -> socket.socket:
        """A connection to the app once it runs. Unreachable when it takes none, and all that `start` raises.

        One that has ended a moment ago still counts as running: its next start is waited for as any other.
        """
        account = find_account(self._guest.settings.user)
        await self.start(app.spec.name, hurry=False, told=told)
        run = app.run
        try:
            return await apphealth.connect(app.spec, app.place, account)
        except Unreachable:
            if not await app.is_over(run):
                raise
        await self.start(app.spec.name, hurry=False, told=told)
        return await apphealth.connect(app.spec, app.place, account)

    async def stop(self, app: App, note: str = "") -> None:
        """End the app, and before it those that require it."""
        for name in self._installed.needing(app.spec.name):
            other = self._apps.get(name)
            if other is not None and other.state != OFF:
                await self.stop(other, note)
        if app.state != OFF:
            await app.halt(note)

    @contextmanager
    def using(self, app: App) -> Iterator[None]:
        """While this lasts somebody is at the app."""
        app.clients += 1
        try:
            yield
        finally:
            app.leave()

    def adopt(self, names: Iterable[str]) -> None:
        """Take over apps that run since before this guest; what of them cannot be taken over is ended."""
        self._installed.look()
        for name in names:
            run = approcess.adopt(self._guest, name) if name in self._installed.specs else None
            if run is None:
                self._do(approcess.sweep(self._guest, name))
            else:
                log(f"the app {name} runs since before this start")
                self.find(name).want(run)
        self._look_regularly()

    async def states(self) -> list[AppState]:
        """All apps, as people are told of them, by name."""
        self._installed.look()
        found = [await self.describe(self.find(name)) for name in self._installed.specs]
        broken = [AppState(name, name, VIEW_NONE, FAILED, why) for name, why in self._installed.faults.items()]
        return sorted([*found, *broken], key=lambda state: state.name)

    async def describe(self, app: App) -> AppState:
        """One app, as people are told of it."""
        run = app.run
        return AppState(
            name=app.spec.name,
            title=app.spec.title,
            view=app.spec.view,
            state=app.state,
            reason=app.reason,
            since=rfc3339(app.since_ms),
            memory_bytes=None if run is None else await self._measure(app),
            uptime_s=None if run is None else run.uptime_s(),
            pid=None if run is None else run.held.command,
            restarts=app.restarts,
            clients=self._clients(app),
            port=app.spec.port,
            requires=app.spec.requires,
        )

    def owner_of(self, pids: Iterable[int]) -> dict[int, str]:
        """Process -> app, for those that belong to a running app."""
        wanted, found = set(pids), {}
        for name, app in self._apps.items():
            if app.run is not None:
                found.update(dict.fromkeys(wanted & set(app.run.processes()), name))
        return found

    def look_for_idle(self) -> None:
        """Begin to stop the apps that nobody has used for as long as they may be unused."""
        for app in self._apps.values():
            if self._clients(app):
                app.use()
        for name, app in self._apps.items():
            if app.halting is None and app.state in (RUNNING, FAILED) and app.wanted and self._is_idle(name, app):
                log(f"the app {name} is stopped, since nobody uses it")
                note = f"It was stopped: nobody used it for {app.spec.idle_stop_s:g} s."
                self._do(app.halt(note, give_up=app.state == FAILED))

    def _is_idle(self, name: str, app: App) -> bool:
        """Whether neither it nor what it requires or what requires it is used, and nothing needs it now."""
        if app.spec.idle_stop_s is None or name not in self._installed.specs:
            return False
        needing = [self._apps[one] for one in self._installed.needing(name) if one in self._apps]
        if any(one.wanted or one.state in (STARTING, RUNNING, STOPPING) for one in needing):
            return False
        needed = [self._apps[one] for one in self._installed.needed(name) if one in self._apps]
        related = [app, *needed, *needing]
        if any(self._clients(one) for one in related):
            return False
        return self._clock.now() - max(one.last_used for one in related) >= app.spec.idle_stop_s

    def _clients(self, app: App) -> int:
        """Streams that are at it, or connections to its port, which also programs in the machine make; and programs
        that hold it, as one.
        """
        if app.run is None:
            return app.clients
        connections = 0 if app.spec.port is None else netfiles.count_connections(app.spec.port)
        if connections and app.spec.name == browsingplace.APP:
            connections -= self._listeners(app.spec.port or 0)
        return max(app.clients, connections) + apphealth.is_held(app.place)

    def _listeners(self, port: int) -> int:
        """Connections to the browser that only wait for the next step: a session does not keep it running."""
        from cloudrouter.guest import browsingbinding  # few machines have sessions

        return browsingbinding.count_connections(self._guest, browsingplace.place(self._guest.settings), port)

    def has_lost(self, app: App) -> bool:
        """Whether something that the app requires has failed just now."""
        needed = self._installed.needed(app.spec.name) if app.spec.name in self._installed.specs else []
        return any(self._apps[name].failed_just_now() for name in needed if name in self._apps)

    def has_failed(self, app: App) -> None:
        """Bring back what has ended of its own will just before it and requires it."""
        for name in self._installed.needing(app.spec.name) if app.spec.name in self._installed.specs else []:
            if name in self._apps:
                self._apps[name].come_back(app.spec.name)

    async def prepare(self, app: App) -> dict[str, str]:
        """Start what the app requires; the variables that all of these export."""
        for name in app.spec.requires:
            try:
                await self.start(name, hurry=False)
            except CloudRouterError as error:
                raise NotConfigured(f"It requires the app {name}. {error.message}") from None
        found: dict[str, str] = {}
        for name in self._installed.needed(app.spec.name):
            words = self._installed.words(name)
            exports = self._installed.specs[name].exports
            found.update((variable, fill(text, words)) for variable, text in exports.items())
        return found

    async def _measure(self, app: App) -> Optional[int]:
        run = app.run
        if run is None:
            return None
        known = self._sizes.get(app.spec.name)
        if known is None or known[0] != run.held.pid or known[1] < self._clock.now():
            size = await appmemory.measure(run.processes(), run.account)
            known = self._sizes[app.spec.name] = (run.held.pid, self._clock.now() + _REMEMBER_S, size)
        return known[2]

    def _look_regularly(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        while any(app.wanted for app in self._apps.values()):
            await self._clock.sleep(LOOK_S)
            self.look_for_idle()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside everything else; what goes wrong is logged."""

        def done(task: asyncio.Future[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                log(f"an app could not be ended: {describe(task.exception())}")  # type: ignore[arg-type]

        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(done)


def of(guest: Guest) -> Supervisor:
    """The machine's one supervisor; NotFound in a machine without any place for apps."""
    if guest.apps is None:
        installed = guest.config.apps()
        if installed is None:
            raise NotFound(
                "There are no apps in this machine.",
                fix="Start a machine from an image that has some, such as `desktop`.",
            )
        guest.apps = Supervisor(guest, installed)
    return guest.apps
