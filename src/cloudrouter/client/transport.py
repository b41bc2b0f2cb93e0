"""Requests to the router over its Unix socket: JSON calls, lines as they come, streams. Imported by every verb."""

from __future__ import annotations

import _socket  # the module below `socket`, whose enum wrappers cost the fast verbs 3 ms
import errno
import json
import os
import struct
import time

from cloudrouter.client import http1, trace, websocket
from cloudrouter.wire import routes
from cloudrouter.wire.errors import AuthFailed, CloudRouterError, Internal, Unreachable, from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Self

    from cloudrouter.client.websocket import Stream

CONNECT_TIMEOUT_S = 10
CALL_TIMEOUT_S = 120.0
"""How long a call may take when the caller does not say; the router's own deadlines are shorter."""
_KEPT = 8
"""Idle connections kept for the next calls."""


class NotListening(Unreachable):
    """Nothing accepts connections on the socket: no router runs."""


class Transport:
    """The way to one router. Safe to use from several threads: each call has a connection of its own."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self.server_version: str | None = None
        """The router's version, known after the first answer."""
        self._idle: list[http1.Connection] = []

    def open(self) -> None:
        """Connect now and keep the connection for the first call; raises NotListening when nobody listens."""
        self._put_back(http1.Connection(self._connect()))

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        once: bool = False,
    ) -> Any:
        """One request, its JSON answer; None for an empty one. `timeout`: seconds for the whole of it.

        once: it does something that must not happen twice, so it is never sent again.
        Raises the error that the router answered, or Unreachable.
        """
        deadline = time.monotonic() + (CALL_TIMEOUT_S if timeout is None else timeout)
        connection, head = self._exchange(method, path, body, headers, deadline, once=once)
        try:
            content = connection.body(head, deadline)
        except BaseException:
            connection.close()
            raise
        self._done_with(connection, head)
        return read_answer(head, content)

    def lines(
        self, method: str, path: str, body: Any = None, *, timeout: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """The objects of an NDJSON answer as they come. The request goes out with the first `next`.

        `timeout`: seconds for the whole of it; None waits as long as the router does. Raises as `call` does.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        connection, head = self._exchange(method, path, body, None, deadline)
        finished = False
        try:
            if head.status >= 400:
                read_answer(head, connection.body(head, deadline))
            for line in http1.split_lines(connection.pieces(head, deadline)):
                yield read_object(line)
            finished = True
        finally:
            if finished:
                self._done_with(connection, head)
            else:
                connection.close()

    def send(self, path: str, pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        """POST a body of unknown length as it comes, then the objects of the NDJSON answer as they come.

        What `pieces` raises breaks the request off. The router reads to the end before it answers.
        """
        connection = http1.Connection(self._connect())
        began = time.monotonic()
        try:
            head_text = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
            connection.send(f"{head_text}Transfer-Encoding: chunked\r\n\r\n", b"", None)
            for piece in pieces:
                connection.send("", b"%x\r\n%b\r\n" % (len(piece), piece), None)
            connection.send("", b"0\r\n\r\n", None)
            head = connection.head(None)
            self._learn_version(head)
            trace.tell(f"POST {path}: {head.status} in {trace.since(began)}")
            if head.status >= 400:
                read_answer(head, connection.body(head, None))
            for line in http1.split_lines(connection.pieces(head, None)):
                yield read_object(line)
        finally:
            connection.close()

    def stream(self, path: str, *, timeout: float = 30.0) -> Stream:
        """A WebSocket to this path on a connection of its own; `timeout`: seconds for the upgrade."""
        deadline = time.monotonic() + timeout
        key = websocket.new_key()
        began = time.monotonic()
        connection = http1.Connection(self._connect())
        try:
            connection.send(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n",
                b"",
                deadline,
            )
            head = connection.head(deadline)
            self._learn_version(head)
            trace.tell(f"stream {path}: {head.status} in {trace.since(began)}")
            if head.status != 101:
                read_answer(head, connection.body(head, deadline))
            websocket.check_upgrade(head.headers, key)
            return websocket.Stream(connection.sock, connection.leftover())
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the idle connections. The transport can still be used: the next call connects again."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Whoever writes `with Client().start() as m:` has no client to close.
        self.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _exchange(
        self,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str] | None,
        deadline: float | None,
        *,
        once: bool = False,
    ) -> tuple[http1.Connection, http1.Head]:
        """Send a request and read the answer's head.

        A kept connection may have been closed by the router just now; then nothing was heard and the request goes
        out once more on a fresh one. Requests of this API may be repeated: those that make something carry an
        idempotency key or name what they change. What may happen once only goes over one that is surely open.
        """
        request, content = write_request(method, path, body, headers)
        began = time.monotonic()
        while True:
            connection = self._idle_connection(open_only=once) or http1.Connection(self._connect())
            try:
                connection.send(request, content, deadline)
                head = connection.head(deadline)
            except websocket.ConnectionLost:
                connection.close()
                if once:
                    raise maybe_done() from None
                if connection.used and not connection.heard:
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            self._learn_version(head)
            trace.tell(f"{method} {path}: {head.status} in {trace.since(began)}")
            return connection, head

    def _idle_connection(self, *, open_only: bool) -> http1.Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not open_only or connection.is_open():
                return connection
            connection.close()

    def _done_with(self, connection: http1.Connection, head: http1.Head) -> None:
        connection.used = True
        if head.keeps and not connection.leftover():
            self._put_back(connection)
        else:
            connection.close()

    def _put_back(self, connection: http1.Connection) -> None:
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def _learn_version(self, head: http1.Head) -> None:
        self.server_version = head.headers.get(routes.VERSION_HEADER, self.server_version)

    def _connect(self) -> _socket.socket:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            # A send timeout instead of settimeout: a non-blocking connect would fail at once when the backlog is full.
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, struct.pack("ll", CONNECT_TIMEOUT_S, 0))
            sock.connect(self.socket_path)
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
            check_peer(sock, self.socket_path)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise connect_error(self.socket_path, error) from None
            raise
        return sock


def write_request(method: str, path: str, body: Any, headers: Mapping[str, str] | None) -> tuple[str, bytes]:
    """(head, body) of a request as they travel; Internal for words that would break the head."""
    content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Accept: application/json"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    elif method != "GET":
        lines.append("Content-Length: 0")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if any("\r" in line or "\n" in line or not line.isascii() for line in lines):
        raise Internal("A request holds characters that cannot travel in its head.")
    return "\r\n".join(lines) + "\r\n\r\n", content


def read_answer(head: http1.Head, content: bytes) -> Any:
    """The JSON of an answer; raises the error that it holds."""
    try:
        answer = json.loads(content) if content.strip() else None
    except (ValueError, RecursionError):
        if head.status < 400:
            raise Unreachable("The router's answer is not JSON.", next="cloudrouter server logs") from None
        answer = None
    if 200 <= head.status < 300:
        return answer
    inner = answer.get("error", answer) if isinstance(answer, dict) else None
    if isinstance(inner, dict) and isinstance(inner.get("message"), str):
        raise from_json(inner)
    raise Internal(f"The router answered with HTTP {head.status} and no reason.", next="cloudrouter server logs")


def read_object(line: bytes) -> dict[str, Any]:
    """One line of an NDJSON answer; Unreachable when it is no object."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Unreachable("The router sent a line that is not a JSON object.", next="cloudrouter server logs")
    return value


def check_peer(sock: _socket.socket, path: str) -> None:
    """Refuse a socket on which another user listens: what is said to it would be theirs."""
    pid_uid_gid = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    _, uid, _ = struct.unpack("iII", pid_uid_gid)
    if uid not in (os.getuid(), 0):
        raise AuthFailed(
            f"The router on {path} belongs to user {uid}, not to you ({os.getuid()}).",
            fix="Remove that socket, or set XDG_RUNTIME_DIR to a folder of your own.",
            next=f"ls -l {path}",
        )


def maybe_done() -> Unreachable:
    """The connection was lost under a request that may happen once only."""
    return Unreachable(
        "The router went away in the middle: what was asked may have happened, or not.",
        fix="See how things are before you do it again.",
        next="cloudrouter server status",
    )


def connect_error(path: str, error: OSError) -> CloudRouterError:
    """What it means that the socket at this path cannot be connected to."""
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return NotListening("No router is running.", fix="Start it.", next="cloudrouter server start")
    if error.errno in (errno.EAGAIN, errno.ETIMEDOUT):
        return Unreachable(
            f"The router on {path} does not accept connections.",
            fix="It hangs or is overloaded: look at its log, or restart it.",
            next="cloudrouter server logs",
        )
    why = error.strerror or str(error)
    return Unreachable(
        f"The router's socket {path} cannot be used: {why}.",
        fix="Check the path; XDG_RUNTIME_DIR or CLOUDROUTER_RUNTIME_DIR may point to a short one of your own.",
        next=f"ls -l {path}",
    )
