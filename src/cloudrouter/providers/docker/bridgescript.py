"""Runs inside a machine whose address cannot be reached: joins stdin and stdout to a port of the machine's loopback.

Writes one byte first: `+` when the connection stands, `-` (and a reason) when nothing answers there.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

SIZE = 65536


def send_input(sock: socket.socket) -> None:
    """stdin to the socket until either ends; the end of stdin becomes a half-close."""
    try:
        while data := os.read(0, SIZE):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the other direction ends the program


def write_all(data: bytes) -> None:
    """All of it to stdout."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def main(port: int) -> int:
    """Connect, then carry bytes until the service closes."""
    problem: OSError | None = None
    for host in ("127.0.0.1", "::1"):
        try:
            sock = socket.create_connection((host, port), timeout=5)
        except OSError as error:
            problem = problem or error
            continue
        sock.settimeout(None)
        write_all(b"+")
        threading.Thread(target=send_input, args=(sock,), daemon=True).start()
        try:
            while data := sock.recv(SIZE):
                write_all(data)
        except OSError:
            return 1
        return 0
    write_all(b"-" + str(problem).encode())
    return 1


if __name__ == "__main__":
    # Not sys.exit: a thread that still reads stdin must not keep the program alive.
    os._exit(main(int(sys.argv[1])))
