"""One run of an app: a holder with its command and its log, found again by a guest that was killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from dataclasses import dataclass

from cloudrouter.guest import holding, logfile, members
from cloudrouter.guest.commands import Command
from cloudrouter.guest.environment import find_account, to_bytes
from cloudrouter.guest.jobs import start_error
from cloudrouter.guest.process import ending, start_ticks, stat_fields
from cloudrouter.guest.tasks import cancel_all
from cloudrouter.guest.watching import until_ended
from cloudrouter.wire.appspec import fill
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.holding import Held
    from cloudrouter.guest.process import Ending
    from cloudrouter.guest.server import Guest
    from cloudrouter.wire.appspec import AppSpec

APP_VARIABLE = b"CLOUDROUTER_APP"
"""Tells an app's processes which app they are of, and us which processes are an app's, wherever they have gone."""
LOG_BYTES = 512 * 1024
"""Of each run; the log of the one before is kept beside it."""
STOP_GRACE_S = 5.0
REST_GRACE_S = 1.0
_TOLD_S = 5.0
_POLL_S = 0.02
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """An app's processes from one start to their end."""

    name: str
    folder: str
    held: Held
    command_ticks: int
    account: Account

    @property
    def mark(self) -> bytes:
        """What its processes have in their first environment."""
        return _mark(os.path.dirname(self.folder))

    def processes(self) -> dict[int, int]:
        """All that belongs to it, pid -> start time."""
        return members.find(self.mark, self.account, holder=self.held.pid, session=self.held.command)

    def uptime_s(self) -> float:
        """Since when it runs."""
        with open("/proc/uptime", "rb") as file:
            now = float(file.read().split()[0])
        return max(0.0, round(now - self.command_ticks * _TICK_S, 3))

    def goes_on(self) -> bool:
        """Whether its command and its holder run."""
        return self.held.is_alive and _any_runs({self.held.command: self.command_ticks})

    async def ended(self) -> Optional[Ending]:
        """Wait until its command has ended, and end the rest of it; None where nobody saw how."""
        command = asyncio.ensure_future(until_ended(self.held.command, self.command_ticks))
        keeper = asyncio.ensure_future(until_ended(self.held.pid, self.held.ticks))
        try:
            await asyncio.wait({command, keeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all(command, keeper)
        # At once, while the number of its session cannot be anybody else's.
        await self.kill(session=self.held.command)
        return await self._ending()

    async def stop(self, signal: str) -> None:
        """End it: the signal to the command's group, when that has ended TERM to what is left, then KILL."""
        runs = start_ticks(self.held.command) == self.command_ticks
        session = self.held.command if runs else 0  # its number may be anybody's by now
        group = {pid: ticks for pid, ticks in self.processes().items() if _group_of(pid) == session}
        members.send_all(group, signal)
        deadline = asyncio.get_running_loop().time() + STOP_GRACE_S
        while _any_runs(group) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_S)
        await self.kill(REST_GRACE_S, session=session)
        await self._ending()

    async def kill(self, grace_s: float = 0.0, *, session: int = 0) -> None:
        """End what is left of it."""
        await members.end_all(self.mark, self.account, holder=self.held.pid, session=session, grace_s=grace_s)

    async def _ending(self) -> Optional[Ending]:
        """How the command ended, which its holder tells a moment after."""
        deadline = asyncio.get_running_loop().time() + _TOLD_S
        while (told := holding.read_exit(self.folder)) is None:
            if not self.held.is_alive or asyncio.get_running_loop().time() > deadline:
                told = holding.read_exit(self.folder)
                break
            await asyncio.sleep(_POLL_S)
        return None if told is None else ending(told[0])


async def start(guest: Guest, spec: AppSpec, exports: dict[str, str]) -> Run:
    """Start an app, after all that was left of an earlier run is gone; CloudRouterError when it cannot be started.

    exports: of the apps that it requires.
    """
    account = find_account(guest.settings.user)
    await sweep(guest, spec.name)
    words = guest.config.apps().words(spec.name)  # type: ignore[union-attr]  # it has a spec, so there is a folder
    _prepare_place(words["state"], account)
    command = _command(guest, spec, words, exports, account)
    folder = _new_folder(guest.settings.state, spec.name)
    mark = {APP_VARIABLE: command.env[APP_VARIABLE]}
    answer = await holding.start_holder(guest, command, folder, env=mark, limit=LOG_BYTES, stdin=-1)
    word, _, value = answer.partition(b" ")
    held = holding.read_held(folder)
    if word != b"running" or held is None:
        raise start_error(word, value, command, what=f"app {spec.name}")
    return _run(spec.name, folder, held, account)


def adopt(guest: Guest, name: str) -> Optional[Run]:
    """The run of an app that goes on since before this guest's start; None when there is none."""
    numbers = _numbers_of(runs_folder(guest.settings.state, name))
    if not numbers:
        return None
    folder = f"{runs_folder(guest.settings.state, name)}/{numbers[-1]}"
    held = holding.read_held(folder)
    if held is None or not held.is_alive or not held.command or holding.read_exit(folder) is not None:
        return None
    return _run(name, folder, held, find_account(guest.settings.user))


async def sweep(guest: Guest, name: str) -> None:
    """Kill all that is left of earlier runs, their holders included: there are never two of one app."""
    mark = _mark(runs_folder(guest.settings.state, name))
    if not await members.end_all(mark, find_account(guest.settings.user)):
        raise UsageError(f"Processes of an earlier run of the app {name} cannot be ended.")


def runs_folder(state: str, name: str) -> str:
    """Where an app's runs are."""
    return f"{state}/apps/{name}"


def log_folders(state: str, name: str) -> list[str]:
    """The folders whose logs are kept, the older first."""
    root = runs_folder(state, name)
    return [f"{root}/{number}" for number in _numbers_of(root)]


def read_log(folder: str) -> bytes:
    """What a run has written, as far as it is kept, both channels as they came."""
    reader, found = logfile.LogReader(folder), []
    try:
        while entries := reader.read():
            found += [data for kind, _time, data, _position in entries if kind != logfile.GONE]
    finally:
        reader.close()
    return b"".join(found)


def _mark(runs: str) -> bytes:
    """What an app's processes have in their first environment: the folder of its runs, which no other guest has."""
    return b"%b=%b" % (APP_VARIABLE, os.fsencode(runs))


def _run(name: str, folder: str, held: Held, account: Account) -> Run:
    return Run(name, folder, held, start_ticks(held.command) or 0, account)


def _command(guest: Guest, spec: AppSpec, words: dict[str, str], exports: dict[str, str], account: Account) -> Command:
    """What is run, in the workspace, with a command's variables, those of required apps, and its own."""
    env = guest.config.environment(account, {})
    env.update(exports)
    env.update((name, fill(text, words)) for name, text in spec.environment.items())
    argv = [to_bytes(fill(word, words)) for word in spec.command]
    variables = {to_bytes(name): to_bytes(text) for name, text in env.items()}
    variables[APP_VARIABLE] = os.fsencode(runs_folder(guest.settings.state, spec.name))
    cwd = guest.settings.workspace if os.path.isdir(guest.settings.workspace) else "/"
    return Command(argv, argv[0], to_bytes(cwd), variables, account, " ".join(spec.command))


def _prepare_place(folder: str, account: Account) -> None:
    """The app's own folder, the user's alone, without sockets of an earlier run: these would answer nobody."""
    parent = os.path.dirname(folder)
    os.makedirs(parent, mode=0o755, exist_ok=True)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise UsageError(f"{folder} is no folder, and the app has to have its socket there.") from None
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(fd, 0o700)
        if account.switch:
            os.fchown(fd, account.uid, account.gid)
        for name in os.listdir(fd):
            if stat.S_ISSOCK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)


def _new_folder(state: str, name: str) -> str:
    """A fresh folder for one more run; of the earlier ones only the newest stays, for its log."""
    root = runs_folder(state, name)
    os.makedirs(root, mode=0o700, exist_ok=True)
    numbers = _numbers_of(root)
    for number in numbers[:-1]:
        shutil.rmtree(f"{root}/{number}", ignore_errors=True)
    folder = f"{root}/{numbers[-1] + 1 if numbers else 1}"
    os.mkdir(folder, 0o700)
    return folder


def _numbers_of(root: str) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(root) if name.isascii() and name.isdigit())
    except FileNotFoundError:
        return []


def _any_runs(pids: dict[int, int]) -> bool:
    return any(start_ticks(pid) == ticks and _state_of(pid) not in (b"Z", b"X") for pid, ticks in pids.items())


def _state_of(pid: int) -> bytes:
    fields = stat_fields(pid)
    return b"X" if fields is None else fields[0]


def _group_of(pid: int) -> int:
    fields = stat_fields(pid)
    return 0 if fields is None else int(fields[2])
