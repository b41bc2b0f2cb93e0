"""`/v1/machines/{ref}/apps/{app}/logs`: what an app or a sidecar has printed."""

from __future__ import annotations

from litestar import get
from litestar.params import FromPath, FromQuery

from cloudrouter.server.api.doors import OF_MACHINE
from cloudrouter.server.api.state import Asked, Owner, Ref
from cloudrouter.wire.errors import UsageError

LINES_MOST = 100_000


@get(f"{OF_MACHINE}/apps/{{app:str}}/logs", summary="Read what an app or a sidecar has printed")
async def read_app_log(
    services: Asked, owner: Owner, ref: Ref, app: FromPath[str], tail: FromQuery[int | None] = None
) -> dict[str, str]:
    """`log`: the end of it as text, at most a MiB; `tail`: so many lines at most. A stopped machine's sidecars, too."""
    if tail is not None and not 0 <= tail <= LINES_MOST:
        raise UsageError(f"{tail} is no number of lines.", fix=f"Give 0 to {LINES_MOST}.")
    return {"log": (await services.apps.logs(owner, ref, app, tail=tail)).decode("utf-8", "replace")}


HANDLERS = [read_app_log]
