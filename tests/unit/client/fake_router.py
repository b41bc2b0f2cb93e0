"""A scripted router on a Unix socket: plain HTTP by hand, streams by the `websockets` library, one thread each."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What the router answers: one JSON value, or lines, or a connection that is cut."""

    status: int = 200
    body: Any = None
    lines: list[dict[str, Any]] | None = None
    cut: bool = False


Handle = Callable[[Seen], Answer]
Talk = Callable[[ServerConnection, str], None]


@dataclass
class FakeRouter:
    """Listens on `path`; `handle` answers requests, `talk` speaks on streams (its second argument is the path)."""

    path: str
    handle: Handle = lambda _seen: Answer()
    talk: Talk = lambda _connection, _path: None
    version: str | None = "9.9.9"
    seen: list[Seen] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    connections: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)
    _socks: list[socket.socket] = field(default_factory=list)
    _listener: socket.socket | None = None

    def start(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        thread = threading.Thread(target=self._accept, args=(self._listener,))
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        if self._listener is None:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        self.cut_connections()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def cut_connections(self) -> None:
        """As a router that is killed."""
        for sock in list(self._socks):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def requests(self, method: str = "") -> list[str]:
        return [f"{one.method} {one.path}" for one in self.seen if not method or one.method == method]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._socks.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                while head := peek_head(sock):
                    if b"upgrade: websocket" in head.lower():
                        self._stream(sock, head)
                        return
                    if not self._answer(sock, head):
                        return
            except (ConnectionError, OSError):
                return
            except BaseException as error:  # noqa: BLE001 - told to the test at the end
                self.errors.append(error)

    def _stream(self, sock: socket.socket, head: bytes) -> None:
        path = head.split(b" ")[1].decode()
        server: Any = SimpleNamespace(socket_closed=threading.Event())
        protocol = ServerProtocol(max_size=2**20)
        connection = ServerConnection(sock, protocol, server, ping_interval=None, close_timeout=2)

        def process(_connection: Any, _request: Any, response: Any) -> Any:
            if self.version:
                response.headers["x-cloudrouter-version"] = self.version
            return response

        connection.handshake(process_response=process)
        try:
            self.talk(connection, path)
        except BaseException as error:  # noqa: BLE001 - told to the test at the end
            if not isinstance(error, ConnectionClosed):
                self.errors.append(error)
        finally:
            connection.close()

    def _answer(self, sock: socket.socket, head: bytes) -> bool:
        sock.recv(len(head), socket.MSG_WAITALL)
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        size = int(headers.get("content-length", "0"))
        content = sock.recv(size, socket.MSG_WAITALL) if size else b""
        seen = Seen(method, path, headers, json.loads(content) if content else None)
        self.seen.append(seen)
        answer = self.handle(seen)
        if answer.cut:
            return False
        version = f"x-cloudrouter-version: {self.version}\r\n" if self.version else ""
        if answer.lines is not None:
            sock.sendall(f"HTTP/1.1 {answer.status} X\r\n{version}transfer-encoding: chunked\r\n\r\n".encode())
            for line in answer.lines:
                data = json.dumps(line).encode() + b"\n"
                sock.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            sock.sendall(b"0\r\n\r\n")
        else:
            body = b"" if answer.body is None else json.dumps(answer.body).encode()
            sock.sendall(f"HTTP/1.1 {answer.status} X\r\n{version}content-length: {len(body)}\r\n\r\n".encode() + body)
        return True


def peek_head(sock: socket.socket) -> bytes:
    """The next request's head, left in the socket; empty at the end."""
    size = 1
    while True:
        data = sock.recv(65536, socket.MSG_PEEK)
        if not data:
            return b""
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            return data[: end + 4]
        if len(data) <= size:
            sock.recv(0)
        size = len(data)


@contextmanager
def raw_server(path: str, script: Callable[[socket.socket], None]) -> Iterator[list[BaseException]]:
    """A listener that runs the script on each connection: for answers that no decent router gives."""
    errors: list[BaseException] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    socks: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            socks.append(sock)
            try:
                script(sock)
            except (ConnectionError, OSError):
                pass
            except BaseException as error:  # noqa: BLE001 - told to the test at the end
                errors.append(error)
            finally:
                sock.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield errors
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for sock in socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        thread.join(10)
        assert not thread.is_alive()
        assert not errors
