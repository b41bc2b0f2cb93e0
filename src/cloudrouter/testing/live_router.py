"""A real router in this process, on a socket of its own, for tests that speak to it through the real client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn

from cloudrouter.client.transport import Transport
from cloudrouter.providers.base import Provider
from cloudrouter.server.app import open_router
from cloudrouter.server.run import bind_socket, http_config, prepare_folders
from cloudrouter.server.settings import Settings

START_DEADLINE_S = 20.0

MakeProviders = Callable[[str], Mapping[str, Provider]]
"""router id -> its providers; called in the router's own event loop."""


@contextmanager
def live_router(settings: Settings, make_providers: MakeProviders | None = None) -> Iterator[Transport]:
    """A transport to a router that serves as long as the context lasts; leaving it ends the router gracefully."""
    prepare_folders(settings)
    running = _Running(settings, make_providers)
    thread = threading.Thread(target=running.run, name="live router", daemon=True)
    thread.start()
    if not running.ready.wait(START_DEADLINE_S) or running.failure is not None:
        raise RuntimeError("the router did not start") from running.failure
    transport = Transport(settings.socket_path)
    try:
        yield transport
    finally:
        transport.close()
        running.stop()
        thread.join(START_DEADLINE_S)
        if thread.is_alive() or running.failure is not None:
            raise RuntimeError("the router did not end well") from running.failure


class _Running:
    def __init__(self, settings: Settings, make_providers: MakeProviders | None) -> None:
        self._settings = settings
        self._make_providers = make_providers
        self._server: uvicorn.Server | None = None
        self.ready = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """The thread: an event loop with the router in it."""
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self.failure = error
        finally:
            self.ready.set()

    def stop(self) -> None:
        """Ask the router to end."""
        if self._server is not None:
            self._server.should_exit = True

    async def _serve(self) -> None:
        options: dict[str, Any] = {}
        if self._make_providers is not None:
            options["make_providers"] = self._make_providers
        with bind_socket(self._settings) as sock:
            async with open_router(self._settings, **options) as (_services, app):
                self._server = uvicorn.Server(http_config(app))
                serving = asyncio.create_task(self._server.serve(sockets=[sock]))
                self.ready.set()
                await serving
