"""Starting the router in the background: exactly one, however many ask at once, and replacing an older one."""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
import time
from contextlib import contextmanager

from cloudrouter import __version__
from cloudrouter.client import router
from cloudrouter.client.transport import NotListening, Transport
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire import places, routes
from cloudrouter.wire.errors import CloudRouterError, NotConfigured, TimedOut, Unreachable, from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from subprocess import Popen
    from typing import Any

READY_DEADLINE_S = 30.0
STOP_DEADLINE_S = 20.0
_READY_LIMIT = 64 * 1024
_LOG_LIMIT = 1024 * 1024
_LOG_TAIL = 4096


def start_router(transport: Transport) -> None:
    """Start a router behind the transport, unless somebody else has just done so, and connect to it.

    Raises the router's own reason when it says one, else Unreachable with the end of its log.
    """
    with _start_lock(os.path.dirname(transport.socket_path)):
        _start_unless_running(transport)


def replace_router(transport: Transport) -> None:
    """Stop the router behind the transport when it is still of another version, and start ours."""
    with _start_lock(os.path.dirname(transport.socket_path)):
        try:
            facts = transport.call("GET", routes.SERVER)
            if transport.server_version == __version__:
                return
            _stop(transport, facts)
        except NotListening:
            pass  # It went by itself; ours is started below.
        transport.close()
        _start_unless_running(transport)
        transport.call("GET", routes.SERVER)


@contextmanager
def _start_lock(folder: str) -> Iterator[None]:
    """Only one process at a time starts or replaces the router; the kernel frees the lock of one that dies."""
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        try:
            router.check_place(f"{folder}/{places.SOCKET_NAME}")
        except NotListening:
            pass
        lock = os.open(f"{folder}/start.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NotConfigured(
            f"The router's folder {folder} cannot be made or used: {error.strerror}.",
            fix="Set XDG_RUNTIME_DIR to a folder of your own.",
            next=f"ls -ld {folder}",
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _start_unless_running(transport: Transport) -> None:
    try:
        transport.open()
    except NotListening:
        _spawn_and_wait(places.state_dir(os.environ))
        transport.open()


def _spawn_and_wait(state_dir: str) -> None:
    log_path = f"{state_dir}/logs/router.out"
    log = _open_log(log_path)
    ready, told = os.pipe()
    try:
        start = os.fstat(log).st_size
        try:
            process = _spawn(told, log)
        finally:
            os.close(told)
        word = _await_word(ready, time.monotonic() + READY_DEADLINE_S)
        if word is None:
            process.terminate()
    finally:
        os.close(ready)
        os.close(log)
    if word != "ok":
        raise _start_error(word, log_path, start)


def _spawn(told: int, log: int) -> Popen[bytes]:
    """Start the router in a session of its own, with nothing of ours but the pipe `told`."""
    import subprocess
    import threading

    if not sys.executable:
        raise NotConfigured("This Python does not know its own path, so no router can be started from it.")
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "cloudrouter", "server", "run", "--detached", "--ready-fd", str(told)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",  # Keeps no folder busy, and `-m` looks for modules in the working folder first.
            env=_router_environment(os.environ),
            pass_fds=(told,),
            start_new_session=True,
        )
    except OSError as error:
        raise NotConfigured(f"The router cannot be started: {error.strerror} ({sys.executable}).") from None
    # A program that lives longer than the router must collect it, or it stays in the process table.
    threading.Thread(target=process.wait, name="router-wait", daemon=True).start()
    return process


def _router_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Ours; relative folders in PYTHONPATH made absolute, as the router runs elsewhere."""
    copy = dict(env)
    if copy.get("PYTHONPATH"):
        copy["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in copy["PYTHONPATH"].split(os.pathsep))
    return copy


def _open_log(path: str) -> int:
    """The file for what the router says before its own log is open; a full one is put aside."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if os.path.exists(path) and os.path.getsize(path) > _LOG_LIMIT:
            os.replace(path, path + ".1")
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NotConfigured(
            f"The router's log {path} cannot be written: {error.strerror}.",
            fix="Make the folder writable, or set XDG_STATE_HOME to one that is.",
            next=f"ls -ld {os.path.dirname(path)}",
        ) from None


def _await_word(ready: int, deadline: float) -> str | None:
    """The line that the router writes once it serves or fails; "" when it died without one, None past the deadline."""
    poller = select.poll()
    poller.register(ready, select.POLLIN)
    said = b""
    while b"\n" not in said and len(said) < _READY_LIMIT:
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            return None
        piece = os.read(ready, 4096)
        if not piece:
            break
        said += piece
    return said.partition(b"\n")[0].decode("utf-8", "replace").strip()


def _start_error(word: str | None, log_path: str, start: int) -> CloudRouterError:
    if word and word.startswith("error "):
        try:
            return from_json(json.loads(word.removeprefix("error ")))
        except ValueError:
            pass  # Not readable: then its log has to do.
    tail = _tail(log_path, start)
    what = f"did not serve within {READY_DEADLINE_S:g} s" if word is None else "ended before it served"
    said = f": {tail[-1]}" if tail else ""
    return Unreachable(
        f"The router was started and {what}{said}",
        fix=f"Its last words are in {log_path}; `cloudrouter doctor` checks this host.",
        next="cloudrouter server run",
        log=tail,
    )


def _tail(path: str, start: int) -> list[str]:
    """The last lines written since `start`, safe to print."""
    try:
        with open(path, "rb") as log:
            log.seek(max(start, os.fstat(log.fileno()).st_size - _LOG_TAIL))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = ["".join(c if c.isprintable() else "?" for c in line.rstrip()) for line in text.split("\n")]
    return [line for line in lines if line.strip()][-10:]


def _stop(transport: Transport, facts: Any) -> None:
    """Ask the router to stop and wait until its process is gone; machines are left running."""
    pid = facts.get("pid") if isinstance(facts, dict) else None
    if not isinstance(pid, int) or pid < 2:
        raise Unreachable("The older router does not say which process it is.", next="cloudrouter server stop")
    process = _watch(pid)
    try:
        try:
            transport.call("POST", routes.SERVER_STOP, timeout=STOP_DEADLINE_S)
        except ConnectionLost:
            pass  # It stopped before the answer was out.
        if process is not None and not _readable(process, STOP_DEADLINE_S):
            raise TimedOut(
                f"The older router (process {pid}) did not stop within {STOP_DEADLINE_S:g} s.",
                fix="End it by hand; machines are not touched by that.",
                next=f"kill {pid}",
            )
    finally:
        if process is not None:
            os.close(process)


def _watch(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None when it has ended or cannot be watched."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _readable(fd: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))
