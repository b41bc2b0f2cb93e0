"""Forwards for as long as somebody wants them: single ones, or one for every port that listens inside."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from cloudrouter.cli import jobs, output, serving
from cloudrouter.client import requests, served
from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.ports import AsyncForward
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError, Conflict, NotFound, NotRunning, Unreachable, UsageError

if TYPE_CHECKING:
    from cloudrouter.client.transport import Transport

LOOK_S = 1.5
"""Seconds between two looks at what listens, and at how the machine is."""
FORGET_S = 30.0
"""A port that nothing listens on for so long is given up: a server that restarts keeps its number here."""
AT_MOST = 256
"""Ports that --all forwards at once: a machine cannot take all of this host's."""
_TRIES = 20
_SCHEMES = {"rfb": "vnc"}
_OVER = ("gone", "failed")
"""States that a machine does not come back from."""


class Wanted(NamedTuple):
    """What is to be reached, and from where."""

    target: str
    """A port as digits, or an app's name."""
    local: int | None
    """The port here; None: the same number, or the next free one."""


def read_wanted(word: str) -> Wanted:
    """`3000`, `3000:8080` or `vscode:8081`; UsageError for what is none of them."""
    target, colon, local = word.partition(":")
    requests.target_request(target)
    if not colon:
        return Wanted(target, None)
    if not (local.isascii() and local.isdecimal()) or not 0 < int(local[:6]) < 65536:
        raise UsageError(
            f"{word[:60]!r}: {local[:20]!r} is no port of this host.", fix="Write PORT:LOCAL, as 3000:8080."
        )
    return Wanted(target, int(local))


