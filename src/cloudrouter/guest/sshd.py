"""The operation `ssh`: the stream's own connection becomes that of an sshd, which lets in who has a certificate."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time

from cloudrouter.guest import environment
from cloudrouter.guest.environment import rfc3339
from cloudrouter.guest.log import describe, log
from cloudrouter.guest.pipes import close_all, make_pipes
from cloudrouter.guest.sshfiles import SshFiles, find_program
from cloudrouter.wire.errors import Internal, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.process import Ending, Process
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream

ANSWER_LIMIT = 32 * 1024
READY_S = 10.0
"""How long the connection may take to be handed over at the other end."""
LINE_LIMIT = 300
LINES_LIMIT = 100
"""Of what one sshd says so much goes into the log."""
_KEYGEN_S = 30.0


class Sshd:
    """Starts them; one for each connection, and they go on when the guest ends."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._making = asyncio.Lock()
        self._sessions: set[asyncio.Future[None]] = set()
        self.files = SshFiles(guest.settings)

    async def host_key(self, account: Account) -> str:
        """The host key's public half; the key is made when the machine has none of its own."""
        async with self._making:
            known = self.files.public_key()
            if known:
                return known
            path = self.files.place_for_key()
            words = [find_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path]
            code = await self._run(words)
            if code != 0:
                raise Internal(f"The machine's host key could not be made: ssh-keygen ended with {code}.")
            self.files.take_key(account)
            log("a host key was made")
            return self.files.public_key()

    def begin(self, sock: socket.socket, program: str, account: Account) -> None:
        """Serve a connection from now on, whatever becomes of the stream that it was."""
        task = asyncio.ensure_future(self._serve(sock, program, account))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def _serve(self, sock: socket.socket, program: str, account: Account) -> None:
        """Wait until the far end is ready too, then be sshd's keeper to its end; never raises but to be cancelled."""
        try:
            with sock:
                go = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1), READY_S)
                if not go:
                    return
                sock.setblocking(True)  # noqa: FBT003
                process, said = self._start(sock, program, account)
            await self._keep(process, said)
        except (OSError, asyncio.TimeoutError) as error:
            log(f"an ssh connection was lost: {describe(error)}")

    def _start(self, sock: socket.socket, program: str, account: Account) -> tuple[Process, int]:
        """(sshd on the connection, the pipe on which it says what happens)."""
        ((said, told),) = make_pipes(1)
        try:
            process = self._guest.children.start(
                [os.fsencode(program), b"-i", b"-e", b"-f", os.fsencode(self.files.config)],
                program=os.fsencode(program),
                cwd=b"/",
                env={b"PATH": b"/usr/sbin:/usr/bin:/sbin:/bin", b"LANG": b"C.UTF-8"},
                account=account,
                stdin=sock.fileno(),
                stdout=sock.fileno(),
                stderr=told,
            )
        except BaseException:
            close_all(said)
            raise
        finally:
            close_all(told)
        return process, said

    async def _keep(self, process: Process, said: int) -> None:
        """Shown among the foreground commands while it runs; what it says goes into the log."""
        name = f"exec_{process.pid}"
        self._guest.execs[name] = {
            "id": name,
            "command": "ssh (a connection of OpenSSH)",
            "cwd": self._guest.settings.workspace,
            "pid": process.pid,
            "started_at": rfc3339(time.time_ns() // 1_000_000),
            "tty": False,
        }
        listening = _Listening(said)
        try:
            await process.ended
        finally:
            listening.close()
            del self._guest.execs[name]
        process.reap()

    async def _run(self, words: list[str]) -> int:
        """Run a program of the machine with the guest's own rights; its exit code."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            process = self._guest.children.start(
                [os.fsencode(word) for word in words],
                program=os.fsencode(words[0]),
                cwd=b"/",
                env={b"PATH": b"/usr/bin:/bin"},
                account=environment.find_account(""),
                stdin=null,
                stdout=null,
                stderr=null,
            )
        finally:
            os.close(null)
        try:
            ended: Ending = await asyncio.wait_for(asyncio.shield(process.ended), _KEYGEN_S)
        finally:
            await process.end(("KILL",), 0)
            process.reap()
        return ended.code


class _Listening:
    """Writes the lines of a pipe into the log: cut, printable, and no more than an honest sshd says."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        self._lines = 0
        os.set_blocking(fd, False)
        asyncio.get_running_loop().add_reader(fd, self._read)

    def close(self) -> None:
        """Take what is there, and close."""
        if self._fd >= 0:
            self._read()
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LINE_LIMIT]
        for line in lines:
            self._lines += 1
            if self._lines <= LINES_LIMIT:
                text = line[:LINE_LIMIT].decode("utf-8", "replace").strip()
                log("sshd: " + "".join(c if c.isprintable() else "?" for c in text))


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """Tell the host key, take its certificate, and hand the connection over to an sshd."""
    stream.input.wanted = True  # before anything is awaited
    program = find_program("sshd", os.environ.get("PATH", ""))
    if guest.sshd is None:
        guest.sshd = Sshd(guest)
    account = environment.find_account(guest.settings.user)
    await stream.send("host_key", await guest.sshd.host_key(account))
    answer = await _read_answer(stream)
    guest.sshd.files.write(answer["certificate"], answer["authority"], account, guest.config.environment(account, {}))
    guest.sshd.begin(await stream.hand_over("handed"), program, account)


async def _read_answer(stream: Stream) -> dict[str, str]:
    """The router's answer: a certificate for the host key, and who signs those of people."""
    text = b""
    while data := await stream.input.peek(ANSWER_LIMIT):
        text += data
        stream.input.consume(len(data))
        if len(text) > ANSWER_LIMIT:
            raise UsageError("The answer to the host key is too long.")
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not all(_is_line(answer.get(name)) for name in ("certificate", "authority")):
        raise UsageError("The answer to the host key must hold a certificate and an authority.")
    return answer


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and value.startswith("ssh-ed25519")
