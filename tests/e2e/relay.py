"""`relay.py LISTEN CONNECT`: passes Unix-socket connections on; stands for an engine that can die."""

from __future__ import annotations

import asyncio
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes one way, then the end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def main(listen: str, connect: str) -> None:
    """Serve for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(connect)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)
        far_writer.close()
        writer.close()

    async with await asyncio.start_unix_server(serve, listen) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
