"""The gateway: each request's host, cookie and origin are checked, then it is led into its machine."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import structlog
from aiohttp import web

from cloudrouter.auth import cookies, debugging
from cloudrouter.auth.origins import Asked
from cloudrouter.auth.tickets import take_ticket
from cloudrouter.server.gateway import answers
from cloudrouter.server.gateway.answers import Trouble
from cloudrouter.server.gateway.cdp import CdpDoor
from cloudrouter.server.gateway.exchange import BUFFER, HEADER_BYTES, HEADERS_MOST, Pool
from cloudrouter.server.gateway.headers import Outside, framing_fault
from cloudrouter.server.gateway.links import AppStarts, Goal, Links
from cloudrouter.server.gateway.listening import Listener, NoPort
from cloudrouter.server.gateway.relaying import relay
from cloudrouter.server.gateway.splicing import splice
from cloudrouter.server.guests.connections import Guests
from cloudrouter.server.services.cdpkeys import CdpKeys
from cloudrouter.server.services.doors import Doors
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.settings import Settings
from cloudrouter.server.store.machines import Row
from cloudrouter.server.store.sessions import Session
from cloudrouter.wire import apps, states
from cloudrouter.wire.errors import CloudRouterError, Internal, NotRunning, UsageError

REFUSED_METHODS = frozenset({"CONNECT", "TRACE", "TRACK"})
IDLE_S = 75.0
"""How long a browser's connection may idle."""

log = structlog.get_logger("gateway")
_silent = logging.getLogger("cloudrouter.gateway.aiohttp")
_silent.disabled = True  # its messages hold addresses as they were asked for, with what is secret in them