class Teller:
    """Says what happens: lines for people, or one JSON object each."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._last = ""

    def forward(self, target: str, port: int, url: str, *, moved: bool) -> None:
        """A port is there."""
        if self._json:
            jobs.say_line({"event": "forward", "target": target, "local_port": port, "url": url})
            return
        output.say(f"{url} -> {target}")
        output.flush()
        if moved:
            output.note(f"cloudrouter: port {target} of this host is taken; {port} stands for it.")

    def closed(self, target: str, port: int) -> None:
        """A port is given up."""
        if self._json:
            jobs.say_line({"event": "closed", "target": target, "local_port": port})
        else:
            output.note(f"cloudrouter: nothing listens on {target} any more; {port} is given up.")

    def failed(self, target: str, why: str) -> None:
        """A connection could not be made; told once for each reason in a row."""
        if self._json:
            jobs.say_line({"event": "failed", "target": target, "message": why})
        elif f"{target} {why}" != self._last:
            self._last = f"{target} {why}"
            output.note(f"cloudrouter: {target}: {output.escape(why)}")

    def state(self, state: str, why: str) -> None:
        """The machine, or the way to it, has changed."""
        if self._json:
            jobs.say_line({"event": "state", "state": state, "message": why})
        else:
            output.note(f"cloudrouter: {output.escape(why)}")


def run(transport: Transport, machine: str, wanted: list[Wanted], *, everything: bool, tell: Teller) -> None:
    """Forward until interrupted; NotFound when the machine is gone."""
    views = {}
    if any(not one.target.isdecimal() for one in wanted):
        apps = served.read_apps(serving.ask(transport, machine, "GET", "apps"))
        views = {app["name"]: str(app.get("view")) for app in apps}
        for one in wanted:
            if not one.target.isdecimal() and one.target not in views:
                missing = UsageError(
                    f"There is no app {one.target} in {machine}.", fix=f"There are: {', '.join(views)}."
                )
                raise serving.explained(missing, transport, machine, one.target)
    elif everything:
        served.read_ports(serving.ask(transport, machine, "GET", "ports"))
    asyncio.run(_Forwards(transport.socket_path, machine, views, tell).run(wanted, everything=everything))


class _Forwards:
    """The forwards of one call."""

    def __init__(self, socket_path: str, machine: str, views: dict[str, str], tell: Teller) -> None:
        self._link = Link(socket_path)
        self._machine = machine
        self._path = routes.machine(machine, "stream")
        self._views = views
        self._tell = tell
        self._open: dict[str, AsyncForward] = {}
        self._seen: dict[str, float] = {}
        self._state = "running"
        self._full = False

    async def run(self, wanted: list[Wanted], *, everything: bool) -> None:
        """Open what is wanted, then look again and again."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            await self._ask_state()
            for one in wanted:
                await self._begin(one)
            while True:
                await self._look(everything=everything)
                await asyncio.sleep(LOOK_S)

    async def _look(self, *, everything: bool) -> None:
        """One look at the machine; what does not last is told and waited out."""
        try:
            if everything:
                await self._follow(served.read_ports(await self._link.call("GET", self._route("ports"))))
                self._note_state("running")
            else:
                await self._ask_state()
        except NotRunning:
            await self._ask_state()
        except Unreachable as error:
            self._note_state("unreachable", error.message)

    async def _ask_state(self) -> None:
        """How the machine is; NotFound when it is no more."""
        facts = await self._link.call("GET", self._route())
        state = str(facts.get("state"))
        if state in _OVER:
            raise NotFound(f"The machine {self._machine} is {state}.", next="cloudrouter ls -a")
        self._note_state(state)

    def _route(self, *rest: str) -> str:
        return routes.machine(self._machine, *rest)

    def _note_state(self, state: str, why: str = "") -> None:
        if state == self._state:
            return
        self._state = state
        again = "is reached again" if state == "running" else f"is {state}; its ports are served again when it is back"
        self._tell.state(state, f"{self._machine} {again}{f' ({why})' if why else ''}.")

    async def _follow(self, ports: list[dict[str, Any]]) -> None:
        """A forward for each port that is new, none any more for one that has been gone for long."""
        now = asyncio.get_running_loop().time()
        for one in ports:
            target = str(one["port"])
            if one.get("app"):
                continue  # Apps are forwarded by name; their ports are their own business.
            self._seen[target] = now
            if target not in self._open and self._has_room():
                await self._begin(Wanted(target, None))
        for target in [target for target, at in self._seen.items() if now - at > FORGET_S]:
            del self._seen[target]
            forward = self._open.pop(target, None)
            if forward is not None:
                port = forward.port
                await forward.close()
                self._tell.closed(target, port)

    def _has_room(self) -> bool:
        if len(self._open) >= AT_MOST and not self._full:
            self._full = True
            self._tell.state(self._state, f"{AT_MOST} ports are forwarded; more are left out.")
        return len(self._open) < AT_MOST

    async def _begin(self, wanted: Wanted) -> None:
        request = requests.target_request(wanted.target)
        forward = await self._listen(wanted, request)
        self._open[wanted.target] = forward
        scheme = _SCHEMES.get(self._views.get(wanted.target, ""), "http")
        moved = wanted.local is None and wanted.target.isdecimal() and forward.port != int(wanted.target)
        self._tell.forward(wanted.target, forward.port, f"{scheme}://127.0.0.1:{forward.port}", moved=moved)

    async def _listen(self, wanted: Wanted, request: dict[str, Any]) -> AsyncForward:
        """On the port that is wanted; where none is, on the same number as inside, or the next free one."""
        for port in _numbers(wanted):
            try:
                return await AsyncForward.begin(
                    self._link, self._path, request, port, lambda why: self._tell.failed(wanted.target, why)
                )
            except CloudRouterError as error:
                if wanted.local is not None or not isinstance(error, (Conflict, UsageError)):
                    raise
        raise Conflict(f"No port of this host is free for {wanted.target}.")

    async def _close(self) -> None:
        for forward in self._open.values():
            await forward.close()
        await self._link.close()


def _numbers(wanted: Wanted) -> list[int]:
    """The numbers that are tried, 0 for any at last; those below 1024 are for root."""
    if wanted.local is not None:
        return [wanted.local]
    if not wanted.target.isdecimal():
        return [0]
    first = int(wanted.target)
    if first < 1024 and os.geteuid() != 0:
        first += 8000
    return [*(port for port in range(first, first + _TRIES) if port < 65536), 0]
