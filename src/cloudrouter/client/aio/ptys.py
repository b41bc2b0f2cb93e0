"""Terminals in a machine, for programs that await."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from cloudrouter.client import requests, served
from cloudrouter.client.aio.execution import AsyncExecution, ask
from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.opening import Opening
from cloudrouter.client.aio.streams import AsyncStream
from cloudrouter.client.ptys import PtySession
from cloudrouter.client.requests import Command
from cloudrouter.wire import routes


class AsyncPty(AsyncExecution):
    """A terminal that one is at. Iterate over it for what it shows; `write` types; `exit_code` is known at the end.

    Leaving its `with` block, or closing it, detaches: the program goes on, and `ptys.join` is there again. What a
    newcomer gets first is what stood on the terminal last. One task may write while another reads.
    """

    def __init__(self, stream: AsyncStream, command: str) -> None:
        super().__init__(stream, command)
        self._session = ""

    @classmethod
    async def begin(cls, stream: AsyncStream, request: dict[str, Any], command: str) -> Self:
        """Ask for the terminal; the stream is closed when that fails."""
        pty = cls(stream, command)
        try:
            await stream.send_text(json.dumps(request))
            while not pty._session and pty._exit is None:
                await pty._receive()
        except BaseException:
            await stream.close()
            raise
        return pty

    @property
    def session(self) -> str:
        """The terminal's id."""
        return self._session

    async def resize(self, columns: int, rows: int) -> None:
        """Tell our size; the terminal has the smallest of all who are at it."""
        if self._exit is None:
            await self._stream.send_text(json.dumps({"resize": [columns, rows]}))

    async def close(self) -> None:
        """Let go of the terminal, which goes on."""
        await self._stream.close()

    def _obey(self, said: dict[str, Any]) -> None:
        if "started" in said:
            self._session = served.read_session(said["started"])
        super()._obey(said)


class AsyncPtys:
    """The terminals of a machine, as its `ptys`."""

    def __init__(self, link: Link, machine_id: str) -> None:
        self._link = link
        self._machine_id = machine_id

    async def list(self) -> list[PtySession]:
        """The terminals whose programs run, oldest first."""
        answer = await ask(await self._stream(), {"op": "pty.list"})
        return [requests.read_record(PtySession, one) for one in served.read_ptys(answer)]

    def open(
        self,
        command: Command | None = None,
        *,
        name: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        columns: int = 80,
        rows: int = 24,
    ) -> Opening[AsyncPty]:
        """A new terminal with a command on it, or a login shell. name: one by which it is found again."""
        request = requests.pty_request(command, name=name, cwd=cwd, env=env, columns=columns, rows=rows)
        return Opening(self._begin(request, "a login shell" if command is None else requests.shown(command)))

    def join(self, session: str, *, columns: int = 80, rows: int = 24) -> Opening[AsyncPty]:
        """Be at a terminal that is there already, by its id or name; NotFound when its program has ended."""
        request = requests.pty_request(None, session=session, columns=columns, rows=rows)
        return Opening(self._begin(request, session))

    async def kill(self, session: str) -> PtySession:
        """End a terminal and all that runs on it."""
        answer = await ask(await self._stream(), {"op": "pty.kill", "session": session})
        return requests.read_record(PtySession, served.read_pty(answer.get("pty")))

    async def _begin(self, request: dict[str, Any], command: str) -> AsyncPty:
        return await AsyncPty.begin(await self._stream(), request, command)

    async def _stream(self) -> AsyncStream:
        return await self._link.stream(routes.machine(self._machine_id, "stream"))
