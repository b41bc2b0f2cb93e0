"""The gateway's host names, `<app-or-port>--<id>.<domain>`: what one means, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cloudrouter.wire import ids

LOCAL_DOMAIN = "localhost"
APP_LETTERS = 31
_APP = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_DIGITS = frozenset("0123456789")
_PORT_MOST = 65535


class Place(NamedTuple):
    """Something inside a machine that people look at."""

    machine_id: str
    target: str
    """An app's name, or a port as digits."""

    @property
    def port(self) -> int | None:
        """The port, when the target is one."""
        return int(self.target) if self.target[0] in _DIGITS else None


@dataclass(frozen=True)
class Address:
    """Where the gateway is, as browsers write it."""

    port: int
    domain: str = LOCAL_DOMAIN
    tls: bool = False

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "https" if self.tls else "http"

    @property
    def is_local(self) -> bool:
        """Whether only browsers of this host find it."""
        return self.domain == LOCAL_DOMAIN

    @property
    def url(self) -> str:
        """The gateway itself, where nothing is shown."""
        return f"{self.scheme}://{self.domain}{self._colon_port()}"

    def origin(self, place: Place) -> str:
        """`http://3000--cr-7k2m9xqd.localhost:7080`."""
        label = f"{place.target}--{ids.dns_label(place.machine_id)}"
        return f"{self.scheme}://{label}.{self.domain}{self._colon_port()}"

    def read(self, host: str) -> Place | None:
        """What a Host header means; None when it is no machine's.

        Any port may stand in it: a person's tunnel may lead here from another one, and browsers tell the truth.
        """
        name, colon, port = host.lower().partition(":")
        if colon and not is_port(port):
            return None
        label, dot, domain = name.partition(".")
        if not dot or domain != self.domain:
            return None
        target, dashes, word = label.rpartition("--")
        machine_id = ids.from_dns_label(word)
        if not dashes or not ids.is_machine_id(machine_id) or not (is_port(target) or is_app_name(target)):
            return None
        return Place(machine_id, target)

    def _colon_port(self) -> str:
        return "" if self.port == (443 if self.tls else 80) else f":{self.port}"


def is_port(text: str) -> bool:
    """Whether this is a port as we write it: plain digits, no zero in front, 1 to 65535."""
    return 0 < len(text) <= 5 and text[0] != "0" and _DIGITS.issuperset(text) and int(text) <= _PORT_MOST


def is_app_name(text: str) -> bool:
    """Whether this may be an app's name; two dashes would part it from its machine."""
    return (
        0 < len(text) <= APP_LETTERS
        and _APP.issuperset(text)
        and text[0].isalpha()
        and text[-1] != "-"
        and "--" not in text
    )