class Gateway:
    """One router's door for browsers."""

    def __init__(self, settings: Settings, doors: Doors, keys: CdpKeys, guests: Guests, traffic: Traffic) -> None:
        self._doors = doors
        self._links = Links(guests, traffic)
        self._pool = Pool(self._links)
        self._cdp = CdpDoor(keys, doors, self._pool)
        server = web.Server(
            self.answer,
            handler_cancellation=True,
            access_log=None,
            logger=_silent,
            keepalive_timeout=IDLE_S,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=HEADERS_MOST,
            read_bufsize=BUFFER,
            auto_decompress=False,
            lingering_time=2.0,
        )
        self._listener = Listener(settings, server)
        self._opening: asyncio.Task[None] | None = None
        doors.on_end(self._links.end)

    def begin(self) -> None:
        """Open in the background: the router serves meanwhile, and also when it cannot be."""
        self._opening = asyncio.create_task(self._open(), name="gateway")

    async def aclose(self) -> None:
        """Stop listening, end every connection."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        self._pool.aclose()
        await self._links.aclose()
        await self._listener.aclose()
        await self._links.aclose()

    async def _open(self) -> None:
        try:
            address = await self._listener.open()
        except NoPort as error:
            log.warning("no gateway", reason=str(error))
            self._doors.opened(None, str(error))
        except OSError as error:
            log.warning("no gateway", reason=str(error))
            self._doors.opened(None, f"{error.strerror or error}")
        else:
            log.info("gateway serves", url=address.url)
            self._doors.opened(address)

    # -- requests -----------------------------------------------------------------------------------------------

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request; nothing in it is believed before it was checked."""
        try:
            return await self._checked(request)
        except Trouble as trouble:
            return answers.tell(request, trouble)
        except ConnectionError:
            raise  # the browser has left
        except CloudRouterError as error:
            log.warning("a request failed", code=error.code)
            return answers.tell(request, Trouble("app_failed", detail=error.message))
        except Exception as error:  # noqa: BLE001 - no browser sees a traceback, and no log what was asked for
            log.error("the gateway met a defect", kind=type(error).__name__, where=_where(error))
            return answers.tell(request, Trouble("app_failed", detail=Internal("The gateway met a defect.").message))

    async def _checked(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = framing_fault(request.raw_headers)
        if len(request.headers.getall("Host", ())) != 1:
            fault = "it does not have one host"
        target = request.raw_path
        if not fault and not (target.startswith("/") and target.isascii() and "#" not in target):
            fault = "its address is not a path"
        if fault:
            return answers.bad_request(fault)
        address = self._doors.address
        debugged = debugging.read(address, request.headers["Host"], target) if address is not None else None
        if address is not None and debugged is not None:
            return await self._cdp.answer(request, debugged, address)
        ticket, clean = take_ticket(target)
        outside = self._outside(request, clean)
        tls, machine_id = outside.address.tls, outside.place.machine_id
        secrets = cookies.session_secrets(request.headers.getall("Cookie", []), tls=tls)
        if len(secrets) > 1:
            raise self._trouble(
                "refused", outside, "Two sign-ins came at once; one of them is not ours. Clear cookies."
            )
        session = self._doors.session(secrets[0], outside.place) if secrets else None
        if ticket is None and session is None:
            raise self._trouble("signed_out", outside, command=f"cloudrouter open {machine_id} {outside.place.target}")
        asked = Asked(request.method, _values(request))
        if not asked.is_from(outside.origin):
            raise self._foreign(asked, outside, session)
        if ticket is not None:
            answer = await self._use_ticket(asked, outside, ticket, session)
            if answer is not None:
                return answer
        return await self._lead(request, outside, asked, self._living(outside, session))

    def _outside(self, request: web.BaseRequest, target: str) -> Outside:
        address = self._doors.address
        host = request.headers["Host"]
        place = address.read(host) if address is not None else None
        if address is None or place is None:
            raise Trouble("signed_out", detail="This is not the address of a machine.", command="cloudrouter ls")
        return Outside(address, place, host, target)

    async def _use_ticket(
        self, asked: Asked, outside: Outside, ticket: str, session: Session | None
    ) -> web.StreamResponse | None:
        """The redirect with the cookie. None: the session that was there goes on without the ticket."""
        known = session is not None and not session.ended
        if asked.is_navigation:
            secret = await self._doors.enter(ticket, outside.place)
            if secret is not None:
                cookie = cookies.set_session(secret, tls=outside.address.tls)
                return answers.let_in(outside.origin + outside.target, cookie)
            if known:
                return answers.let_in(outside.origin + outside.target, None)
        elif known:
            return None
        command = f"cloudrouter open {outside.place.machine_id} {outside.place.target}"
        if asked.is_navigation:
            raise self._trouble("signed_out", outside, "This link was used already, or is too old.", command)
        raise self._trouble("signed_out", outside, "A link with a ticket is for a browser's window.", command)

    def _foreign(self, asked: Asked, outside: Outside, session: Session | None) -> Trouble:
        """What a request is told that does not come from where it must."""
        place = outside.place
        kind = "signed_out" if session is None else "refused"
        if not asked.is_silent:
            return self._trouble(kind, outside)
        detail = "This address is for a person's browser; programs reach a machine's ports with `cloudrouter forward`."
        return self._trouble(kind, outside, detail, f"cloudrouter forward {place.machine_id} {place.target}")

    def _living(self, outside: Outside, session: Session | None) -> tuple[Session, Row]:
        """The session and its machine, if both are good; else the page that says what became of them."""
        place = outside.place
        row = self._doors.current(place.machine_id)
        if row is None or row.state in (states.DELETING, states.GONE):
            raise self._trouble("gone", outside)
        if self._doors.reachable(place.machine_id) is None:
            raise self._trouble("not_running", outside, command=f"cloudrouter resume {place.machine_id}")
        if session is None or session.ended:
            command = f"cloudrouter open {place.machine_id} {place.target}"
            raise self._trouble("signed_out", outside, command=command)
        return session, row

    async def _lead(
        self, request: web.BaseRequest, outside: Outside, asked: Asked, living: tuple[Session, Row]
    ) -> web.StreamResponse:
        session, row = living
        if request.method in REFUSED_METHODS:
            raise self._trouble("refused", outside, f"The method {request.method} is not passed on.")
        upgrade = _is_websocket(request)
        goal = Goal(row, outside.place, holds=not (asked.is_navigation and answers.wants_page(request)))
        try:
            if session.view == apps.VIEW_RFB:
                return await self._desktop(request, session, goal)
            if upgrade:
                return await splice(self._pool, request, outside, goal)
            return await relay(self._pool, request, outside, goal)
        except AppStarts as starts:
            raise self._trouble("starting", outside, starts.message) from None
        except NotRunning as error:
            raise self._trouble("not_running", outside, error.message, error.next) from None
        except CloudRouterError as error:
            raise self._failed(outside, error) from None

    async def _desktop(self, request: web.BaseRequest, session: Session, goal: Goal) -> web.StreamResponse:
        from cloudrouter.server.gateway.desktop import bridge, pages

        if request.path != "/websock":
            return await pages.serve(request, session, goal.row)

        async def open_stream() -> Any:
            return await self._links.open_stream(goal)

        return await bridge.run(request, session, open_stream)

    def _failed(self, outside: Outside, error: CloudRouterError) -> Trouble:
        place = outside.place
        if self._doors.reachable(place.machine_id) is None:
            return self._trouble("not_running", outside)
        if isinstance(error, UsageError):
            return self._trouble("refused", outside, error.message)
        if place.port is not None:
            return self._trouble("nothing_listens", outside, error.message, f"cloudrouter ports {place.machine_id}")
        return self._trouble("app_failed", outside, error.message, f"cloudrouter apps {place.machine_id}")

    def _trouble(self, kind: str, outside: Outside, detail: str = "", command: str = "") -> Trouble:
        """A trouble of this place. The machine's name is told only to whoever was let in before."""
        row = self._doors.current(outside.place.machine_id) if kind not in ("signed_out", "refused") else None
        name = row.name if row is not None else ""
        return Trouble(kind, outside.place.machine_id, outside.place.target, name, detail, command)


def _values(request: web.BaseRequest) -> dict[str, list[str]]:
    names = ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "origin", "upgrade")
    early = ("sec-purpose", "purpose", "x-purpose", "x-moz")
    headers = request.headers
    return {name: headers.getall(name) for name in (*names, *early) if name in headers}


def _is_websocket(request: web.BaseRequest) -> bool:
    return request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"


def _where(error: BaseException) -> str:
    """File and line of the defect."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}" if last is not None else ""
