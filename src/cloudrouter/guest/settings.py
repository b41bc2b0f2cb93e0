"""What the guest was told at birth, read once from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from cloudrouter.guest.holder import LOG_LIMIT
from cloudrouter.wire import boot
from cloudrouter.wire.apps import FOLDER, RUN_FOLDER
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.ids import is_machine_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

_LEAST_LOG, _MOST_LOG = 1 << 20, 1 << 40
PREFIX = "CLOUDROUTER_"
MACHINE_ID = PREFIX + "MACHINE_ID"
LOGIN_PATH = PREFIX + "PATH"
"""PATH once more, for login shells: /etc/profile sets its own, and our file in /etc/profile.d puts this before it."""
_HELD = "HELD_"


@dataclass(frozen=True)
class Settings:
    """Identity, key check, places."""

    machine_id: str
    token_sha256: str
    listen: str
    """`HOST:PORT` or `unix:PATH`."""
    user: str
    """Whose rights commands get; empty: those of the guest itself."""
    home: str
    workspace: str
    state: str
    """The guest's own folder: configuration and jobs."""
    job_log_bytes: int
    """How much of a job's output is kept at most."""
    apps: str = FOLDER
    """Where the image keeps its apps."""
    apps_run: str = RUN_FOLDER
    """Where apps have their sockets."""


def forget_coerced_locale(env: MutableMapping[str, str], born_with: bytes) -> None:
    """Python sets LC_CTYPE where the locale is C; commands must not inherit what their image did not say.

    `born_with` is what the kernel gave this process, as /proc/self/environ shows it.
    """
    if not any(entry.startswith(b"LC_CTYPE=") for entry in born_with.split(b"\0")):
        env.pop("LC_CTYPE", None)


def take_settings(env: MutableMapping[str, str]) -> Settings:
    """Read the boot variables and remove them, so that no command sees them; UsageError when they cannot be right."""
    given = {name[len(PREFIX) :]: env.pop(name) for name in list(env) if name.startswith(PREFIX)}
    # The supervisor kept these from us, because the image set them for its own programs; commands get them back.
    env.update({name[len(_HELD) :]: value for name, value in given.items() if name.startswith(_HELD)})
    machine_id = given.get("MACHINE_ID", "")
    if not is_machine_id(machine_id):
        raise UsageError(f"{MACHINE_ID} is missing or no machine id.")
    digest = given.get("TOKEN_SHA256", "").lower()
    if len(digest) != 64 or any(char not in "0123456789abcdef" for char in digest):
        raise UsageError("CLOUDROUTER_TOKEN_SHA256 is missing or not 64 hex digits.")
    listen = given.get("LISTEN") or "0.0.0.0:" + (given.get("PORT") or str(boot.GUEST_PORT))
    _check_listen(listen)
    return Settings(
        machine_id=machine_id,
        token_sha256=digest,
        listen=listen,
        user=given.get("USER", boot.USER),
        home=given.get("HOME") or boot.HOME,
        workspace=given.get("WORKSPACE") or boot.WORKSPACE,
        state=given.get("STATE") or boot.STATE_DIR,
        job_log_bytes=_log_bytes(given.get("JOB_LOG_BYTES", "")),
        apps=given.get("APPS") or FOLDER,
        apps_run=given.get("APPS_RUN") or RUN_FOLDER,
    )


def _log_bytes(text: str) -> int:
    if not text:
        return LOG_LIMIT
    if not (text.isascii() and text.isdigit() and _LEAST_LOG <= int(text) <= _MOST_LOG):
        raise UsageError(f"CLOUDROUTER_JOB_LOG_BYTES must be a number of bytes from {_LEAST_LOG} to {_MOST_LOG}.")
    return int(text)


def _check_listen(listen: str) -> None:
    if listen.startswith("unix:/"):
        return
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError("CLOUDROUTER_LISTEN must be HOST:PORT or unix:PATH, and CLOUDROUTER_PORT a port number.")
