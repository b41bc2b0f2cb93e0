"""The kernel's tables of TCP sockets in this machine, read from /proc/net."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TABLES = (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6))
_ESTABLISHED, _LISTEN = b"01", b"0A"
_MAPPED = "::ffff:"


@dataclass(frozen=True)
class Listener:
    """One socket that takes connections."""

    port: int
    address: str
    """Of IPv4 without the form that it has in IPv6."""
    inode: int


def read_listeners() -> list[Listener]:
    """All TCP sockets that take connections, of both families."""
    found = []
    for words, family in _rows(_LISTEN):
        address, port = _address(words[1], family)
        found.append(Listener(port, address, int(words[9])))
    return found


def count_connections(port: int) -> int:
    """How many connections to a port are open, seen from its server's side."""
    wanted = b":%04X" % port
    return sum(words[1].endswith(wanted) for words, _family in _rows(_ESTABLISHED))


def made_by(pids: Iterable[int], port: int) -> int:
    """How many of the connections to a port in this machine these processes have made, as far as we may see them."""
    wanted = b":%04X" % port
    sockets = {b"socket:[%b]" % words[9] for words, _family in _rows(_ESTABLISHED) if words[2].endswith(wanted)}
    return sum(_held(pid, sockets) for pid in pids) if sockets else 0


def _held(pid: int, sockets: set[bytes]) -> int:
    folder = b"/proc/%d/fd" % pid
    found = 0
    try:
        for name in os.listdir(folder):
            found += os.readlink(folder + b"/" + name) in sockets
    except OSError:
        return found  # it has ended, or is not ours to see
    return found


def _rows(state: bytes) -> Iterator[tuple[list[bytes], int]]:
    """The tables' rows of one state, as words, with their family."""
    for path, family in _TABLES:
        try:
            with open(path, "rb") as file:
                file.readline()
                lines = file.readlines()
        except FileNotFoundError:
            continue  # a kernel without this family
        for line in lines:
            words = line.split()
            if len(words) > 9 and words[3] == state:
                yield words, family


def _address(text: bytes, family: int) -> tuple[str, int]:
    """(address, port) from `0100007F:1F90`: each four bytes stand in the machine's own order."""
    address, _, port = text.partition(b":")
    packed = bytes.fromhex(address.decode())
    if sys.byteorder == "little":
        packed = b"".join(packed[at : at + 4][::-1] for at in range(0, len(packed), 4))
    name = socket.inet_ntop(family, packed)
    return name[len(_MAPPED) :] if name.startswith(_MAPPED) and "." in name else name, int(port, 16)
