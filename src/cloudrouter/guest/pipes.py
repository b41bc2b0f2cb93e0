"""Bytes between a process and a stream: reading without delay, writing no faster than they are taken."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os

from cloudrouter.wire.streams import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any, Callable

    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.stream import Input

_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, which fcntl names from Python 3.10 on
_DEFAULT_PIPE = 65536
_HELD_LIMIT = 256


def make_pipes(count: int) -> list[tuple[int, int]]:
    """As many pairs of (read end, write end), closed at exec; OSError when there is no room for all of them."""
    made: list[tuple[int, int]] = []
    try:
        while len(made) < count:
            made.append(os.pipe2(os.O_CLOEXEC))
    except OSError:
        for pair in made:
            close_all(*pair)
        raise
    return made


def close_all(*fds: int) -> None:
    """Close those that are open; -1 stands for none."""
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def give(account: Account, *fds: int) -> None:
    """Make pipes the account's own: then a command may open its /dev/stdin, /dev/stdout and /dev/stderr as files."""
    if account.switch:
        for fd in fds:
            os.fchown(fd, account.uid, account.gid)


async def pump(fd: int, send: Callable[[bytes], Awaitable[None]], ended: asyncio.Future[Any], quiet_s: float) -> bool:
    """Send what the descriptor gives, until its end (True).

    After the process has ended it is also enough that nothing came for `quiet_s` while we were reading (False):
    then somebody else holds the other end.
    """
    os.set_blocking(fd, False)
    grown = False
    while True:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            if not await _readable(fd, ended, quiet_s):
                return False
            continue
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal whose other side is closed
                raise
            return True
        if not data:
            return True
        if not grown and len(data) >= _DEFAULT_PIPE:
            grown = True
            grow_pipe(fd)
        await send(data)


def grow_pipe(fd: int) -> None:
    """Make a busy pipe hold a whole message; only those, since the kernel counts pipe memory per user."""
    try:
        fcntl.fcntl(fd, _SET_PIPE_SIZE, CHUNK)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EBUSY, errno.ENOMEM, errno.EBADF, errno.EINVAL):
            raise


async def feed(source: Input, fd: int, count: Callable[[int], None] = lambda _written: None) -> None:
    """Write the stream's input to the descriptor as its reader takes it; return at the end of the input.

    `count` hears of all that was written, at once.
    """
    os.set_blocking(fd, False)
    while data := await source.peek(_DEFAULT_PIPE):
        try:
            written = os.write(fd, data)
            count(written)
            source.consume(written)
        except BlockingIOError:
            await _writable(fd)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            source.abandon()  # the reader has closed its input, which is its right
            return


async def write_all(fd: int, data: bytes) -> None:
    """Write all of it, as its reader takes it."""
    os.set_blocking(fd, False)
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            await _writable(fd)


async def read_all(fd: int, limit: int) -> bytes:
    """All up to the end, or to the limit."""
    os.set_blocking(fd, False)
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    found = b""
    while len(found) < limit:
        try:
            data = os.read(fd, limit - len(found))
        except BlockingIOError:
            await _readable(fd, never, 0)
            continue
        if not data:
            break
        found += data
    return found


class HeldPipes:
    """Read ends whose writers outlive their command: emptied, so that a daemon is not killed by its own output."""

    def __init__(self) -> None:
        self._held: dict[int, None] = {}

    def hold(self, fd: int) -> None:
        """Take over a descriptor until its end; the oldest is closed when there are too many."""
        if len(self._held) >= _HELD_LIMIT:
            self._close(next(iter(self._held)))
        self._held[fd] = None
        asyncio.get_running_loop().add_reader(fd, self._empty, fd)

    def _empty(self, fd: int) -> None:
        try:
            data = os.read(fd, _DEFAULT_PIPE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(fd)

    def _close(self, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        del self._held[fd]
        os.close(fd)


async def _readable(fd: int, ended: asyncio.Future[Any], quiet_s: float) -> bool:
    """Wait for data or the end of data; False when the process has ended and it stays quiet."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bool] = loop.create_future()
    timers: list[asyncio.TimerHandle] = []

    def settle(value: bool) -> None:  # noqa: FBT001
        if not ready.done():
            ready.set_result(value)

    def count_down(_: asyncio.Future[Any]) -> None:
        timers.append(loop.call_later(quiet_s, settle, False))  # noqa: FBT003

    loop.add_reader(fd, settle, True)  # noqa: FBT003
    ended.add_done_callback(count_down)
    try:
        return await ready
    finally:
        loop.remove_reader(fd)
        ended.remove_done_callback(count_down)
        for timer in timers:
            timer.cancel()


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(fd, settle)
    try:
        await ready
    finally:
        loop.remove_writer(fd)
