"""What the guest was told at birth, read once from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from cloudrouter.wire import boot
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.ids import is_machine_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

PREFIX = "CLOUDROUTER_"
MACHINE_ID = PREFIX + "MACHINE_ID"


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


def take_settings(env: MutableMapping[str, str]) -> Settings:
    """Read the boot variables and remove them, so that no command sees them; UsageError when they cannot be right."""
    given = {name[len(PREFIX) :]: env.pop(name) for name in list(env) if name.startswith(PREFIX)}
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
    )


def _check_listen(listen: str) -> None:
    if listen.startswith("unix:/"):
        return
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError("CLOUDROUTER_LISTEN must be HOST:PORT or unix:PATH, and CLOUDROUTER_PORT a port number.")
