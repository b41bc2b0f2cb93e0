"""SSH: certificates for people, and connections on which a machine's own sshd speaks."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import structlog

from cloudrouter.server.services.context import Context
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.services.views import rfc3339
from cloudrouter.server.ssh.hostkeys import HostKeys
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import boot, states
from cloudrouter.wire.errors import AuthFailed, Internal, NotConfigured, UsageError
from cloudrouter.wire.ssh import SshAuthority, SshCertificate, host_names

if TYPE_CHECKING:
    from cloudrouter.server.ssh.authority import Authority, Held

OPEN_S = 30.0
"""How long the guest may take; the first time it makes a host key."""

log = structlog.get_logger("ssh")


class SshService:
    """One router's SSH; its authority is loaded, or made, when somebody first wants something of it."""

    def __init__(self, context: Context, machines: Machines, traffic: Traffic) -> None:
        self._context = context
        self._machines = machines
        self._traffic = traffic
        self._folder = f"{context.settings.state_dir}/ssh"
        self._keys = HostKeys(f"{self._folder}/hosts")
        self._loaded: Authority | None = None
        context.watchers.append(self._watch)

    def certify(self, owner: str, ref: str, public_key: str) -> SshCertificate:
        """A user certificate for one machine that is there; UsageError when that is no key."""
        row = self._machines.find(owner, ref)
        certificate, expires_at = self._authority().certify_user(public_key, row.id, owner)
        public = self._authority().held().public_key
        return SshCertificate(certificate, rfc3339(expires_at) or "", row.id, boot.USER, public)

    async def open(self, owner: str, ref: str, host: str) -> tuple[socket.socket, str]:
        """(a connection to the machine's sshd, the authority's public key) for who asked ssh for this host."""
        row = self._machines.reachable(owner, ref)
        authority = self._authority()

        def answer(said: dict[str, Any]) -> dict[str, str]:
            names = [*host_names(row.id, row.name), host]
            certificate = self._certify_host(authority, row, said.get("host_key"), list(dict.fromkeys(names)))
            return {"certificate": certificate, "authority": authority.held().public_key}

        try:
            with self._traffic.stream(row.id):
                sock = await self._context.guests.take_over(row, {"op": "ssh"}, answer, deadline_s=OPEN_S)
        except NotConfigured as error:
            error.fix = "Install OpenSSH's server in it, or start a machine of an image that has it."
            error.next = f"cloudrouter ssh {row.id} sudo apt-get install -y openssh-server"
            raise
        return sock, authority.held().public_key

    def authority(self) -> SshAuthority:
        """The authority as it is; made when there is none."""
        return self._shown(self._authority().held())

    def rotate(self) -> SshAuthority:
        """Another authority; what the old one signed is refused from now on, by machines that run as well."""
        held = self._authority().rotate()
        self._context.events.emit("ssh.rotated", f"The SSH authority is now {held.fingerprint}")
        return self._shown(held)

    def forget(self, owner: str, ref: str) -> bool:
        """Take the key that a machine shows next for its own; whether another was known."""
        row = self._machines.find(owner, ref)
        known = self._keys.forget(row.id)
        if known:
            self._context.events.emit("ssh.forgotten", f"The host key of {row.id} is forgotten", machine_id=row.id)
        return known

    def _certify_host(self, authority: Authority, row: Row, public_key: Any, names: list[str]) -> str:
        try:
            certificate = authority.certify_host(str(public_key), names)
        except UsageError:
            raise Internal(f"The guest of {row.id} told no host key.", fix="Start another machine.") from None
        shown = " ".join(str(public_key).split()[:2])
        known = self._keys.known(row.id)
        if known is None:
            self._keys.remember(row.id, shown)
        elif known != shown:
            log.warning("a host key has changed", machine=row.id)
            raise AuthFailed(
                f"The SSH host key of {row.id} is not the one it had: somebody has changed it inside the machine.",
                fix="If that was you, have the router forget the old one. Commands still run without it: "
                f"cloudrouter ssh {row.id}.",
                next=f"cloudrouter ssh-ca forget {row.id}",
            )
        return certificate

    def _authority(self) -> Authority:
        if self._loaded is None:
            from cloudrouter.server.ssh.authority import Authority  # brings cryptography, 10 MB

            self._loaded = Authority(self._folder, self._context.clock)
        return self._loaded

    def _shown(self, held: Held) -> SshAuthority:
        path = self._authority().path
        return SshAuthority(held.public_key, held.fingerprint, rfc3339(held.created_at) or "", os.path.abspath(path))

    def _watch(self, row: Row) -> None:
        if row.state == states.GONE:
            self._keys.forget(row.id)
