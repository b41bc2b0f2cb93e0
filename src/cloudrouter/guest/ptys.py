"""The operation `pty.open`: a client at a terminal that goes on without it, and that others may be at."""

from __future__ import annotations

import asyncio
import marshal
import os
import signal
import time

from cloudrouter.guest import commands, holding, ptyfolders, ptyline, tty
from cloudrouter.guest.jobs import start_error
from cloudrouter.guest.process import ending
from cloudrouter.guest.tasks import cancel_all, surely
from cloudrouter.wire.errors import Unreachable, UsageError
from cloudrouter.wire.streams import CHUNK, STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Optional

    from cloudrouter.guest.ptyfolders import Session
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Input, Stream
    from cloudrouter.guest.tty import Wanted

_GATHER = CHUNK - ptyline.PIECE


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """Be at a terminal, a new one or one that is there, until its program ends or the client leaves."""
    stream.input.wanted = True  # before anything is awaited: input may come at once
    wanted = tty.read_wanted({} if request.get("tty") is None else request["tty"])
    root = ptys_folder(guest.settings.state)
    is_new = request.get("session") is None
    if is_new:
        session = await _start(guest, request, wanted, root)
    else:
        if any(request.get(word) is not None for word in ("line", "argv")):
            raise UsageError("A request has a session or a command, not both.")
        session = ptyfolders.find_session(root, request["session"])
    kind = ptyline.NEW if is_new else ptyline.JOINS
    try:
        sock, frames, _info = await ptyfolders.dial(session.folder, wanted.columns, wanted.rows, kind)
    except OSError:
        raise _lost(session) from None
    client = _Client(stream, sock, frames)
    try:
        started = {"session": session.id, "pid": session.held.command, "name": session.name, "new": is_new}
        await stream.send("started", started)
        status = await client.attend()
    finally:
        await surely(client.close())
    if status is None:
        raise _lost(session)
    how = ending(status)
    duration_ms = max(0, time.time_ns() // 1_000_000 - session.held.started_ms)
    body = {"code": how.code, "signal": how.signal, "timeout": False, "duration_ms": duration_ms}
    await stream.finish("exit", {**body, "session": session.id})


def ptys_folder(state: str) -> str:
    """Where the terminals' folders are."""
    return f"{state}/ptys"


async def _start(guest: Guest, request: dict[str, Any], wanted: Wanted, root: str) -> Session:
    """A new terminal with its program, held by a process of its own; an error when that cannot be started."""
    name = ptyfolders.check_name(request.get("name"))
    command = commands.read_command(request, guest.settings, guest.config, term=wanted.term)
    pty_id, folder, listener = ptyfolders.make_folder(root, command, name)
    command.env[ptyfolders.PTY_VARIABLE] = pty_id.encode()
    account = command.account
    try:
        with listener:
            answer = await holding.start_holder(
                guest,
                command,
                folder,
                module="ptyholder",
                keep=(listener.fileno(),),
                listener=listener.fileno(),
                cols=wanted.columns,
                rows=wanted.rows,
                owner=(account.uid, tty.terminal_group(account.gid)) if account.switch else None,
            )
        word, _, value = answer.partition(b" ")
        held = holding.read_held(folder)
        if word != b"running" or held is None:
            raise start_error(word, value, command, what="session")
    except BaseException as error:
        if not isinstance(error, asyncio.CancelledError):
            ptyfolders.remove_folder(folder)
        raise
    return ptyfolders.Session(pty_id, name, command.shown, os.fsdecode(command.cwd), folder, held)


def _lost(session: Session) -> Unreachable:
    return Unreachable(
        f"The session {session.name or session.id} is gone: the process that held it has ended, and nobody saw how.",
        fix="Open a new one.",
    )


class _Client:
    """Carries between a stream and the holder of its terminal."""

    def __init__(self, stream: Stream, sock: socket.socket, frames: ptyline.Frames) -> None:
        self._stream = stream
        self._sock = sock
        self._frames = frames
        self._lock = asyncio.Lock()
        self._sending: set[asyncio.Future[None]] = set()
        stream.on_resize = self._resize
        stream.on_signal = self._signal

    async def attend(self) -> Optional[int]:
        """Carry until the program has ended: how, as its holder says; None when the holder is gone."""
        typing = asyncio.ensure_future(self._type(self._stream.input))
        try:
            return await self._show()
        finally:
            await cancel_all(typing)

    async def close(self) -> None:
        """Leave the terminal."""
        self._stream.on_resize = self._stream.on_signal = None
        await cancel_all(*self._sending)
        self._sock.close()

    async def _show(self) -> Optional[int]:
        loop = asyncio.get_running_loop()
        while True:
            shown = bytearray()
            while len(shown) < _GATHER and (one := self._frames.next()) is not None:
                kind, data = one
                if kind == ptyline.EXIT:
                    await self._send_shown(shown)
                    return int(data)
                if kind == ptyline.SHOWN:
                    shown += data
            await self._send_shown(shown)
            if shown:
                continue
            try:
                came = await loop.sock_recv(self._sock, CHUNK)
            except OSError:
                came = b""
            if not came:
                return None
            self._frames.feed(came)

    async def _send_shown(self, shown: bytearray) -> None:
        if shown:
            await self._stream.send_data(STDOUT, bytes(shown))

    async def _type(self, source: Input) -> None:
        """Carry what the client types; the end of its input is typed, too, as a person would."""
        while data := await source.peek(ptyline.PIECE):
            if not await self._send(ptyline.TYPED, bytes(data)):
                source.abandon()
                return
            source.consume(len(data))
        await self._send(ptyline.END, b"")

    def _resize(self, columns: int, rows: int) -> None:
        self._begin(ptyline.SIZE, marshal.dumps((columns, rows)))

    def _signal(self, name: str) -> None:
        self._begin(ptyline.SIGNAL, b"%d" % getattr(signal, "SIG" + name))

    def _begin(self, kind: bytes, data: bytes) -> None:
        task = asyncio.ensure_future(self._send_quietly(kind, data))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_quietly(self, kind: bytes, data: bytes) -> None:
        await self._send(kind, data)

    async def _send(self, kind: bytes, data: bytes) -> bool:
        """Send one frame, whole and in turn; False when the holder takes no more."""
        async with self._lock:
            try:
                await asyncio.get_running_loop().sock_sendall(self._sock, ptyline.frame(kind, data))
            except OSError:
                return False
            return True
