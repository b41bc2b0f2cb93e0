"""The guest's door: who may open a stream, and which operation it starts."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib
import logging
import os
import signal
import socket
import time

from websockets.asyncio.server import serve, unix_serve
from websockets.exceptions import ConnectionClosed

from cloudrouter.guest.config import Config
from cloudrouter.guest.jobinput import JobInputs
from cloudrouter.guest.log import describe, log
from cloudrouter.guest.pipes import HeldPipes
from cloudrouter.guest.process import Children, use_default_signals
from cloudrouter.guest.settings import Settings, forget_coerced_locale, take_settings
from cloudrouter.guest.stream import Stream, read_request
from cloudrouter.wire.errors import CloudRouterError, Internal, Unreachable, UsageError
from cloudrouter.wire.streams import MESSAGE_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Union

    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

    from cloudrouter.guest.browsers import Browsing
    from cloudrouter.guest.packages import Packages
    from cloudrouter.guest.sshd import Sshd
    from cloudrouter.guest.supervising import Supervisor

PATH = "/stream"
SHUTDOWN_S = 3.0
GOODBYE_S = 0.5

_MODULES = {
    "exec": ("exec", "run"),
    "exec.list": ("exec", "list_all"),
    "job.start": ("jobs", "start"),
    "job.list": ("jobs", "list_all"),
    "job.logs": ("joblogs", "run"),
    "job.attach": ("attach", "run"),
    "job.wait": ("jobcontrol", "wait"),
    "job.kill": ("jobcontrol", "kill"),
    "ready": ("ready", "run"),
    "put": ("files", "put"),
    "get": ("files", "get"),
    "tcp": ("tunnels", "run"),
    "app.list": ("apps", "list_all"),
    "app.start": ("apps", "start"),
    "app.stop": ("apps", "stop"),
    "app.connect": ("apps", "connect"),
    "app.logs": ("apps", "logs"),
    "browser": ("browsing", "run"),
    "browser.follow": ("browsingfollow", "run"),
    "ports": ("ports", "run"),
    "pty.open": ("ptys", "run"),
    "pty.list": ("ptycontrol", "list_all"),
    "pty.kill": ("ptycontrol", "kill"),
    "health": ("health", "run"),
    "configure": ("config", "run"),
    "ssh": ("sshd", "run"),
}
"""Operation -> (module of this room, function); imported when first asked for, which keeps an idle guest small."""


class Guest:
    """What the operations share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.config = Config(settings, dict(os.environ))
        self.children = Children()
        self.held_pipes = HeldPipes()
        self.inputs = JobInputs()
        self.packages: Optional[Packages] = None
        """The way to the router's package cache; None until the router tells of one."""
        self.apps: Optional[Supervisor] = None
        """Who runs the apps; None until somebody asks for one, or one is found running."""
        self.sshd: Optional[Sshd] = None
        """Who serves ssh; None until somebody comes with it."""
        self.browsing: Optional[Browsing] = None
        """Who drives the browser; None until somebody asks for a step."""
        self.port: Optional[int] = None
        """The guest's own, where no tunnel leads; None while it listens on no port."""
        self.started = time.monotonic()
        self.execs: dict[str, dict[str, Any]] = {}
        """The foreground commands that run now, as `exec.list` tells them."""
        self._working: set[asyncio.Future[None]] = set()
        self._cancelled: set[asyncio.Future[None]] = set()
        self._answering = 0
        self._all_answered = asyncio.Event()
        self._all_answered.set()

    async def serve_stream(self, connection: ServerConnection) -> None:
        """One stream from its first message to its end; never raises."""
        stream = Stream(connection)
        try:
            message = await stream.first_message()
            self._answering += 1
            self._all_answered.clear()
            try:
                await self._answer(stream, message)
            finally:
                self._answering -= 1
                if not self._answering:
                    self._all_answered.set()
            await stream.close()
        except ConnectionClosed:
            return

    async def _answer(self, stream: Stream, message: Union[str, bytes]) -> None:
        """Do what the first message asks; errors become the final message."""
        try:
            await self._operate(stream, read_request(message))
        except CloudRouterError as error:
            await stream.fail(error)
        except ConnectionClosed:
            raise
        except Exception as error:  # noqa: BLE001 - one stream's failure must not harm another
            log(f"stream broke: {describe(error)}")
            await stream.fail(Internal("Something unforeseen happened in the machine.", fix="Try it again."))

    async def _operate(self, stream: Stream, request: dict[str, Any]) -> None:
        """Run the operation beside listening; it is cancelled when the opener leaves or breaks the rules."""
        work = asyncio.ensure_future(_find_operation(request)(stream, request, self))
        listening = asyncio.ensure_future(stream.listen())
        self._working.add(work)
        try:
            await asyncio.wait({work, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._cancel(work)
                await asyncio.wait({work})
                listening.result()
            if work.cancelled():
                raise Unreachable("The program inside the machine is ending.", fix="Try it again in a moment.")
            work.result()
        finally:
            self._working.discard(work)
            self._cancelled.discard(work)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def end_work(self) -> None:
        """End the foreground operations; jobs have holders of their own and go on."""
        for work in self._working:
            self._cancel(work)
        try:
            await asyncio.wait_for(self._all_answered.wait(), SHUTDOWN_S)
        except asyncio.TimeoutError:
            log("some commands did not end in time")

    def _cancel(self, work: asyncio.Future[None]) -> None:
        """Cancel an operation once: a second time would interrupt its cleaning up."""
        if work not in self._cancelled:
            self._cancelled.add(work)
            work.cancel()


def _find_operation(request: dict[str, Any]) -> Any:
    name = request.get("op")
    if not isinstance(name, str) or name not in _MODULES:
        raise UsageError(f"There is no operation {str(name)[:40]!r}.")
    module, function = _MODULES[name]
    return getattr(importlib.import_module(f"cloudrouter.guest.{module}"), function)


class Door:
    """Decides about each request before it becomes a stream."""

    def __init__(self, token_sha256: str) -> None:
        self._digest = token_sha256

    def check(self, connection: ServerConnection, request: Request) -> Optional[Response]:
        """None lets it in. A page in a browser always sends Origin, so nothing that has one is let in."""
        headers = request.headers
        if headers.get_all("Origin"):
            return connection.respond(403, "")
        given = headers.get_all("Authorization")
        if len(given) != 1 or not self._is_right(given[0]):
            return connection.respond(401, "")
        if request.path != PATH or not headers.get_all("Upgrade"):
            return connection.respond(404, "")
        return None

    def _is_right(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        return hmac.compare_digest(digest, self._digest) and scheme.lower() == "bearer"


async def run(settings: Settings) -> None:
    """Serve streams until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    guest = Guest(settings)
    if guest.config.packages is not None:
        from cloudrouter.guest import packages

        await packages.resume(guest)
    _adopt_apps(guest)
    server = await _listen(settings, guest)
    guest.port = next((sock.getsockname()[1] for sock in server.sockets if sock.family != socket.AF_UNIX), None)
    log(f"machine {settings.machine_id} listens on {_address(server)}")
    await stopping.wait()
    log("ending")
    server.server.close()  # nobody new; `Server.close` would cut off those who are waiting for an answer
    await guest.end_work()
    server.close()
    try:
        await asyncio.wait_for(server.wait_closed(), GOODBYE_S)
    except asyncio.TimeoutError:
        log("some streams did not close in time")


def _adopt_apps(guest: Guest) -> None:
    """Take over the apps that run since before this guest; a machine that never had any imports nothing for it."""
    if os.path.isdir(f"{guest.settings.state}/apps"):
        from cloudrouter.guest import adopting

        adopting.resume(guest)


async def _listen(settings: Settings, guest: Guest) -> Server:
    options: dict[str, Any] = {
        "compression": None,
        "max_size": MESSAGE_LIMIT,
        "process_request": Door(settings.token_sha256).check,
        "server_header": None,
        # A slow reader answers no pings, so TCP's own probes find dead peers, and nobody is cut off while reading.
        "ping_interval": None,
        "close_timeout": None,
    }
    if settings.listen.startswith("unix:"):
        path = settings.listen[len("unix:") :]
        before = os.umask(0o177)
        try:
            return await unix_serve(guest.serve_stream, path, **options)
        finally:
            os.umask(before)
    host, _, port = settings.listen.rpartition(":")
    return await serve(guest.serve_stream, host.strip("[]"), int(port), **options)


def _address(server: Server) -> str:
    names = [sock.getsockname() for sock in server.sockets]
    return ", ".join(name if isinstance(name, str) else f"{name[0]}:{name[1]}" for name in names)


def prepare_folders(settings: Settings) -> None:
    """The guest's own folder and the workspace."""
    os.makedirs(settings.state, exist_ok=True)
    os.chmod(settings.state, 0o711)  # noqa: S103 - commands pass through it to the CA bundle
    os.makedirs(f"{settings.state}/jobs", mode=0o700, exist_ok=True)
    if not os.path.isdir(settings.workspace):
        from cloudrouter.guest.environment import find_account

        os.makedirs(settings.workspace)
        account = find_account(settings.user)
        if account.switch:
            os.chown(settings.workspace, account.uid, account.gid)
    if os.path.isdir(f"{settings.apps}/browser"):
        from cloudrouter.guest import browsingplace

        browsingplace.prepare(settings)


def main() -> int:
    """The guest's life; returns its exit status."""
    use_default_signals()
    os.umask(0o022)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    try:
        with open("/proc/self/environ", "rb") as file:
            forget_coerced_locale(os.environ, file.read())
        settings = take_settings(os.environ)
        prepare_folders(settings)
        asyncio.run(run(settings))
    except CloudRouterError as error:
        log(error.message)
        return 2
    except OSError as error:
        log(f"cannot start: {error.strerror} ({error.filename or 'socket'})")
        return 1
    return 0
