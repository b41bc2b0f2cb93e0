"""Who runs a command, where, and with which environment variables."""

from __future__ import annotations

import os
import pwd
import time
from dataclasses import dataclass

from cloudrouter.guest.settings import LOGIN_PATH, MACHINE_ID, Settings
from cloudrouter.wire.errors import NotConfigured, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Optional

CA_BUNDLE = "ca-bundle.pem"
CA_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
)
"""Where OpenSSL, pip, requests, curl, Node, npm, git, cargo and the AWS tools look for their bundle."""

_STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_INHERITED = ("CI", "TERM", "COLUMNS", "LINES", "PWD", "OLDPWD", "SHLVL", "_")
"""True of the guest's own start, not of a command; CI makes tools behave as if nobody watched."""


@dataclass(frozen=True)
class Account:
    """Whose rights a command gets."""

    name: str
    shell: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    switch: bool
    """Whether the rights differ from the guest's own and must be changed."""


def find_account(user: str) -> Account:
    """The account of that name, as the machine knows it now; an empty name is the guest's own account."""
    try:
        entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    except KeyError:
        if not user:  # a container may run under a number that has no name
            return Account(str(os.geteuid()), "/bin/sh", os.geteuid(), os.getegid(), (), switch=False)
        raise NotConfigured(
            f"This machine has no user named {user!r}, and commands run as that user.",
            fix="Use an image that has this user.",
        ) from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)) if user else ()
    return Account(entry.pw_name, _usable_shell(entry.pw_shell), entry.pw_uid, entry.pw_gid, groups, switch=bool(user))


def _usable_shell(shell: str) -> str:
    if shell and os.path.basename(shell) not in ("nologin", "false") and os.access(shell, os.X_OK):
        return shell
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"


def command_environment(
    settings: Settings,
    account: Account,
    inherited: Mapping[str, str],
    configured: Mapping[str, str],
    requested: Mapping[str, str],
    *,
    ca_file: str = "",
    own_ca: bool = True,
    exports: Optional[Mapping[str, str]] = None,
    term: str = "",
) -> dict[str, str]:
    """The variables of one command: what the image set, who it runs as, the apps', the router's wishes, the request's.

    own_ca: whether `ca_file` is the person's wish; else it only serves, and what the image set for a tool stays.
    """
    env = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    env.update(
        HOME=settings.home,
        USER=account.name,
        LOGNAME=account.name,
        SHELL=account.shell,
        PATH=_search_path(settings.home, inherited.get("PATH", "")),
        LANG=inherited.get("LANG") or "C.UTF-8",
    )
    env[MACHINE_ID] = settings.machine_id
    if term:
        env["TERM"] = term
    if ca_file:
        env.update({name: ca_file for name in CA_VARIABLES if own_ca or not env.get(name)})
    env.update(exports or {})
    env.update(configured)
    env.update(requested)
    env[LOGIN_PATH] = env["PATH"]
    return env


def _search_path(home: str, inherited: str) -> str:
    folders = [f"{home}/.local/bin", *inherited.split(":"), *_STANDARD_PATH.split(":")]
    return ":".join(dict.fromkeys(folder for folder in folders if folder))


def check_variables(value: object, where: str) -> dict[str, str]:
    """The value as environment variables; UsageError when a name or a value cannot be one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{where} must be an object of strings.")
    for name, text in value.items():
        if not name or "=" in name or "\0" in name:
            raise UsageError(f"{where} holds {name!r}, which cannot be the name of a variable.")
        if not isinstance(text, str) or "\0" in text:
            raise UsageError(f"The variable {name} in {where} must be text without NUL.")
    return value


def resolve_path(settings: Settings, path: Optional[str]) -> str:
    """The absolute path that a person means: relative to the workspace, `~` is the home folder."""
    if path is not None and "\0" in path:
        raise UsageError("A path cannot hold a NUL character.")
    if not path:
        return settings.workspace
    if path == "~" or path.startswith("~/"):
        return settings.home + path[1:]
    return path if path.startswith("/") else f"{settings.workspace}/{path}"


def to_bytes(text: str) -> bytes:
    """The bytes behind text from a request; names that are not UTF-8 travel as lone surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError("The request holds text that stands for no bytes.") from None


def rfc3339(ms: int) -> str:
    """A time for the wire, in UTC with milliseconds, from milliseconds since the epoch."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}Z"
