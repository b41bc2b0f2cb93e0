"""The operations on apps: listing, starting, stopping, connecting to them, and reading what they have written."""

from __future__ import annotations

from dataclasses import asdict

from cloudrouter.guest import approcess, supervising
from cloudrouter.guest.joblogs import Wanted
from cloudrouter.guest.tunnels import carry
from cloudrouter.wire.errors import NotFound
from cloudrouter.wire.streams import CHUNK, STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream
    from cloudrouter.wire.apps import AppState


async def list_all(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `app.list`, by name."""
    try:
        states = await supervising.of(guest).states()
    except NotFound:
        states = []
    await stream.finish("apps", [asdict(state) for state in states])


async def start(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `app.start`: answers once it is healthy, or says why it is not."""
    supervisor = supervising.of(guest)
    app = await supervisor.start(request.get("app"), hurry=True, told=_teller(stream))
    await stream.finish("app", asdict(await supervisor.describe(app)))


async def stop(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `app.stop`; one that does not run is stopped already."""
    supervisor = supervising.of(guest)
    app = supervisor.find(request.get("app"))
    await supervisor.stop(app, "It was stopped.")
    await stream.finish("app", asdict(await supervisor.describe(app)))


async def connect(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `app.connect`: starts it where it does not run, then carries bytes both ways."""
    stream.input.wanted = True  # before anything is awaited: input may come at once
    supervisor = supervising.of(guest)
    app = supervisor.find(request.get("app"))
    with supervisor.using(app):
        sock = await supervisor.reach(app, _teller(stream))
        await carry(stream, sock, {"app": app.spec.name})
    await stream.finish("end", {})


async def logs(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `app.logs`: what its last two runs have written, as it is kept; tail: so many lines of that."""
    app = supervising.of(guest).find(request.get("app"))
    tail = Wanted({"tail": request.get("tail")}).tail
    folders = approcess.log_folders(guest.settings.state, app.spec.name)
    text = b"".join(approcess.read_log(folder) for folder in folders)
    if tail is not None:
        text = b"".join(text.splitlines(keepends=True)[-tail:]) if tail else b""
    for at in range(0, len(text), CHUNK):
        await stream.send_data(STDOUT, text[at : at + CHUNK])
    await stream.finish("end", {})


def _teller(stream: Stream) -> Callable[[AppState], Awaitable[None]]:
    async def tell(state: AppState) -> None:
        await stream.send("starting", asdict(state))

    return tell
