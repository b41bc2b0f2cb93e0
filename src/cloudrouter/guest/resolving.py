"""The true addresses of a host, asked of the resolvers themselves: /etc/hosts speaks of the package cache instead."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

RESOLV_CONF = "/etc/resolv.conf"
ANSWER_S = 2.0
REMEMBER_S = 60.0
_A, _AAAA = 1, 28
_IN = 1


class Resolver:
    """Asks and remembers for a minute."""

    def __init__(self, resolv_conf: str = RESOLV_CONF, *, port: int = 53) -> None:
        self._resolv_conf = resolv_conf
        self._port = port
        self._known: dict[str, tuple[float, list[str]]] = {}

    async def resolve(self, host: str) -> list[str]:
        """Addresses, IPv4 before IPv6; OSError when no resolver knows any."""
        known = self._known.get(host)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        for server in read_servers(self._resolv_conf):
            found = await self._ask(server, host, _A) or await self._ask(server, host, _AAAA)
            if found:
                self._known[host] = (time.monotonic() + REMEMBER_S, found)
                return found
        raise OSError(f"no resolver knows {host}")

    async def _ask(self, server: str, host: str, kind: int) -> list[str]:
        """What one resolver answers; nothing when it does not."""
        number = int.from_bytes(os.urandom(2), "big")
        question = make_question(host, kind)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[list[str]] = loop.create_future()
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Exchange(number, question, kind, answered), remote_addr=(server, self._port)
            )
        except OSError:
            return []
        try:
            transport.sendto(struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + question)
            return await asyncio.wait_for(answered, ANSWER_S)
        except (asyncio.TimeoutError, OSError):
            return []
        finally:
            transport.close()


class _Exchange(asyncio.DatagramProtocol):
    """Takes the one datagram that answers the question."""

    def __init__(self, number: int, question: bytes, kind: int, answered: asyncio.Future[list[str]]) -> None:
        self._number = number
        self._question = question
        self._kind = kind
        self._answered = answered

    def datagram_received(self, data: bytes, _address: Any) -> None:
        """Look whether it belongs to the question."""
        found = read_answer(data, self._number, self._question, self._kind)
        if found is not None and not self._answered.done():
            self._answered.set_result(found)

    def error_received(self, error: Exception) -> None:
        """Nobody listens there."""
        if not self._answered.done():
            self._answered.set_exception(error)


def read_servers(path: str) -> list[str]:
    """The resolvers of a resolv.conf, in its order."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return []
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]


def make_question(host: str, kind: int) -> bytes:
    """One question in the form of DNS."""
    labels = b"".join(bytes((len(label),)) + label.encode("ascii") for label in host.split("."))
    return labels + b"\0" + struct.pack(">2H", kind, _IN)


def read_answer(data: bytes, number: int, question: bytes, kind: int) -> Optional[list[str]]:
    """The addresses in an answer to exactly this question; None when it is none, or is broken."""
    try:
        got, flags, questions, answers = struct.unpack_from(">4H", data)
        if got != number or not flags & 0x8000 or questions != 1:
            return None
        at = 12 + len(question)
        if data[12:at].lower() != question.lower():
            return None
        found = []
        for _ in range(answers):
            at = _skip_name(data, at)
            its_kind, its_class, _ttl, length = struct.unpack_from(">2HIH", data, at)
            at += 10
            content = data[at : at + length]
            at += length
            if its_class == _IN and its_kind == kind and len(content) == (4 if kind == _A else 16):
                found.append(socket.inet_ntop(socket.AF_INET if kind == _A else socket.AF_INET6, content))
        return found
    except (struct.error, IndexError):
        return None


def _skip_name(data: bytes, at: int) -> int:
    """The place behind a name; a pointer ends it."""
    while True:
        length = data[at]
        if length & 0xC0:
            return at + 2
        at += 1 + length
        if not length:
            return at
