"""One HTTP/1.1 exchange on asyncio's streams; heads, lengths and errors are those of `client.http1`."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncGenerator

from cloudrouter.client import http1
from cloudrouter.client.http1 import BODY_LIMIT, HEAD_LIMIT, LINE_LIMIT, PIECE, Head


class Connection:
    """A connected socket. Raises nothing but Unreachable and its ConnectionLost; deadlines are the caller's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.used = False
        """Whether an exchange went over it before."""
        self.heard = False
        """Whether a byte of the present answer has arrived."""

    @classmethod
    async def over(cls, sock: socket.socket) -> Connection:
        """A connection that owns the socket."""
        return cls(*await asyncio.open_connection(sock=sock, limit=HEAD_LIMIT))

    @property
    def ended(self) -> bool:
        """Whether the router has closed its side."""
        return self._reader.at_eof() or self._writer.is_closing()

    def is_open(self) -> bool:
        """Whether the other side has neither closed nor said anything, though the loop may not know it yet."""
        poller = select.poll()
        poller.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN)
        return not poller.poll(0)

    async def send(self, head: str, body: bytes) -> None:
        """Send a request."""
        self.heard = False
        try:
            self._writer.write(head.encode("latin-1") + body)
            await self._writer.drain()
        except OSError as error:
            raise http1.lost(error) from None

    async def head(self) -> Head:
        """The head of the answer; 1xx is skipped."""
        while True:
            text = (await self._until(b"\r\n\r\n")).decode("latin-1")
            self.heard = True
            found = http1.parse_head(text.split("\r\n"))
            if found.status >= 200:
                return found

    async def body(self, head: Head) -> bytes:
        """The whole body, at most BODY_LIMIT bytes."""
        parts, size = [], 0
        async for part in self.pieces(head):
            size += len(part)
            if size > BODY_LIMIT:
                raise http1.nonsense("an answer that is too large")
            parts.append(part)
        return b"".join(parts)

    async def pieces(self, head: Head) -> AsyncGenerator[bytes, None]:
        """The body as it comes; ends only where the answer says it ends."""
        if head.status in (204, 304):
            return
        if "transfer-encoding" in head.headers:
            while left := http1.read_number((await self._line()).split(b";")[0].strip().decode("latin-1"), 16):
                async for piece in self._exactly(left):
                    yield piece
                if await self._line():
                    raise http1.nonsense("a chunk that does not end where it should")
            while await self._line():
                pass  # Trailers say nothing that we need.
        elif "content-length" in head.headers:
            async for piece in self._exactly(http1.read_number(head.headers["content-length"], 10)):
                yield piece
        else:
            while piece := await self._read(PIECE):
                yield piece

    async def lines(self, head: Head) -> AsyncGenerator[bytes, None]:
        """The lines of the body as they come, empty ones left out."""
        rest = b""
        async for piece in self.pieces(head):
            *whole, rest = (rest + piece).split(b"\n")
            if len(rest) > LINE_LIMIT or any(len(line) > LINE_LIMIT for line in whole):
                raise http1.nonsense("a line that is too long")
            for line in whole:
                if line.strip():
                    yield line
        if rest.strip():
            yield rest

    def close(self) -> None:
        """Close the socket."""
        self._writer.transport.abort()

    async def _exactly(self, size: int) -> AsyncGenerator[bytes, None]:
        while size:
            piece = await self._read(min(size, PIECE))
            if not piece:
                raise http1.lost(None)
            size -= len(piece)
            yield piece

    async def _line(self) -> bytes:
        return await self._until(b"\r\n")

    async def _read(self, limit: int) -> bytes:
        try:
            return await self._reader.read(limit)
        except OSError as error:
            raise http1.lost(error) from None

    async def _until(self, mark: bytes) -> bytes:
        """Everything before the mark, which is taken away too."""
        try:
            return (await self._reader.readuntil(mark)).removesuffix(mark)
        except asyncio.LimitOverrunError:
            raise http1.nonsense("a line or head that is too long") from None
        except asyncio.IncompleteReadError as error:
            self.heard = self.heard or bool(error.partial)
            raise http1.lost(None) from None
        except OSError as error:
            raise http1.lost(error) from None
