"""The operations `put` and `get`: a stream on one side, the child that touches the files on the other."""

from __future__ import annotations

import asyncio
import json
import os

from cloudrouter.guest import environment
from cloudrouter.guest.pipes import close_all, feed, grow_pipe, make_pipes, pump
from cloudrouter.guest.process import python_words
from cloudrouter.guest.settings import MACHINE_ID
from cloudrouter.guest.tasks import cancel_all, surely
from cloudrouter.wire.errors import CloudRouterError, Internal, TransferFailed, UsageError, from_json
from cloudrouter.wire.streams import STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from cloudrouter.guest.process import Process
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream

_WORDS_LIMIT = 1024 * 1024
_CLEAN_UP_S = 5.0


async def put(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `put`."""
    kind = request.get("kind", "tree")
    if kind not in ("tree", "file"):
        raise UsageError("kind must be tree or file.")
    stream.input.wanted = True
    worker = _Worker(guest, "put", kind, _path(request, guest))
    feeding = asyncio.ensure_future(worker.feed(stream))
    try:
        words = await worker.words()
        await stream.finish("done", _body(words, "done"))
    finally:
        stream.input.abandon()
        await surely(worker.end(feeding))


async def get(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `get`."""
    worker = _Worker(guest, "get", "any", _path(request, guest))
    words = asyncio.ensure_future(worker.words())
    try:
        await asyncio.wait({words, worker.first}, return_when=asyncio.FIRST_COMPLETED)
        if worker.first.done():
            await stream.send("started", _body(worker.first.result(), "started"))
            await worker.send_data(stream)
        await stream.finish("done", _body(await words, "done"))
    finally:
        await surely(worker.end(words))


class _Worker:
    """The child that packs or unpacks as the user."""

    def __init__(self, guest: Guest, verb: str, kind: str, path: bytes) -> None:
        self.first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """Its first line."""
        try:
            (stdin, self._data_in), (self._data_out, stdout), (self._said, stderr) = make_pipes(3)
            try:
                self._process = _start(guest, (verb, kind, path), (stdin, stdout, stderr))
            except BaseException:
                self._close()
                raise
            finally:
                close_all(stdin, stdout, stderr)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise TransferFailed(f"The transfer could not be started: {reason}.") from None
        grow_pipe(self._data_in if verb == "put" else self._data_out)

    async def feed(self, stream: Stream) -> None:
        """Give it the stream's data, and the end of it."""
        await feed(stream.input, self._data_in)
        os.close(self._data_in)
        self._data_in = -1

    async def words(self) -> bytes:
        """All that it says, when it has said it; the first line is in `first` at once."""
        said = bytearray()

        async def take(data: bytes) -> None:
            said.extend(data)
            if len(said) > _WORDS_LIMIT:
                raise Internal("The transfer's report is too long.")
            if b"\n" in said and not self.first.done():
                self.first.set_result(bytes(said[: said.index(b"\n")]))

        await pump(self._said, take, self._process.ended, _CLEAN_UP_S)
        return bytes(said)

    async def send_data(self, stream: Stream) -> None:
        """Send the tar that it makes."""

        async def send(data: bytes) -> None:
            await stream.send_data(STDOUT, data)

        await pump(self._data_out, send, self._process.ended, _CLEAN_UP_S)

    async def end(self, *tasks: asyncio.Future[Any]) -> None:
        """Let it see the end of its data, so that it leaves nothing half-written; KILL when it does not care."""
        await cancel_all(*tasks)
        self._close()
        try:
            await asyncio.wait_for(asyncio.shield(self._process.ended), _CLEAN_UP_S)
        except asyncio.TimeoutError:
            await self._process.end(("KILL",), 0)
        self._process.reap()

    def _close(self) -> None:
        close_all(self._data_in, self._data_out, self._said)
        self._data_in = self._data_out = self._said = -1


def _start(guest: Guest, words: tuple[str, str, bytes], fds: tuple[int, int, int]) -> Process:
    verb, kind, path = words
    account = environment.find_account(guest.settings.user)
    argv = python_words("filework", verb.encode(), kind.encode(), path)
    env = {
        MACHINE_ID.encode(): guest.settings.machine_id.encode(),
        b"HOME": environment.to_bytes(guest.settings.home),
        b"LC_ALL": b"C.UTF-8",
    }
    stdin, stdout, stderr = fds
    return guest.children.start(
        argv, program=argv[0], cwd=b"/", env=env, account=account, stdin=stdin, stdout=stdout, stderr=stderr
    )


def _path(request: dict[str, Any], guest: Guest) -> bytes:
    path: Optional[Any] = request.get("path")
    if path is not None and not isinstance(path, str):
        raise UsageError("path must be text.")
    return environment.to_bytes(environment.resolve_path(guest.settings, path))


def _body(said: bytes, word: str) -> Any:
    """What the last line says under the word; the error that it holds instead is raised."""
    try:
        message = json.loads(said.splitlines()[-1]) if said else {}
    except ValueError:
        message = {}
    if isinstance(message, dict) and "error" in message:
        error: CloudRouterError = from_json(message["error"])
        raise error
    if not isinstance(message, dict) or word not in message:
        raise Internal("The transfer ended without saying how.", fix="The machine may be short of memory.")
    return message[word]
