"""The two lines of ours in a person's ~/.ssh/config: put in and taken out so that every other byte stays as it is."""

from __future__ import annotations

import os
import pwd
import shutil
import stat

from cloudrouter.client.sshfiles import FOLDER
from cloudrouter.wire.errors import NotConfigured

MARK = b"# CloudRouter's machines; stands before every Host and Match. Made by `cloudrouter ssh-config --install`.\n"
LIMIT = 1024 * 1024
_INCLUDE, _CONFIG = b'Include "', b'/%b/config"\n' % FOLDER.encode()


def default_file() -> str:
    """The file that OpenSSH reads: below the home of the account, whatever HOME says."""
    return f"{pwd.getpwuid(os.getuid()).pw_dir}/.ssh/config"


def with_include(content: bytes, config: str) -> bytes:
    """The content with our lines in front and nowhere else."""
    return MARK + _INCLUDE + os.fsencode(config) + b'"\n' + without_include(content)


def without_include(content: bytes) -> bytes:
    """The content without our lines, wherever they are now; others' lines are never touched."""
    lines = content.splitlines(keepends=True) if MARK in content else []
    if not lines:
        return content
    kept, at = [], 0
    while at < len(lines):
        if lines[at] == MARK and at + 1 < len(lines) and _is_ours(lines[at + 1]):
            at += 2
            continue
        kept.append(lines[at])
        at += 1
    return b"".join(kept)


def is_included(path: str, config: str) -> bool:
    """Whether the file includes our configuration, before everything else."""
    try:
        with open(path, "rb") as file:
            return file.read(LIMIT).startswith(MARK + _INCLUDE + os.fsencode(config) + b'"\n')
    except OSError:
        return False


def install(path: str, config: str) -> bool:
    """Include our configuration in the file, which is made where there is none; False when it was so already.

    Raises NotConfigured, with the file untouched, when it is none that can be changed with safety.
    """
    found = _look(path)
    if found is None:
        _make(path, with_include(b"", config))
        return True
    content = _read(found)
    changed = with_include(content, config)
    if changed == content:
        return False
    _replace(found, changed)
    return True


def uninstall(path: str) -> bool:
    """Take our lines out of the file; False when they are not in it. Raises as install does."""
    found = _look(path)
    if found is None:
        return False
    content = _read(found)
    changed = without_include(content)
    if changed == content:
        return False
    _replace(found, changed)
    return True


def _is_ours(line: bytes) -> bool:
    return line.startswith(_INCLUDE) and line.endswith(_CONFIG)


def _look(path: str) -> str | None:
    """Where the file really lies, links followed; None when there is none."""
    real = os.path.realpath(path)
    try:
        found = os.stat(real)
    except FileNotFoundError:
        if os.path.islink(path):
            raise _odd(path, "it is a link to nothing") from None
        return None
    except OSError as error:
        raise _odd(path, (error.strerror or "unknown error").lower()) from None
    fault = _fault(found)
    if fault:
        raise _odd(path, fault)
    return real


def _fault(found: os.stat_result) -> str:
    """Why a file is better left alone; empty when it is an ordinary one of the person's own."""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a file"
    if found.st_uid != os.getuid():
        return f"it belongs to user {found.st_uid}, not to you ({os.getuid()})"
    if stat.S_IMODE(found.st_mode) & 0o022:
        return f"others may write to it (mode {stat.S_IMODE(found.st_mode):04o}), so OpenSSH does not read it"
    if found.st_nlink != 1:
        return "it has a second name somewhere else, which would go on with the old content"
    if found.st_size > LIMIT:
        return "it is far too long for a configuration"
    return ""


def _read(real: str) -> bytes:
    try:
        with open(real, "rb") as file:
            content = file.read(LIMIT + 1)
    except OSError as error:
        raise _odd(real, (error.strerror or "unknown error").lower()) from None
    if b"\0" in content:
        raise _odd(real, "it is not text")
    return content


def _make(path: str, content: bytes) -> None:
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise _odd(path, (error.strerror or "unknown error").lower()) from None


def _replace(real: str, content: bytes) -> None:
    """Put the content in the file's place in one step, with its mode, group and attributes."""
    part = f"{real}.cloudrouter.{os.getpid()}"
    try:
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(content)
                before = os.stat(real)
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
                shutil.copystat(real, part)
                os.utime(part)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, real)
        except BaseException:
            if os.path.exists(part):
                os.unlink(part)
            raise
    except OSError as error:
        raise _odd(real, (error.strerror or "unknown error").lower()) from None


def _odd(path: str, why: str) -> NotConfigured:
    return NotConfigured(
        f"{path} is left as it is: {why}.",
        fix="Correct that, or put the lines that `cloudrouter ssh-config` prints into a configuration of your own.",
        next="cloudrouter ssh-config",
    )
