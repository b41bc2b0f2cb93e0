"""What a request wants run, checked and made ready to start; the same for foreground commands and jobs."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from cloudrouter.guest import environment
from cloudrouter.wire.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from cloudrouter.guest.config import Config
    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.settings import Settings


@dataclass(frozen=True)
class Command:
    """A program with all that its start needs, in bytes as the kernel takes them."""

    argv: list[bytes]
    program: bytes
    """What is started: a path, or a name to be found in PATH; argv[0] may differ (a login shell's `-bash`)."""
    cwd: bytes
    env: dict[bytes, bytes]
    account: Account
    shown: str
    """For people: the line, or the words."""


def read_command(request: dict[str, Any], settings: Settings, config: Config, *, term: str = "") -> Command:
    """The command of an `exec` or `job.start`; UsageError for what cannot be, NotFound for a missing folder."""
    account = environment.find_account(settings.user)
    program, argv, shown = _words(request, account)
    encode = environment.to_bytes
    cwd = encode(environment.resolve_path(settings, _text(request, "cwd")))
    requested = environment.check_variables(request.get("env"), "env")
    env = config.environment(account, requested, term=term)
    _check_folder(cwd)
    return Command(
        argv=[encode(word) for word in argv],
        program=encode(program),
        cwd=cwd,
        env={encode(name): encode(value) for name, value in env.items()},
        account=account,
        shown=shown,
    )


def _words(request: dict[str, Any], account: Account) -> tuple[str, list[str], str]:
    line, argv = _text(request, "line"), request.get("argv")
    if argv is not None:
        if line is not None:
            raise UsageError("A request has line or argv, not both.")
        if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
            raise UsageError("argv must be a list of words, at least one.")
        if any("\0" in word for word in argv):
            raise UsageError("A word of a command cannot hold a NUL character.")
        return argv[0], argv, " ".join(argv)
    if line is not None:
        if "\0" in line:
            raise UsageError("A command cannot hold a NUL character.")
        return account.shell, [account.shell, "-c", line], line
    name = "-" + os.path.basename(account.shell)
    return account.shell, [name], name


def _check_folder(cwd: bytes) -> None:
    try:
        os.stat(cwd + b"/.")
    except OSError as error:
        shown = cwd.decode("utf-8", "replace")
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise NotFound(f"There is no folder {shown} in the machine.", fix="Give a folder that is there.") from None
        raise UsageError(f"The folder {shown} cannot be entered: {(error.strerror or '').lower()}.") from None


def _text(request: dict[str, Any], field: str) -> Optional[str]:
    value = request.get(field)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{field} must be text.")
    return value


def start_fault(error: OSError, program: bytes) -> tuple[int, str]:
    """(exit code, sentence) for a program that could not be started, as a shell would say it."""
    name = program.decode("utf-8", "replace")
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return 126, f"{name}: cannot be started: {os.strerror(error.errno).lower()}"
    if error.errno == errno.ENOENT:
        if b"/" not in program:
            return 127, f"{name}: command not found"
        if os.path.exists(program):
            return 127, f"{name}: the interpreter it names is not there"
        return 127, f"{name}: no such file or directory"
    return 126, f"{name}: {os.strerror(error.errno or 0).lower()}"
