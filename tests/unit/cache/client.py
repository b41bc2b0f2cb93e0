"""A tool in a machine, as far as the cache can tell: TLS over the door's socket, HTTP written by hand."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field


@dataclass
class Answer:
    """One whole answer; `complete` is False when the connection broke in its middle."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = True

    @property
    def word(self) -> str:
        """Where it came from."""
        return self.headers.get("x-cloudrouter-cache", "")


class Tool:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self.reader, self.writer, self.host = reader, writer, host

    @classmethod
    async def connect(cls, socket: str, host: str, authority_pem: str) -> Tool:
        context = ssl.create_default_context(cadata=authority_pem)
        reader, writer = await asyncio.open_unix_connection(socket, ssl=context, server_hostname=host)
        return cls(reader, writer, host)

    async def ask(self, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        """One request, one answer."""
        lines = {"Host": self.host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body:
            lines["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return await self.say(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body, method=method)

    async def say(self, data: bytes, *, method: str = "GET") -> Answer:
        """Bytes as they are, then one answer."""
        self.writer.write(data)
        answer = await self.head()
        async with asyncio.timeout(20):
            return await self.rest(answer, method=method)

    async def head(self) -> Answer:
        """The answer's beginning."""
        answer = Answer()
        async with asyncio.timeout(20):
            try:
                first = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return Answer(complete=False)
        lines = first.decode().split("\r\n")
        answer.status = int(lines[0].split()[1])
        answer.headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:] if line)}
        return answer

    async def rest(self, answer: Answer, *, method: str = "GET") -> Answer:
        """The body that belongs to a beginning."""
        if method == "HEAD" or answer.status in (0, 304):
            return answer
        try:
            if answer.headers.get("transfer-encoding") == "chunked":
                answer.body = await self._chunks(answer)
            else:
                answer.body += await self.reader.readexactly(
                    int(answer.headers.get("content-length", "0")) - len(answer.body)
                )
        except asyncio.IncompleteReadError as error:
            answer.body += error.partial
            answer.complete = False
        except ConnectionError:
            answer.complete = False
        return answer

    async def _chunks(self, answer: Answer) -> bytes:
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            answer.body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readuntil(b"\r\n")
        return answer.body

    async def close(self) -> None:
        self.writer.transport.abort()
