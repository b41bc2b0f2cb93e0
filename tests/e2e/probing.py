"""Looks for what listens, and asks it without credentials; also copied into machines: nothing but Python.

`python3 probing.py` reads `[[address, port], ...]` and writes `{"address:port": {"statuses", "body"}}` of those that
take a connection; with `--list` it writes `[[address, port], ...]` of all that listens in its network.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys

CONNECT_S, ANSWER_S = 3.0, 10.0
AT_ONCE = 2000
LISTENS = "0A"
ACCEPTS = 0x10000
PROBE = [sys.executable, os.path.abspath(__file__)]
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
QUESTIONS = (
    ("/", ""),
    ("/v1/machines", "Authorization: Bearer guess\r\n"),
    ("/stream", UPGRADE),
    ("/stream", f"{UPGRADE}Origin: http://localhost\r\n"),
)
"""Each a path and headers; the last as a page in a browser would ask."""


def processes_below(pid: int) -> list[int]:
    """A process and all that it has started."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def _sockets_of(pid: int) -> set[str]:
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue  # closed meanwhile
        if link.startswith("socket:["):
            found.add(link[8:-1])
    return found


def listening_tcp(pid: int, *, all_processes: bool = False) -> set[tuple[str, int]]:
    """(address, port) of what a process listens on, or all processes in its network."""
    inodes = set() if all_processes else _sockets_of(pid)
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        if not os.path.exists(f"/proc/{pid}/net/{table}"):
            continue
        with open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
        for row in rows:
            if row[3] == LISTENS and (all_processes or row[9] in inodes):
                address, _, port = row[1].partition(":")
                words = [struct.pack("=I", int(address[at : at + 8], 16)) for at in range(0, len(address), 8)]
                found.add((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


def listening_unix(pid: int) -> set[str]:
    """Paths of the Unix sockets that a process listens on; one without a name is `@` and its number."""
    inodes, found = _sockets_of(pid), set()
    with open(f"/proc/{pid}/net/unix", encoding="utf-8") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    for row in rows:
        if row[6] in inodes and int(row[3], 16) & ACCEPTS:
            found.add(row[7] if len(row) > 7 else f"@{row[6]}")
    return found


async def ask(address: str, port: int, path: str, headers: str) -> tuple[int, str]:
    """(status, body) of an answer; 0 when it is no HTTP, or none comes."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_S)
    except (OSError, asyncio.TimeoutError):  # noqa: UP041 - Python 3.9
        return -1, ""
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{headers}\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
        words = head.split(None, 2)
        body = b""
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                body = await asyncio.wait_for(reader.readexactly(int(line[15:])), ANSWER_S)
        return int(words[1]) if head.startswith(b"HTTP/") else 0, body.decode("utf-8", "replace")
    except (OSError, EOFError, ValueError, asyncio.TimeoutError, asyncio.LimitOverrunError):  # noqa: UP041
        return 0, ""
    finally:
        writer.close()


async def probe(targets: list[list[object]]) -> dict[str, object]:
    """What each target that takes a connection answers to each question."""
    turns = asyncio.Semaphore(AT_ONCE)
    found: dict[str, object] = {}

    async def one(address: str, port: int) -> None:
        async with turns:
            path, headers = QUESTIONS[0]
            status, body = await ask(address, port, path, headers)
            if status < 0:
                return
            rest = [(await ask(address, port, path, headers))[0] for path, headers in QUESTIONS[1:]]
            found[f"{address}:{port}"] = {"statuses": [status, *rest], "body": body}

    await asyncio.gather(*(one(str(address), int(str(port))) for address, port in targets))
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        told: object = sorted(listening_tcp(os.getpid(), all_processes=True))
    else:
        told = asyncio.run(probe(json.load(sys.stdin)))
    sys.stdout.write(json.dumps(told))
