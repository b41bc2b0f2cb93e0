"""`/v1/machines/{ref}/browser`: driving a machine's browser, step by step or many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request, Response, post
from litestar.enums import MediaType
from litestar.params import JSONBody

from cloudrouter.server.api.machines import strict_body
from cloudrouter.server.api.state import Asked, Owner, Ref
from cloudrouter.wire import routes
from cloudrouter.wire.browserapi import Batch, BatchAnswer, Cdp, OpenCdp, Step, StepAnswer
from cloudrouter.wire.errors import Internal, Unreachable

T = TypeVar("T")
OF_BROWSER = f"{routes.MACHINES}/{{ref:str}}/browser"


@post(OF_BROWSER, summary="Do one step in a machine's browser", status_code=200)
async def do_step(
    request: Request[Any, Any, Any], services: Asked, owner: Owner, ref: Ref, data: JSONBody[Step]
) -> Response[StepAnswer]:
    """The browser is started where it does not run. Who leaves before the answer cancels the step."""
    asked = await strict_body(request, Step)
    return _encoded(await _while_asked(request, services.browsing.step(owner, ref, asked)))


@post(f"{OF_BROWSER}/batch", summary="Do many steps in a machine's browser", status_code=200)
async def do_batch(
    request: Request[Any, Any, Any], services: Asked, owner: Owner, ref: Ref, data: JSONBody[Batch]
) -> Response[BatchAnswer]:
    """One after another; at the first that fails a picture and an outline of the page are taken, and the rest stays."""
    asked = await strict_body(request, Batch)
    return _encoded(await _while_asked(request, services.browsing.batch(owner, ref, asked)))


@post(f"{OF_BROWSER}/cdp", summary="Let programs drive a machine's browser", status_code=200)
async def open_cdp(
    request: Request[Any, Any, Any], services: Asked, owner: Owner, ref: Ref, data: JSONBody[OpenCdp]
) -> Cdp:
    """An address with a key for whatever speaks the Chrome DevTools Protocol, good for `ttl_s` seconds."""
    return await services.cdp_keys.open(owner, ref, await strict_body(request, OpenCdp))


async def _while_asked(request: Request[Any, Any, Any], work: Coroutine[Any, Any, T]) -> T:
    """The work's result, unless the client leaves: then the work is cancelled."""
    doing = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise Unreachable("The client left in the middle.")
        return doing.result()
    finally:
        doing.cancel()
        leaving.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)


async def _left(request: Request[Any, Any, Any]) -> None:
    """Returns once the client is gone; its body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _encoded(answer: T) -> Response[T]:
    """The answer as JSON; a machine chose how deep it is."""
    try:
        content = msgspec.json.encode(answer)
    except RecursionError:
        raise Internal("The machine's answer is nested too deeply.") from None
    return Response(cast("T", content), media_type=MediaType.JSON)


HANDLERS = [do_step, do_batch, open_cdp]
