"""The settings of the docker provider, strictly read."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cloudrouter.providers.errors import NotConfigured

DIALS = ("auto", "address", "exec")


@dataclass(frozen=True)
class DockerConfig:
    """Settings; the defaults are right for an engine on this host."""

    host: str = ""
    """Address of the engine, as in DOCKER_HOST; empty: found as the docker command finds it."""
    dial: str = "auto"
    """How guests are reached: `address` (the container's own), `exec` (a program in the container), or `auto`."""
    helper_image: str = ""
    """Image with python3, iproute2 and nft that puts up the walls; empty: our own image, whichever build is there."""
    images_file: str = ""
    """File that keeps which images our builds made, by their ids; empty: what this process made is known."""
    dns: tuple[str, ...] = ()
    """IPv4 addresses of the machines' resolvers; empty: the host's."""
    creates_at_once: int = 4
    """So many containers are created at the same time; more only wait inside the engine."""

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any] | None) -> DockerConfig:
        """The settings, nothing unknown among them; NotConfigured says what is wrong."""
        values = dict(config or {})
        known = {field.name for field in fields(cls)}
        for name in sorted(values):
            if name not in known:
                raise NotConfigured(
                    f"Provider docker has no setting {name!r}.", fix=f"Settings: {', '.join(sorted(known))}."
                )
        values["dns"] = _addresses(values.get("dns", ()))
        made = cls(**values)
        if not all(isinstance(one, str) for one in (made.host, made.helper_image, made.images_file)):
            raise NotConfigured("The settings host, helper_image and images_file of provider docker are texts.")
        if made.dial not in DIALS:
            raise NotConfigured(f"The setting dial of provider docker is one of {', '.join(DIALS)}.")
        if type(made.creates_at_once) is not int or not 1 <= made.creates_at_once <= 64:
            raise NotConfigured("The setting creates_at_once of provider docker is a whole number from 1 to 64.")
        return made


def _addresses(found: Any) -> tuple[str, ...]:
    try:
        if isinstance(found, str):
            raise TypeError
        return tuple(str(ipaddress.IPv4Address(one)) for one in found)
    except (TypeError, ValueError) as error:
        raise NotConfigured("The setting dns of provider docker is a list of IPv4 addresses.") from error
