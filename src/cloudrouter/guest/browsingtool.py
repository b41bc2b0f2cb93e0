"""agent-browser as a program: one run for one step, its environment always the same, its answer read as hostile."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass

from cloudrouter.guest import approcess, browsingplace
from cloudrouter.guest.environment import find_account
from cloudrouter.wire.browsing import ANSWER_LIMIT, APP
from cloudrouter.wire.errors import BrowserDown, NotConfigured, StepFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Optional

    from cloudrouter.guest.process import Process
    from cloudrouter.guest.server import Guest

PROGRAM = "bin/agent-browser"
SETTINGS = "agent-browser.json"
_TOLD = 300


@dataclass(frozen=True)
class Told:
    """What agent-browser answered to one command."""

    ok: bool
    data: dict[str, Any]
    error: str = ""
    code: str = ""
    warning: str = ""
    then: Optional[Told] = None
    """What it answered to the command after it, where one was asked for."""


class Tool:
    """Runs agent-browser as the machine's user."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self.port = 0
        """Chromium's debugging port."""
        self._app = f"{guest.settings.apps}/{APP}"
        self.place = browsingplace.place(guest.settings)
        """Where the files of steps are: FOLDER of a machine."""
        self.downloads = f"{guest.settings.home}/Downloads"
        self.sockets = f"{self.place}/daemons"
        """Where the sessions' daemons have their sockets; the path with a name has to stay below 104 bytes."""

    def check(self) -> None:
        """NotConfigured in an image whose browser cannot be driven; else all is there that a step needs."""
        if not os.access(f"{self._app}/{PROGRAM}", os.X_OK):
            raise NotConfigured(
                "This machine's image has no program to drive its browser.",
                fix="Start a machine from a current image.",
                next="cloudrouter start --image desktop",
            )
        browsingplace.prepare(self._guest.settings)

    async def run(
        self,
        session: str,
        argv: Sequence[str],
        *,
        flags: Sequence[str] = (),
        first: Optional[Sequence[str]] = None,
        then: Optional[Sequence[str]] = None,
    ) -> Told:
        """One command of a session. The words travel on stdin: none is taken for a flag, none is seen in `ps`.

        first: a command before it, whose answer does not matter; then: one after it, in the same run. When cancelled,
        the program is killed; the session's daemon goes on with what it does.
        """
        commands = [list(words) for words in (first, argv, then) if words is not None]
        asked = _file("asked", json.dumps(commands).encode())
        told, noise = _file("told"), _file("noise")
        try:
            process = self._start(session, flags, (asked, told, noise))
            try:
                await asyncio.wait({process.ended})
            finally:
                if not process.ended.done():
                    process.send_signal("KILL")
                    await asyncio.shield(asyncio.wait({process.ended}))
                ending = process.ended.result()
                process.reap()
            if ending.signal is not None:
                raise BrowserDown(f"The program that drives the browser was ended by the signal {ending.signal}.")
            return read_answer(_content(told), _content(noise, _TOLD), followed=then is not None)
        finally:
            for fd in (asked, told, noise):
                os.close(fd)

    def _start(self, session: str, flags: Sequence[str], files: tuple[int, int, int]) -> Process:
        program = os.fsencode(f"{self._app}/{PROGRAM}")
        words = [program, b"--json", *(flag.encode() for flag in flags), b"batch"]
        try:
            return self._guest.children.start(
                words,
                program=program,
                cwd=b"/",
                env=self._environment(session),
                account=find_account(self._guest.settings.user),
                stdin=files[0],
                stdout=files[1],
                stderr=files[2],
            )
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise StepFailed(f"The program that drives the browser cannot be started: {reason}.") from None

    def _environment(self, session: str) -> dict[bytes, bytes]:
        """Always the same for a session: with another one agent-browser would replace the session's daemon.

        The mark makes the daemon one of the app's processes, so that it ends with the browser.
        """
        home = self._guest.settings.home
        env = {
            "AGENT_BROWSER_CDP": str(self.port),
            "AGENT_BROWSER_CONFIG": f"{self._app}/{SETTINGS}",
            "AGENT_BROWSER_DOWNLOAD_PATH": self.downloads,
            "AGENT_BROWSER_IDLE_TIMEOUT_MS": "0",
            "AGENT_BROWSER_NO_VERSION_CHECK": "1",
            "AGENT_BROWSER_PIN_TAB": "1",
            "AGENT_BROWSER_SESSION": session,
            "AGENT_BROWSER_SOCKET_DIR": self.sockets,
            "HOME": home,
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            approcess.APP_VARIABLE.decode(): approcess.runs_folder(self._guest.settings.state, APP),
        }
        return {os.fsencode(name): os.fsencode(value) for name, value in env.items()}


def read_answer(text: bytes, noise: bytes = b"", *, followed: bool = False) -> Told:
    """The answer to a batch's last command, or to the last but one, when followed; StepFailed when it is none."""
    try:
        rows = json.loads(text)
        rows = rows if isinstance(rows, list) else [rows]
        then = _told(rows.pop()) if followed and len(rows) > 1 else None
        return _told(rows[-1], then)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        said = (noise or text[:_TOLD]).decode("utf-8", "replace").strip() or "nothing"
        raise StepFailed(f"The program that drives the browser gave no answer. It said: {said}") from None


def _told(row: dict[str, Any], then: Optional[Told] = None) -> Told:
    ok, data = row["success"], row.get("result")
    found = {key: value for key, value in data.items() if key != "lifecycle"} if isinstance(data, dict) else {}
    asks = found.get("confirmation_required") is True
    return Told(
        ok is True and not asks,
        found,
        error=_text(row, "error") or ("It asks to be confirmed." if asks else ""),
        code=_text(row, "code") or _text(found, "code"),
        warning=_text(row, "warning") or _text(found, "warning"),
        then=then,
    )


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _file(name: str, data: bytes = b"") -> int:
    """A file in memory, whose end nobody waits for: a daemon that keeps it open would put that off for ever."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _content(fd: int, limit: Optional[int] = None) -> bytes:
    size = os.fstat(fd).st_size
    if limit is None and size > ANSWER_LIMIT:
        raise StepFailed(
            f"The answer has {size >> 20} MiB, more than the {ANSWER_LIMIT >> 20} that are allowed.",
            fix="Ask for less of the page.",
        )
    return os.pread(fd, size if limit is None else limit, 0)
