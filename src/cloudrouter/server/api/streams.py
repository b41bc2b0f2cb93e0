"""`/v1/machines/{ref}/stream`: one WebSocket from the client, one to the guest, bytes relayed both ways."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import structlog
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketException
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from cloudrouter.server.api.state import Asked, Owner, Ref, Services
from cloudrouter.server.guests.connections import said_by_machine
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import routes, streams
from cloudrouter.wire.errors import CloudRouterError, Internal, Unreachable, UsageError

FIRST_MESSAGE_DEADLINE_S = 30.0

log = structlog.get_logger("streams")


@websocket(f"{routes.MACHINES}/{{ref:str}}/stream")
async def open_stream(socket: WebSocket[Any, Any, Any], services: Asked, owner: Owner, ref: Ref) -> None:
    """Relay one operation to the machine's guest; failures arrive as `{"error": ...}` and a normal close."""
    await socket.accept()
    try:
        # Read first: an answer to a question that was not asked yet would meet the asker while it still speaks.
        first = await _first_message(socket)
        row = services.machines.reachable(owner, ref)
        with services.traffic.stream(row.id):
            await _relay_operation(socket, services, row, first)
    except CloudRouterError as error:
        await _end(socket, error)
    except (WebSocketException, ClientDisconnected):
        log.debug("the client left in the middle", ref=ref)  # It had what it wanted, or was ended; nobody is to blame.
    except Exception as error:
        log.exception("stream broke", ref=ref)
        await _end(socket, Internal(f"The stream broke: {type(error).__name__}.", next="cloudrouter server logs"))


async def _first_message(socket: WebSocket[Any, Any, Any]) -> str:
    """The request: a JSON object with a known `op`, checked before a guest sees it."""
    try:
        async with asyncio.timeout(FIRST_MESSAGE_DEADLINE_S):
            message = await socket.receive()
    except TimeoutError as error:
        raise UsageError("No operation was asked for in time.") from error
    text = message.get("text") if message["type"] == "websocket.receive" else None
    try:
        request = json.loads(text or "")
    except ValueError as error:
        raise UsageError("The first message of a stream must be a JSON object.") from error
    operation = request.get("op") if isinstance(request, dict) else None
    if not isinstance(operation, str) or operation not in streams.OPERATIONS or operation in streams.ROUTER_ONLY:
        raise UsageError(f"There is no operation {str(operation)[:40]!r} on streams.")
    return str(text)


async def _relay_operation(socket: WebSocket[Any, Any, Any], services: Services, row: Row, first: str) -> None:
    async with services.guests.stream(row) as guest:
        await guest.send(first)
        inward = asyncio.create_task(_pump_in(socket, guest))
        outward = asyncio.create_task(_pump_out(guest, socket))
        try:
            done, _ = await asyncio.wait({inward, outward}, return_when=asyncio.FIRST_COMPLETED)
            if outward in done:
                outward.result()
            else:
                inward.result()  # the client has left: closing the guest's stream ends the operation
        finally:
            inward.cancel()
            outward.cancel()
            await asyncio.gather(inward, outward, return_exceptions=True)


async def _pump_in(socket: WebSocket[Any, Any, Any], guest: ClientConnection) -> None:
    receive = socket.receive
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        data = message.get("bytes")
        try:
            await guest.send(data if data is not None else message.get("text") or "")
        except ConnectionClosed:
            return


async def _pump_out(guest: ClientConnection, socket: WebSocket[Any, Any, Any]) -> None:
    final = False
    # The plain ASGI call: a command's output passes here by the hundred megabytes.
    send = socket.send
    try:
        async for message in guest:
            if isinstance(message, bytes):
                await send({"type": "websocket.send", "bytes": message, "text": None})
            else:
                message, ends = _checked(message)
                final = final or ends
                await send({"type": "websocket.send", "bytes": None, "text": message})
    except ConnectionClosed as error:
        if not final:
            raise Unreachable(
                "The stream to the machine broke before the end was told; how the command ended is not known.",
                fix="See whether the machine still runs.",
                next="cloudrouter ls",
            ) from error
    if not final:
        raise Unreachable("The guest closed the stream without an answer.", next="cloudrouter ls")
    await _close(socket)


def _checked(message: str) -> tuple[str, bool]:
    """A guest's word as it may be passed on, and whether it is the last one: errors lose the machine's own advice."""
    try:
        word = json.loads(message)
    except (ValueError, RecursionError):
        word = None
    if not isinstance(word, dict):
        return json.dumps({"error": Internal("The machine sent a message that cannot be read.").to_json()}), True
    if "error" in word:
        return json.dumps({"error": said_by_machine(word["error"]).to_json()}), True
    if "exit" in word and not _is_ending(word["exit"]):
        unclear = Internal("The machine did not say how the command ended.", fix="Look at it: cloudrouter status.")
        return json.dumps({"error": unclear.to_json()}), True
    return message, not streams.FINAL.isdisjoint(word)


def _is_ending(ending: Any) -> bool:
    """Whether this is how commands end: callers hand the code on to their own callers."""
    if not isinstance(ending, dict):
        return False
    code = ending.get("code")
    return isinstance(code, int) and not isinstance(code, bool) and 0 <= code <= 255


async def _close(socket: WebSocket[Any, Any, Any]) -> None:
    try:
        await socket.close()
    except (WebSocketException, RuntimeError, OSError) as failure:
        # Who has heard the end need not wait for this.
        log.debug("client left", reason=type(failure).__name__)


async def _end(socket: WebSocket[Any, Any, Any], error: CloudRouterError) -> None:
    try:
        await socket.send_text(json.dumps({"error": error.to_json()}))
        await socket.close()
    except (WebSocketException, RuntimeError, OSError) as failure:
        # The client is gone; there is nobody left to tell, which is normal after Ctrl-C.
        log.debug("client left", reason=type(failure).__name__)


HANDLERS = [open_stream]
