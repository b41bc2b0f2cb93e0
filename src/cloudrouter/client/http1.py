"""One HTTP/1.1 exchange on a connected socket, with bounds and a deadline. No http.client: it costs 28 ms to import."""

from __future__ import annotations

import time
from _socket import MSG_PEEK

from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Iterator

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024
LINE_LIMIT = 4 * 1024 * 1024
PIECE = 64 * 1024


class Head:
    """Status and headers (names in lower case) of an answer."""

    def __init__(self, status: int, headers: dict[str, str], *, keeps: bool) -> None:
        self.status = status
        self.headers = headers
        self.keeps = keeps
        """Whether the connection may carry another exchange afterwards."""


class Connection:
    """A socket and what was read from it too early. Raises nothing but Unreachable and its ConnectionLost."""

    def __init__(self, sock: socket) -> None:
        self.sock = sock
        self._rest = b""
        self.used = False
        """Whether an exchange went over it before."""
        self.heard = False
        """Whether a byte of the present answer has arrived."""

    def is_open(self) -> bool:
        """Whether the other side has neither closed nor said anything that nobody asked for."""
        try:
            self.sock.settimeout(0)
            self.sock.recv(1, MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def send(self, head: str, body: bytes, deadline: float | None) -> None:
        """Send a request."""
        self.heard = False
        try:
            self._allow(deadline)
            self.sock.sendall(head.encode("latin-1") + body)
        except TimeoutError:
            raise late() from None
        except OSError as error:
            raise lost(error) from None

    def head(self, deadline: float | None) -> Head:
        """The head of the answer; 1xx other than 101 is skipped."""
        while True:
            lines = self._until(b"\r\n\r\n", HEAD_LIMIT, deadline).decode("latin-1").split("\r\n")
            found = parse_head(lines)
            if found.status >= 200 or found.status == 101:
                return found

    def body(self, head: Head, deadline: float | None) -> bytes:
        """The whole body, at most BODY_LIMIT bytes."""
        parts, size = [], 0
        for part in self.pieces(head, deadline):
            size += len(part)
            if size > BODY_LIMIT:
                raise nonsense("an answer that is too large")
            parts.append(part)
        return b"".join(parts)

    def pieces(self, head: Head, deadline: float | None) -> Iterator[bytes]:
        """The body as it comes; ends only where the answer says it ends."""
        if head.status in (204, 304):
            return
        if "transfer-encoding" in head.headers:
            yield from self._chunks(deadline)
        elif "content-length" in head.headers:
            left = read_number(head.headers["content-length"], 10)
            while left:
                piece = self._some(left, deadline)
                left -= len(piece)
                yield piece
        else:
            while piece := self._read(deadline, end_is_fine=True):
                yield piece

    def leftover(self) -> bytes:
        """What came behind the answer's head; the caller takes it over."""
        rest, self._rest = self._rest, b""
        return rest

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def _chunks(self, deadline: float | None) -> Iterator[bytes]:
        while True:
            line = self._until(b"\r\n", 1024, deadline)
            left = read_number(line.split(b";")[0].strip().decode("latin-1"), 16)
            if not left:
                break
            while left:
                piece = self._some(left, deadline)
                left -= len(piece)
                yield piece
            if self._until(b"\r\n", 2, deadline):
                raise nonsense("a chunk that does not end where it should")
        while self._until(b"\r\n", HEAD_LIMIT, deadline):
            pass  # Trailers say nothing that we need.

    def _until(self, mark: bytes, limit: int, deadline: float | None) -> bytes:
        """Everything before the mark, which is taken away too."""
        parts = self._rest
        searched = 0
        while (at := parts.find(mark, searched)) < 0:
            if len(parts) >= limit + len(mark):
                raise nonsense("a line or head that is too long")
            searched = max(0, len(parts) - len(mark) + 1)
            parts += self._read(deadline)
        self._rest = parts[at + len(mark) :]
        return parts[:at]

    def _some(self, limit: int, deadline: float | None) -> bytes:
        piece = self._rest or self._read(deadline)
        self._rest = piece[limit:]
        return piece[:limit]

    def _read(self, deadline: float | None, *, end_is_fine: bool = False) -> bytes:
        if self._rest and end_is_fine:
            return self.leftover()
        try:
            self._allow(deadline)
            piece = self.sock.recv(PIECE)
        except TimeoutError:
            raise late() from None
        except OSError as error:
            raise lost(error) from None
        if not piece and not end_is_fine:
            raise lost(None)
        self.heard = True
        return piece

    def _allow(self, deadline: float | None) -> None:
        """Let the next socket call last until the deadline."""
        if deadline is None:
            self.sock.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)


def split_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The lines in pieces of bytes, empty ones left out, each at most LINE_LIMIT bytes."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > LINE_LIMIT or any(len(line) > LINE_LIMIT for line in whole):
            raise nonsense("a line that is too long")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def parse_head(lines: list[str]) -> Head:
    """The head in these lines; Unreachable when it is none, or says two things at once."""
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit() and len(status) == 3):
        raise nonsense("an answer that is not HTTP")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name, value = name.lower(), value.strip()
        if not colon or not name or name != name.strip():
            raise nonsense("a broken header")
        if name == "content-length" and headers.get(name, value) != value:
            raise nonsense("two lengths for one answer")
        headers[name] = value
    if headers.get("transfer-encoding", "chunked").lower() != "chunked":
        raise nonsense("an encoding that nobody asked for")
    bounded = "transfer-encoding" in headers or "content-length" in headers or status in ("204", "304")
    keeps = version == "HTTP/1.1" and bounded and "close" not in headers.get("connection", "").lower()
    return Head(int(status), headers, keeps=keeps)


def read_number(text: str, base: int) -> int:
    """A length in base 10 or 16; Unreachable when it is none."""
    digits = "0123456789abcdef"[:base]
    if not text or len(text) > 16 or any(c not in digits for c in text.lower()):
        raise nonsense("a length that is not a number")
    return int(text, base)


def nonsense(what: str) -> Unreachable:
    """The error for an answer that no router gives."""
    return Unreachable(
        f"The router sent {what}.",
        fix="See what listens on its socket.",
        next="cloudrouter server status",
    )


def late() -> Unreachable:
    """The error for an answer that did not come before its deadline."""
    return Unreachable(
        "The router did not answer in time.",
        fix="It may be busy: try again, or look at its log.",
        next="cloudrouter server logs",
    )


def lost(error: OSError | None) -> ConnectionLost:
    """The error for a connection that ended before the answer did."""
    why = f" ({error.strerror})" if error is not None and error.strerror else ""
    return ConnectionLost(
        f"The router closed the connection before it had answered{why}.",
        fix="Try again; the router may have been restarted.",
        next="cloudrouter server status",
    )
