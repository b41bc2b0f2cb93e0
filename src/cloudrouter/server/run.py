"""The router as a process: one per user, on a private Unix socket, ending without harm to machines."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cloudrouter.server.app import open_router
from cloudrouter.server.logs import configure_logs
from cloudrouter.server.settings import Settings, from_environment
from cloudrouter.wire import places, streams
from cloudrouter.wire.errors import CloudRouterError, Conflict, Internal, NotConfigured

BACKLOG = 512
SHUTDOWN_S = 5
"""Seconds that requests in progress get when the router ends."""
LOCK_RETRY_S = 0.05
TRUSTED_FOLDERS = ("logs", "ca", "apps", "ssh")
TRUSTED_FILES = (
    "router.db", "router.db-wal", "router.db-shm", "router-id", "router.lock", "gateway-port", "images.json",
)  # fmt: skip
TRUSTED = (*TRUSTED_FILES, *TRUSTED_FOLDERS)
"""What the router believes when it finds it in its state folder."""

log = structlog.get_logger("run")


def main(*, detached: bool = False, ready_fd: int | None = None, given: Mapping[str, str] | None = None) -> int:
    """Run the router until a signal or `server stop`; the exit status is returned.

    `ready_fd` is told `ok` once requests are answered, or `error {json}`. `given` counts more than the environment.
    """
    os.umask(0o077)
    try:
        settings = from_environment({**os.environ, **(given or {})})
        prepare_folders(settings)
        configure_logs(settings.log_path, foreground=not detached)
        lock = take_lock(settings)
        sock = bind_socket(settings)
        with lock, sock:
            return _serve(settings, sock, ready_fd)
    except CloudRouterError as error:
        _tell(ready_fd, "error " + json.dumps(error.to_json()))
        if not detached:
            sys.stderr.write(error.to_text() + "\n")
        return error.exit_code
    except Exception as error:
        log.exception("router ended by a defect")
        _tell(
            ready_fd,
            "error " + json.dumps(Internal(f"The router broke: {type(error).__name__}: {error}.").to_json()),
        )
        return 1


def prepare_folders(settings: Settings) -> None:
    """Make state and runtime folder, 0700 and ours, or refuse."""
    for folder in (settings.state_dir, settings.runtime_dir):
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except (OSError, ValueError) as error:
            raise NotConfigured(
                f"The folder {folder} cannot be made: {error}.",
                fix="Set CLOUDROUTER_STATE_DIR and CLOUDROUTER_RUNTIME_DIR to folders of your own.",
            ) from error
        found = os.lstat(folder)
        if folder == settings.state_dir and found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode):
            # Somebody's umask made it, nothing but ours lies in it: closing it harms nobody.
            os.chmod(folder, 0o700)
            found = os.lstat(folder)
        fault = places.folder_fault(found.st_mode, found.st_uid, os.getuid())
        if fault:
            raise NotConfigured(
                f"The folder {folder} is not safe for the router: {fault}.",
                fix=f"Make it a folder of your own with mode 0700: chmod 700 {folder}",
            )
    check_state(settings)


def check_state(settings: Settings) -> None:
    """Refuse what another user has put into the state folder, and close for others what is ours.

    The folder is private now, but it may have been open before: a book, a lock or an id of somebody else's would be
    believed.
    """
    for name in TRUSTED:
        path = f"{settings.state_dir}/{name}"
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue
        fault = _trust_fault(found, is_folder=name in TRUSTED_FOLDERS)
        if fault:
            raise NotConfigured(
                f"{path} is not safe for the router: {fault}.",
                fix="Look where it comes from, and move it away.",
                next=f"ls -ld {path}",
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.chmod(path, stat.S_IMODE(found.st_mode) & 0o700)


def _trust_fault(found: os.stat_result, *, is_folder: bool) -> str | None:
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link"
    if found.st_uid != os.getuid():
        return f"it belongs to user {found.st_uid}, not to you ({os.getuid()})"
    if stat.S_ISDIR(found.st_mode) is not is_folder or not (is_folder or stat.S_ISREG(found.st_mode)):
        return f"it is not a {'folder' if is_folder else 'file'}"
    if not is_folder and found.st_nlink != 1:
        return "it has a second name somewhere else"
    return None


def take_lock(settings: Settings) -> Any:
    """The lock that makes this the only router of its state folder; the file stays open while it runs."""
    file = open(f"{settings.state_dir}/router.lock", "a+", encoding="ascii")  # noqa: SIM115 - held for life
    deadline = time.monotonic() + SHUTDOWN_S + 5
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError as error:
            # One that listens is at work; one that no longer does is ending, and its place becomes free.
            if _answers(settings.socket_path) or time.monotonic() > deadline:
                file.close()
                raise Conflict(
                    "Another router already runs with this state folder.",
                    fix="Use that one, or stop it first.",
                    next="cloudrouter server status",
                ) from error
        select.select([], [], [], LOCK_RETRY_S)


def bind_socket(settings: Settings) -> socket.socket:
    """Listen on the socket path; a dead router's socket is replaced, anything else is left and refused."""
    path = settings.socket_path
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
            raise NotConfigured(
                f"{path} is taken by something that is not a router's socket.",
                fix="Move it away.",
                next=f"ls -l {path}",
            )
        # The state folder's lock is ours, but a router with another state folder may listen here.
        if _answers(path):
            raise Conflict(
                f"Another router listens on {path}.",
                fix="Set CLOUDROUTER_RUNTIME_DIR to another folder for this one.",
                next="cloudrouter server status",
            )
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise NotConfigured(f"The socket {path} cannot be made: {error}.", fix="Use a shorter path.") from error
    sock.listen(BACKLOG)
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


class PeerCheckedProtocol(HttpToolsProtocol):
    """HTTP for our own user (and root) only: the kernel says who is at the other end of the socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Check the peer before a byte of it is read."""
        sock = transport.get_extra_info("socket")
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _pid, uid, _gid = struct.unpack("3i", credentials)
        if uid not in (0, os.getuid()):
            log.warning("foreign user refused", uid=uid)
            transport.abort()
            return
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """uvicorn with its signal handling taken out: this process has one place for that."""

    def capture_signals(self) -> Any:
        """No handlers here."""
        import contextlib

        return contextlib.nullcontext()


def http_config(app: Any) -> uvicorn.Config:
    """How uvicorn serves the app: our own peers only, streams without compression, no logs of its own."""
    return uvicorn.Config(
        app,
        http=PeerCheckedProtocol,
        ws="websockets-sansio",
        ws_max_size=streams.MESSAGE_LIMIT,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=300,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


def _serve(settings: Settings, sock: socket.socket, ready_fd: int | None) -> int:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_async(settings, sock, ready_fd))
    return 0


async def _serve_async(settings: Settings, sock: socket.socket, ready_fd: int | None) -> None:
    async with open_router(settings) as (services, app):
        server = _Server(http_config(app))
        stopping = services.status.stopping
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopping.set)
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        # The socket listens since bind_socket: connections wait in its queue until uvicorn takes them.
        log.info("router serves", pid=os.getpid(), socket=settings.socket_path, router=services.status.facts())
        _tell(ready_fd, "ok")
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        # Gone before the last answers are written: a new router may take the path at once.
        os.unlink(settings.socket_path)
        server.should_exit = True
        await serving
        waiting.cancel()
        log.info("router ends", pid=os.getpid())


def _tell(ready_fd: int | None, line: str) -> None:
    if ready_fd is None:
        return
    try:
        os.write(ready_fd, line.encode() + b"\n")
        os.close(ready_fd)
    except OSError as error:
        log.warning("nobody waits for this router", reason=str(error))
