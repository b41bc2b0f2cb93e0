"""What stands between OpenSSH and a machine: asks the router's door for a connection and gives it to ssh.

ssh waits while this is imported and runs, so it imports nothing of ours but constants; what is unusual is left to the
slow way, which knows all the reasons.
"""

from __future__ import annotations

import _socket
import os
import struct

from cloudrouter.wire.sshdoor import LINE_LIMIT, OPENED, SOCKET_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.wire.errors import CloudRouterError

WAIT_S = 60
PIECE = 256 * 1024
_FD = struct.calcsize("i")


class Opened:
    """A connection to a machine's sshd, and the authority that vouches for it."""

    def __init__(self, fd: int, authority: str) -> None:
        self.fd = fd
        self.authority = authority


def connect(folder: str) -> _socket.socket | None:
    """The door in the router's folder; None when nothing, or nobody of ours, is there."""
    path = f"{folder}/{SOCKET_NAME}"
    try:
        found = os.lstat(folder)
        if found.st_mode & 0o170077 != 0o040000 or found.st_uid != os.getuid():
            return None
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        for option in (_socket.SO_SNDTIMEO, _socket.SO_RCVTIMEO):
            sock.setsockopt(_socket.SOL_SOCKET, option, struct.pack("ll", WAIT_S, 0))
        sock.connect(path)
        _, uid, _ = struct.unpack("iII", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
        if uid in (os.getuid(), 0):
            return sock
    except OSError:
        pass  # The slow way tells why.
    sock.close()
    return None


def ask(sock: _socket.socket, host: str) -> Opened:
    """A connection to the machine behind this host name; the door is closed. Raises the router's error, or OSError."""
    try:
        return _ask(sock, host)
    finally:
        sock.close()


def _ask(sock: _socket.socket, host: str) -> Opened:
    sock.sendall(host.encode("utf-8", "replace")[:300] + b"\n")
    line, fds = b"", []
    while not line.endswith(b"\n") and len(line) < LINE_LIMIT:
        data, ancillary, _flags, _address = sock.recvmsg(LINE_LIMIT, _socket.CMSG_SPACE(_FD))
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                fds += [struct.unpack_from("i", content, at)[0] for at in range(0, len(content) - _FD + 1, _FD)]
        if not data:
            break
        line += data
    if line.startswith(OPENED) and len(fds) == 1:
        return Opened(fds[0], line[len(OPENED) :].decode("ascii", "replace").strip())
    for fd in fds:
        os.close(fd)
    raise _refusal(line)


def _refusal(line: bytes) -> CloudRouterError:
    import json

    from cloudrouter.wire.errors import Unreachable, from_json

    try:
        return from_json(json.loads(line))
    except (ValueError, RecursionError):
        return Unreachable("The router gave no connection to the machine.", next="cloudrouter server logs")


def wants_descriptor() -> bool:
    """Whether ssh waits for the connection itself (ProxyUseFdpass): then stdin and stdout are one Unix socket."""
    try:
        first, second = os.fstat(0), os.fstat(1)
    except OSError:
        return False
    return first.st_ino == second.st_ino and first.st_dev == second.st_dev and first.st_mode & 0o170000 == 0o140000


def pass_on(fd: int) -> None:
    """Give the connection to ssh, which goes on with it alone."""
    sock = _socket.socket(fileno=os.dup(1))
    sock.sendmsg([b"\0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", fd))])
    sock.close()


def splice(fd: int) -> None:
    """Carry bytes between stdin, stdout and the connection until its end; for programs other than OpenSSH's."""
    import select

    sock = _socket.socket(fileno=fd)
    poller = select.poll()
    poller.register(0, select.POLLIN)
    poller.register(fd, select.POLLIN)
    while True:
        for ready, _events in poller.poll():
            data = os.read(ready, PIECE)
            if ready == 0 and data:
                sock.sendall(data)
            elif ready == 0:
                poller.unregister(0)
                sock.shutdown(_socket.SHUT_WR)
            elif not data:
                return
            else:
                _write_all(data)


def _write_all(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]
