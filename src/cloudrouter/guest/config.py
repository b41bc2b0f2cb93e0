"""What the router tells a machine, kept over restarts: variables and a CA bundle for commands, its package cache."""

from __future__ import annotations

import json
import os

from cloudrouter.guest import environment
from cloudrouter.guest.log import describe, log
from cloudrouter.wire.errors import TransferFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Optional

    from cloudrouter.guest.appfiles import Installed
    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.settings import Settings
    from cloudrouter.guest.stream import Stream

SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"


class Config:
    """The machine's configuration: variables for every later command, and whether there is a CA bundle."""

    def __init__(self, settings: Settings, inherited: Mapping[str, str]) -> None:
        self._settings = settings
        self._inherited = inherited
        self._path = f"{settings.state}/config.json"
        self.own_bundle = f"{settings.state}/{environment.CA_BUNDLE}"
        """Where the person's certificates are, with the machine's own, while there are some."""
        self.env: dict[str, str] = {}
        self.has_ca = False
        self.packages: Optional[dict[str, str]] = None
        """What is needed to use the router's package cache; None without one."""
        self.packages_ca = ""
        """The machine's own bundle, while it holds the authority of the package cache."""
        self._installed: Optional[Installed] = None
        self._load()

    def apps(self) -> Optional[Installed]:
        """What apps the image has; None when it has no place for any."""
        if self._installed is None and os.path.isdir(self._settings.apps):
            from cloudrouter.guest.appfiles import Installed  # not every machine has apps

            self._installed = Installed(self._settings)
        return self._installed

    def environment(self, account: Account, requested: Mapping[str, str], *, term: str = "") -> dict[str, str]:
        """All variables of one command."""
        ca_file = self.own_bundle if self.has_ca else self.packages_ca
        installed = self.apps()
        return environment.command_environment(
            *(self._settings, account, self._inherited, self.env, requested),
            ca_file=ca_file,
            own_ca=self.has_ca,
            exports=installed.exports() if installed is not None else None,
            term=term,
        )

    def shared(self, env: Mapping[str, str], *, has_ca: bool) -> dict[str, str]:
        """What every command has, with these variables, from the image and the person; nothing of a package cache."""
        found = {name: text for name, text in self._inherited.items() if text}
        if has_ca:
            found.update(dict.fromkeys(environment.CA_VARIABLES, self.own_bundle))
        return {**found, **env}

    def change(self, env: dict[str, str], ca_pem: Optional[str], packages: Optional[dict[str, str]] = None) -> None:
        """Take a new configuration in place of the old one; on disk first, so that a restart finds the same."""
        try:
            if ca_pem:
                write_file(self.own_bundle, full_bundle(ca_pem), 0o644)
            body = {"env": env, "ca": bool(ca_pem), "packages": packages}
            write_file(self._path, json.dumps(body), 0o600)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise TransferFailed(f"The machine's configuration could not be written: {reason}.") from None
        self.env, self.has_ca, self.packages = env, bool(ca_pem), packages

    def _load(self) -> None:
        try:
            with open(self._path, encoding="utf-8") as file:
                body = json.load(file)
            self.env = environment.check_variables(body["env"], "the kept configuration")
            self.has_ca = bool(body["ca"]) and os.path.exists(self.own_bundle)
            self.packages = body.get("packages")
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, UsageError) as error:
            # A machine without its variables can be configured again, one without its guest cannot.
            log(f"the kept configuration cannot be read: {describe(error)}")


async def run(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `configure`."""
    env = environment.check_variables(request.get("env"), "env")
    for text in env.values():
        environment.to_bytes(text)
    ca_pem = request.get("ca_pem")
    if ca_pem is not None and (not isinstance(ca_pem, str) or (ca_pem and _BEGIN not in ca_pem)):
        raise UsageError("ca_pem must be certificates in PEM form.")
    fresh = _mounts_giver(request.get("mounts"), guest)
    configured: dict[str, Any] = {}
    if request.get("packages") is not None or guest.config.packages is not None:
        from cloudrouter.guest import packages  # not every machine has a package cache

        # Before the bundle is made: its authority goes into the machine's own, which becomes a part of that.
        shared = guest.config.shared(env, has_ca=bool(ca_pem))
        configured["packages"] = await packages.change(request.get("packages"), shared, guest)
    guest.config.change(env, ca_pem, request.get("packages"))
    fresh()
    await stream.finish("configured", configured)


def _mounts_giver(wanted: Any, guest: Guest) -> Callable[[], None]:
    """What gives the machine's fresh volumes to its user; UsageError when these are no paths."""
    if not wanted:
        return lambda: None
    from cloudrouter.guest import mounts  # few machines have some

    paths = mounts.check_paths(wanted)
    return lambda: mounts.give(paths, environment.find_account(guest.settings.user), guest.settings.home)


def full_bundle(ca_pem: str) -> str:
    """The given certificates, and those of the machine's own bundle that are not among them."""
    certificates = _certificates(ca_pem)
    for path in SYSTEM_BUNDLES:
        if os.path.exists(path):
            with open(path, encoding="ascii", errors="replace") as file:
                certificates.update(_certificates(file.read()))
            break
    return "".join(certificates.values())


def _certificates(text: str) -> dict[str, str]:
    """Content without white space -> PEM block, in the text's order."""
    found = {}
    for part in text.split(_BEGIN)[1:]:
        body, end, _ = part.partition(_END)
        lines = body.split()
        if end and lines:
            found["".join(lines)] = "\n".join((_BEGIN, *lines, _END, ""))
    return found


def write_file(path: str, text: str, mode: int, *, owner: Optional[tuple[int, int]] = None) -> None:
    """Put a file in place whole or not at all, with exactly this mode, and these uid and gid, from its first byte."""
    temp = f"{path}.new"
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(fd, mode)
        if owner is not None:
            os.fchown(fd, *owner)
        file.write(text)
    os.replace(temp, path)
