"""The package cache inside a machine: its registries' names lead to the router's cache, and its tools trust that.

It is on whole or not at all: where something of it cannot be done, the names lead to the registries as ever, and the
router is told why.
"""

from __future__ import annotations

import os

from cloudrouter.guest import trust
from cloudrouter.guest.environment import CA_VARIABLES
from cloudrouter.guest.log import log
from cloudrouter.guest.marks import replace_marked
from cloudrouter.guest.relay import Relay
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.packages import DOOR_IN_MACHINE, HOSTS, NONCE, SOCKET, address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Optional

    from cloudrouter.guest.server import Guest

HOSTS_FILE = "/etc/hosts"
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_NO_PACKAGES = ("GIT_SSL_CAINFO", "AWS_CA_BUNDLE")
"""Of tools that ask none of the five names."""
_BUNDLE_VARIABLES = (*(name for name in CA_VARIABLES if name not in _NO_PACKAGES), "npm_config_cafile")


class Packages:
    """Switches the cache on and off; remembers what it was told last."""

    def __init__(
        self, *, root: str = "", own_bundle: str = "", door: str = DOOR_IN_MACHINE, relay: Optional[Relay] = None
    ) -> None:
        """root: what stands before the machine's own paths, for tests; own_bundle: the person's, made from these."""
        self._root = root
        self._own_bundle = own_bundle
        self._door = door
        self._relay = relay or Relay(f"{door}/{SOCKET}")

    @property
    def is_on(self) -> bool:
        """Whether connections to the registries are taken."""
        return self._relay.is_open

    async def turn_on(self, wanted: Mapping[str, str], env: Mapping[str, str]) -> str:
        """Do all that is needed, as far as it is not done; empty, or why it is off.

        env: the variables that commands have without it.
        """
        reason = self._obstacle(wanted, env)
        if not reason:
            reason = self._arrange(wanted)
        if reason:
            log(f"the package cache is off: {reason}")
            await self.turn_off()
        return reason

    async def turn_off(self) -> None:
        """The names lead to the registries again."""
        try:
            self._write_names("")
        except OSError as error:
            log(f"{HOSTS_FILE} cannot be written: {error.strerror}")
        await self._relay.aclose()

    def _obstacle(self, wanted: Mapping[str, str], env: Mapping[str, str]) -> str:
        """What makes it useless or harmful here."""
        if any(env.get(name) for name in _PROXIES):
            return "this machine reaches the registries through a proxy of its own"
        try:
            with open(f"{self._door}/{NONCE}", encoding="ascii") as file:
                nonce = file.read(100).strip()
        except (OSError, ValueError):
            return "the router's folder cannot be seen in this machine"
        if nonce != wanted["nonce"]:
            return "another folder than the router's is mounted in this machine"
        if not trust.bundle(self._root):
            return "this image has no authorities' certificates (package ca-certificates)"
        for name in _BUNDLE_VARIABLES:
            if name in env and not self._is_trusting(env[name]):
                return f"{name} is set, and that bundle does not have the cache's authority"
        return ""

    def _is_trusting(self, path: str) -> bool:
        """Whether a bundle gets the authority: all of the system's do, and the person's, which is made from these."""
        if path and path == self._own_bundle:
            return True
        real = os.path.realpath(self._root + path)
        return any(real == os.path.realpath(self._root + known) for known in trust.BUNDLES)

    def _arrange(self, wanted: Mapping[str, str]) -> str:
        """Listen, be trusted, and only then be found."""
        try:
            if not self._relay.is_open:
                self._relay.open()
        except OSError as error:
            return f"port 443 of the registries' addresses cannot be had: {_why(error)}"
        try:
            trust.add_authority(wanted["ca_pem"], wanted["name_hash"], self._root)
        except OSError as error:
            return f"the machine's certificates cannot be changed: {_why(error)}"
        try:
            self._write_names("".join(f"{address_of(host)} {host}\n" for host in HOSTS))
        except OSError as error:
            return f"{HOSTS_FILE} cannot be written: {_why(error)}"
        return ""

    def _write_names(self, lines: str) -> None:
        """In place: the engine has mounted this file by itself, so it cannot be replaced."""
        path = self._root + HOSTS_FILE
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with open(descriptor, "r+", encoding="utf-8", errors="surrogateescape") as file:
            before = file.read()
            after = replace_marked(before, lines)
            if after != before:
                file.seek(0)
                file.write(after)
                file.truncate()


async def change(given: Any, env: Mapping[str, str], guest: Guest) -> dict[str, Any]:
    """Use the router's package cache, or with None no longer; what the router is told about it.

    env: the variables that commands have without it.
    """
    wanted = check_wanted(given)
    guest.packages = guest.packages or Packages(own_bundle=guest.config.own_bundle)
    if wanted is None:
        await guest.packages.turn_off()
        reason = "it is not wanted"
    else:
        reason = await guest.packages.turn_on(wanted, env)
    guest.config.packages_ca = "" if reason else trust.bundle()
    return {"on": not reason, "reason": reason}


async def resume(guest: Guest) -> None:
    """After a start of the guest: as it was told before; nothing that fails here may keep it from starting."""
    try:
        config = guest.config
        await change(config.packages, config.shared(config.env, has_ca=config.has_ca), guest)
    except UsageError as error:
        log(f"the kept configuration of the package cache cannot be read: {error.message}")


def check_wanted(value: Any) -> Optional[dict[str, str]]:
    """What the router tells of its cache; None when it has none; UsageError when it cannot be right."""
    if value is None:
        return None
    names = {"ca_pem", "name_hash", "nonce"}
    if not isinstance(value, dict) or set(value) != names or not all(isinstance(one, str) for one in value.values()):
        raise UsageError("packages must have ca_pem, name_hash and nonce.")
    if "-----BEGIN CERTIFICATE-----" not in value["ca_pem"]:
        raise UsageError("packages must have certificates in PEM form.")
    if len(value["name_hash"]) != 8 or any(char not in "0123456789abcdef" for char in value["name_hash"]):
        raise UsageError("packages must have a name_hash of 8 hex digits.")
    return value


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
