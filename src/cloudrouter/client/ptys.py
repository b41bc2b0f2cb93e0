"""Terminals in a machine that go on when nobody is at them, and that several may be at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudrouter.client import commands, requests, served
from cloudrouter.client.execution import Execution
from cloudrouter.client.requests import Command
from cloudrouter.wire import routes

if TYPE_CHECKING:
    from cloudrouter.client.machines import Client
    from cloudrouter.client.websocket import Stream


@dataclass(frozen=True)
class PtySession:
    """One terminal, as its machine describes it."""

    id: str
    name: str | None = None
    command: str = ""
    cwd: str = ""
    started_at: str | None = None
    clients: int = 0
    """Who is at it now."""
    cols: int = 0
    rows: int = 0


class Pty(Execution):
    """A terminal that one is at. Iterate over it for what it shows; `write` types; `exit_code` is known at the end.

    Leaving its `with` block, or closing it, detaches: the program goes on, and `ptys.join` is there again. What a
    newcomer gets first is what stood on the terminal last. Not thread-safe.
    """

    def __init__(self, stream: Stream, request: dict[str, Any], command: str) -> None:
        self._session = ""
        super().__init__(stream, request, command)
        try:
            while not self._session and self._exit is None:
                self._receive()
        except BaseException:
            stream.close()
            raise

    @property
    def session(self) -> str:
        """The terminal's id."""
        return self._session

    def resize(self, columns: int, rows: int) -> None:
        """Tell our size; the terminal has the smallest of all who are at it."""
        if self._exit is None:
            self._stream.send_text(json.dumps({"resize": [columns, rows]}))

    def close(self) -> None:
        """Let go of the terminal, which goes on."""
        self._stream.close()

    def _obey(self, said: dict[str, Any]) -> None:
        if "started" in said:
            self._session = served.read_session(said["started"])
        super()._obey(said)


class Ptys:
    """The terminals of a machine, as its `ptys`."""

    def __init__(self, client: Client, machine_id: str) -> None:
        self._client = client
        self._machine_id = machine_id

    def list(self) -> list[PtySession]:
        """The terminals whose programs run, oldest first."""
        answer = commands.ask(self._stream(), {"op": "pty.list"})
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
    ) -> Pty:
        """A new terminal with a command on it, or a login shell. name: one by which it is found again."""
        request = requests.pty_request(command, name=name, cwd=cwd, env=env, columns=columns, rows=rows)
        return Pty(self._stream(), request, "a login shell" if command is None else requests.shown(command))

    def join(self, session: str, *, columns: int = 80, rows: int = 24) -> Pty:
        """Be at a terminal that is there already, by its id or name; NotFound when its program has ended."""
        return Pty(self._stream(), requests.pty_request(None, session=session, columns=columns, rows=rows), session)

    def kill(self, session: str) -> PtySession:
        """End a terminal and all that runs on it."""
        answer = commands.ask(self._stream(), {"op": "pty.kill", "session": session})
        return requests.read_record(PtySession, served.read_pty(answer.get("pty")))

    def _stream(self) -> Stream:
        return self._client.open_stream(routes.machine(self._machine_id, "stream"))
