"""The router's settings, read once from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudrouter.wire import packages, places, sizes
from cloudrouter.wire.errors import NotConfigured

GATEWAY_PORTS = range(7080, 7100)


@dataclass(frozen=True)
class Settings:
    """Folders, defaults and bounds; durations in seconds."""

    state_dir: str
    runtime_dir: str
    default_provider: str = "docker"
    default_image: str = "full"
    """Of starts that name none; `full` stands for the best that is ready."""
    owner: str = "local"
    """The one owner of an embedded router; teams get more."""
    ready_deadline_s: float = 60.0
    """A machine whose guest does not answer this long after its creation has failed."""
    unconfirmed_grace_s: float = 120.0
    """A provisional start that nobody confirms or uses for this long is removed."""
    orphan_grace_s: float = 60.0
    """Provider objects that the book does not know are removed after this long."""
    reconcile_every_s: float = 15.0
    provider_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    package_cache_bytes: int = 10 * sizes.GIB
    """How much the package cache keeps; what was not used for longest is thrown out."""
    package_mirrors: Mapping[str, str] = field(default_factory=dict)
    """Registry -> `https://...` that the package cache asks in its place."""
    gateway_ports: Sequence[int] = ()
    """Where the gateway may listen, the first free one is taken; none: there is no gateway. 0 is any free port."""
    gateway_address: str = ""
    """The address that the gateway listens on; empty for this host's loopbacks."""
    gateway_domain: str = ""
    """A team's: machines are at `<app-or-port>--<id>.<domain>`. Empty: at `*.localhost`, for this host alone."""
    tls_cert: str = ""
    """PEM file of a certificate for `*.<domain>`."""
    tls_key: str = ""

    @property
    def socket_path(self) -> str:
        """Where the API listens."""
        return f"{self.runtime_dir}/{places.SOCKET_NAME}"

    @property
    def database_path(self) -> str:
        """The SQLite file."""
        return f"{self.state_dir}/router.db"

    @property
    def log_path(self) -> str:
        """The router's own log, rotated."""
        return f"{self.state_dir}/logs/router.log"


def from_environment(env: Mapping[str, str], uid: int | None = None) -> Settings:
    """The settings that an environment asks for."""
    state_dir = places.state_dir(env)
    domain, address = _team_gateway(env)
    return Settings(
        state_dir=state_dir,
        runtime_dir=places.runtime_dir(env, os.getuid() if uid is None else uid),
        default_provider=env.get("CLOUDROUTER_PROVIDER") or "docker",
        default_image=env.get("CLOUDROUTER_IMAGE") or "full",
        unconfirmed_grace_s=float(env.get("CLOUDROUTER_UNCONFIRMED_GRACE") or 120),
        provider_options={
            "memory": {"root": f"{state_dir}/memory"},
            "docker": {"images_file": f"{state_dir}/images.json"},
        },
        package_cache_bytes=_cache_bytes(env.get("CLOUDROUTER_PACKAGE_CACHE_SIZE", "")),
        package_mirrors=_mirrors(env.get("CLOUDROUTER_PACKAGE_MIRRORS", "")),
        gateway_ports=_gateway_ports(env.get("CLOUDROUTER_GATEWAY_PORT", "")),
        gateway_domain=domain,
        gateway_address=address,
        tls_cert=env.get("CLOUDROUTER_TLS_CERT", ""),
        tls_key=env.get("CLOUDROUTER_TLS_KEY", ""),
    )


def _gateway_ports(text: str) -> Sequence[int]:
    """The one port that is asked for, else all that may be tried; NotConfigured when it is none."""
    if not text:
        return GATEWAY_PORTS
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise NotConfigured(f"CLOUDROUTER_GATEWAY_PORT is {text[:20]!r}.", fix="Write a port: 7080, or 0 for any.")
    return (int(text),)


def _team_gateway(env: Mapping[str, str]) -> tuple[str, str]:
    """Domain and address of a team's gateway; NotConfigured when they and the certificate do not go together."""
    domain = env.get("CLOUDROUTER_DOMAIN", "").lower().strip(".")
    cert, key = env.get("CLOUDROUTER_TLS_CERT", ""), env.get("CLOUDROUTER_TLS_KEY", "")
    address = env.get("CLOUDROUTER_GATEWAY_ADDRESS", "")
    if domain and not _is_domain(domain):
        raise NotConfigured(f"CLOUDROUTER_DOMAIN is {domain[:80]!r}.", fix="Write a domain such as cr.example.com.")
    if bool(domain) != bool(cert) or (key and not cert):
        raise NotConfigured(
            "A gateway for a team needs a domain and its certificate: what it shows must not pass in the clear.",
            fix="Set CLOUDROUTER_DOMAIN, CLOUDROUTER_TLS_CERT and CLOUDROUTER_TLS_KEY, or none of them.",
        )
    if address and not domain:
        raise NotConfigured(
            f"The gateway does not listen on {address[:60]!r} without a domain and its certificate.",
            fix="Set CLOUDROUTER_DOMAIN, CLOUDROUTER_TLS_CERT and CLOUDROUTER_TLS_KEY as well.",
        )
    return domain, address


def _is_domain(text: str) -> bool:
    labels = text.split(".")
    letters = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
    return len(labels) > 1 and len(text) < 200 and all(label and letters.issuperset(label) for label in labels)


def _cache_bytes(text: str) -> int:
    """The bound of the package cache: 20g, 512m; NotConfigured when it is no amount."""
    if not text:
        return 10 * sizes.GIB
    try:
        return sizes.parse_bytes(text)
    except ValueError as error:
        raise NotConfigured(f"CLOUDROUTER_PACKAGE_CACHE_SIZE: {error}.", fix="Write 20g or 512m.") from None


def _mirrors(text: str) -> dict[str, str]:
    """`registry.npmjs.org=https://npm.example.com,...`; NotConfigured when it is something else."""
    found = {}
    for word in text.replace(",", " ").split():
        host, _, address = word.partition("=")
        if host not in packages.HOSTS or not address.startswith("https://"):
            raise NotConfigured(
                f"CLOUDROUTER_PACKAGE_MIRRORS does not understand {word[:80]!r}.",
                fix=f"Write REGISTRY=https://ADDRESS; registries are {', '.join(packages.HOSTS)}.",
            )
        found[host] = address
    return found
