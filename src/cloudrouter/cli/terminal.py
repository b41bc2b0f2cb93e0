"""Being at a terminal in a machine: joined again when the router is restarted, left alone by its keys."""

from __future__ import annotations

import sys

from cloudrouter.cli import output, serving
from cloudrouter.cli.ttymodes import Modes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloudrouter.client.transport import Transport

DEFAULT_KEYS = "ctrl-p,ctrl-q"


class Terminal:
    """One person's stay at a terminal, over as many streams as it takes."""

    def __init__(self, transport: Transport, machine: str, request: dict[str, Any], *, keys: str, muted: bool) -> None:
        """request: a `pty.open`. keys: as `values.detach_keys` reads them. muted: nothing that is typed is sent."""
        from cloudrouter.cli.values import detach_keys
        from cloudrouter.client import commands, terminals

        self._transport = transport
        self._machine = machine
        self._request = request
        self._keys = keys
        self._detach = terminals.DetachKeys(detach_keys(keys), muted=muted)
        self._write = commands.writer(1)
        self._modes = Modes(self._write)
        self._session = ""
        self._told = False
        self._joined = 0
        """How often the machine has said which terminal this is."""

    def stay(self) -> int:
        """Until the program ends or the person leaves; the program's status, 0 after leaving."""
        from cloudrouter.client import following

        self._tell_keys()
        output.flush()
        end = serving.told_older(
            self._machine,
            lambda: following.persist(
                self._transport,
                self._once,
                moved=lambda: self._joined,
                # A terminal that a broken stream was to make may be there: only one that is known is sought again.
                may=lambda: bool(self._session) or "session" in self._request,
            ),
        )
        if not end.get("detached") and not end.get("ended_here"):
            return int(end["code"])
        self._write(memoryview(self._modes.reset()))
        shown = output.escape(self._session)
        output.note(f"\rcloudrouter: left {shown}; it goes on:  cloudrouter pty {self._machine} --session {shown}")
        return int(end.get("code", 0))

    def _once(self) -> dict[str, Any]:
        from cloudrouter.client import commands, following
        from cloudrouter.wire.errors import Unreachable

        again = bool(self._session)
        request = {"op": "pty.open", "session": self._session} if again else self._request
        try:
            return commands.run(
                following.open_stream(self._transport, self._machine),
                request,
                stdin_fd=0,
                on_stdout=self._modes,
                on_stderr=commands.writer(2),
                tty=True,
                on_started=self._begin,
                detach=self._detach,
            )
        except Unreachable:
            if self._session and not self._told:
                self._told = True
                output.note("\r\ncloudrouter: the connection broke; the terminal goes on, and is joined again ...")
            raise

    def _begin(self, started: dict[str, Any]) -> None:
        from cloudrouter.client import served

        self._session = served.read_session(started)
        self._joined += 1  # What comes first clears the screen and shows it again.
        self._told = False

    def _tell_keys(self) -> None:
        if self._keys != "none" and output.is_terminal(sys.stderr):
            keys = " ".join(self._keys.split(","))
            output.note(output.paint(f"{keys} leaves it running; `pty-list` finds it again", "dim", sys.stderr))
