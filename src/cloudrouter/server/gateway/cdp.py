"""Debugging addresses at the gateway: programs with a key are led to a machine's browser, everybody else is refused."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from cloudrouter.auth import debugging
from cloudrouter.auth.debugging import Debugging
from cloudrouter.auth.hosts import Address, Place
from cloudrouter.server.gateway import answers
from cloudrouter.server.gateway.answers import Trouble
from cloudrouter.server.gateway.exchange import Pool
from cloudrouter.server.gateway.headers import Outside
from cloudrouter.server.gateway.links import Goal
from cloudrouter.server.gateway.splicing import splice
from cloudrouter.server.services.cdpkeys import CdpKeys
from cloudrouter.server.services.doors import Doors
from cloudrouter.wire import states
from cloudrouter.wire.errors import CloudRouterError, NotRunning, Unreachable

INNER_HOST = "127.0.0.1:9222"
"""What the browser is told: it answers only who calls it by an address of its own host."""
LIST_BYTES = 4 * 1024 * 1024
_HANDSHAKE = ("sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol")
_KEPT = ("id", "type", "title", "url", "Browser", "Protocol-Version", "User-Agent", "V8-Version", "WebKit-Version")
_SOCKET_URL = "webSocketDebuggerUrl"


class CdpDoor:
    """Leads programs to browsers."""

    def __init__(self, keys: CdpKeys, doors: Doors, pool: Pool) -> None:
        self._keys = keys
        self._doors = doors
        self._pool = pool

    async def answer(self, request: web.BaseRequest, asked: Debugging, address: Address) -> web.StreamResponse:
        """The answer to a request for a debugging address; nothing of it was checked before."""
        if debugging.is_of_a_page(request.headers):
            raise Trouble("refused", detail="A debugging address is for programs; no web page may use it.")
        place = self._keys.place(asked)
        if place is None:
            raise Trouble(
                "signed_out",
                detail="This debugging address is too old, was closed, or never was.",
                command="cloudrouter browser cdp ID",
            )
        goal = self._goal(place)
        if request.method != "GET":
            raise Trouble("refused", detail=f"The method {request.method} is not passed on.")
        try:
            return await self._lead(request, asked, address, goal)
        except NotRunning as error:
            raise Trouble("not_running", place.machine_id, place.target, detail=error.message) from None
        except CloudRouterError as error:
            command = f"cloudrouter apps {place.machine_id}"
            raise Trouble("app_failed", place.machine_id, place.target, detail=error.message, command=command) from None

    def _goal(self, place: Place) -> Goal:
        row = self._doors.current(place.machine_id)
        if row is None or row.state in (states.DELETING, states.GONE):
            raise Trouble("gone", place.machine_id, place.target)
        if self._doors.reachable(row.id) is None:
            command = f"cloudrouter resume {row.id}"
            raise Trouble("not_running", row.id, place.target, command=command)
        return Goal(row, place, holds=True)

    async def _lead(
        self, request: web.BaseRequest, asked: Debugging, address: Address, goal: Goal
    ) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            path = asked.path or await self._browser_socket(goal)
            if not debugging.is_socket(path):
                return answers.not_found("There is no such WebSocket of the browser.")
            return await self._join(request, address, goal, path)
        host = request.headers["Host"]
        outside = debugging.base(address, goal.place.machine_id, asked.key, socket=True, host=host)
        if asked.path == debugging.VERSION:
            return answers.data(_shown(await self._ask(goal, debugging.VERSION), outside))
        if asked.path in debugging.LISTS:
            found = await self._ask(goal, "/json/list")
            return answers.data([_shown(one, outside) for one in found] if isinstance(found, list) else [])
        return answers.not_found("A debugging address has /json/version, /json/list and WebSockets.")

    async def _join(self, request: web.BaseRequest, address: Address, goal: Goal, path: str) -> web.StreamResponse:
        lines = [f"GET {path} HTTP/1.1", f"Host: {INNER_HOST}", "Connection: Upgrade", "Upgrade: websocket"]
        lines += [f"{name}: {value}" for name in _HANDSHAKE for value in request.headers.getall(name, ())]
        head = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"
        return await splice(self._pool, request, Outside(address, goal.place, INNER_HOST, path), goal, head=head)

    async def _browser_socket(self, goal: Goal) -> str:
        """The path of the browser's own WebSocket, which changes whenever it starts."""
        found = await self._ask(goal, debugging.VERSION)
        path = debugging.socket_path(found.get(_SOCKET_URL)) if isinstance(found, dict) else None
        if path is None:
            raise Unreachable("The browser did not say where it can be debugged.")
        return path

    async def _ask(self, goal: Goal, path: str) -> Any:
        """The JSON that the browser has at a path."""
        head = f"GET {path} HTTP/1.1\r\nHost: {INNER_HOST}\r\nAccept: application/json\r\n\r\n"
        exchange = await self._pool.ask(goal, "GET", head.encode())
        try:
            data = b""
            while piece := await exchange.body.readany():
                data += piece
                if len(data) > LIST_BYTES:
                    raise Unreachable("The browser's answer is too long.")
        finally:
            exchange.close()
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise Unreachable("The browser's answer cannot be read.") from None


def _shown(said: Any, outside: str) -> dict[str, Any]:
    """What a browser says of itself or of a page, with its WebSocket as it is reached from here."""
    if not isinstance(said, dict):
        return {}
    kept: dict[str, Any] = {name: said[name] for name in _KEPT if isinstance(said.get(name), str)}
    path = debugging.socket_path(said.get(_SOCKET_URL))
    if path is not None:
        kept[_SOCKET_URL] = outside + path
    return kept
