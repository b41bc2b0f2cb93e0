"""Machines as OpenSSH knows them: host names, certificates on the wire, and the words spoken at the router's SSH door.

The door is a Unix socket beside the API's. Who connects sends one line, the host name that ssh was given. The answer
is one line that begins with OPENED and the authority's public key, and with it comes a descriptor: a connection on
which the machine's own sshd speaks. Anything else is an error as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudrouter.wire import ids

CERTIFICATE_S = 600.0
"""How long a certificate is good; it is looked at only while a connection is made."""
RENEW_S = 300.0
"""Clients ask for another certificate when theirs is older than this."""
SUFFIX = ".cr"
"""What makes a machine's name, or its id, a host name."""


@dataclass(frozen=True)
class CertifyKey:
    """Body of `POST /v1/machines/{ref}/ssh/certificate`."""

    public_key: str
    """An Ed25519 key in OpenSSH's form: `ssh-ed25519 AAAA...`."""


@dataclass(frozen=True)
class SshCertificate:
    """A user certificate for one machine, good for minutes."""

    certificate: str
    """One line in OpenSSH's form."""
    expires_at: str
    """RFC 3339 UTC."""
    host: str
    """The machine's id, which is also the certificate's one principal."""
    user: str
    """Who to log in as."""
    ca: str
    """The authority's public key, which has signed this and signs the machine's host key."""


@dataclass(frozen=True)
class SshAuthority:
    """The router's SSH authority, without its key."""

    public_key: str
    """One line in OpenSSH's form."""
    fingerprint: str
    """`SHA256:...`."""
    created_at: str
    """RFC 3339 UTC."""
    path: str
    """The file that holds its private key, on the router's host."""


def host_names(machine_id: str, name: str) -> list[str]:
    """Every host name by which ssh knows a machine: its id in both spellings, and its name, with our suffix."""
    label = ids.dns_label(machine_id)
    names = [machine_id, label, machine_id + SUFFIX, label + SUFFIX]
    return [*names, name + SUFFIX] if name else names
