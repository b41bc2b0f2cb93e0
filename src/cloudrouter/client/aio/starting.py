"""The path of `start` for programs that await: the blocking one in a thread, taken back when it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.tasks import surely
from cloudrouter.client.launch import launch
from cloudrouter.client.ownapps import Chosen
from cloudrouter.client.transport import Transport
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError, NotFound

Progress = Callable[[dict[str, Any]], object]


async def start_machine(
    link: Link,
    folder: str | None,
    request: Mapping[str, Any],
    *,
    with_secrets: bool,
    exclude: Iterable[str],
    apps: Chosen | None,
    progress: Progress,
) -> dict[str, Any]:
    """`client.launch.launch` with the same promises, beside the loop; progress is called in the loop.

    When the task is cancelled, the machine is removed before the cancellation goes on.
    """
    loop = asyncio.get_running_loop()
    fate = _Fate()

    def tell(event: dict[str, Any]) -> None:
        fate.note(event)
        loop.call_soon_threadsafe(progress, event)

    def work(transport: Transport) -> dict[str, Any]:
        return launch(transport, folder, request, with_secrets=with_secrets, exclude=exclude, apps=apps, progress=tell)

    try:
        made = await link.in_thread(work)
        # A cancellation that has come in the meantime arrives at an await: here the machine is still removed for it.
        await asyncio.sleep(0)
        return made
    except asyncio.CancelledError as error:
        # Whoever is cancelled never learns the id, also where the start had come to its end already.
        if fate.machine_id and not fate.removed:
            await surely(_remove(link, fate.machine_id, error))
        raise


class _Fate:
    """What a start has made, by what it tells."""

    def __init__(self) -> None:
        self.machine_id = ""
        self.removed = False

    def note(self, event: Mapping[str, Any]) -> None:
        """Take in one step."""
        if event["phase"] == "created":
            self.machine_id = event["id"]
        elif event["phase"] == "removed":
            self.removed = True


async def _remove(link: Link, machine_id: str, cancelled: asyncio.CancelledError) -> None:
    try:
        await link.call("DELETE", routes.machine(machine_id))
    except NotFound:
        return
    except CloudRouterError as error:
        cancelled.add_note(f"The machine {machine_id} may be left, as removing it failed: {error.message}")
