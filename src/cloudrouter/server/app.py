"""Wires the router: everything is constructed here and nowhere else."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from litestar import Litestar
from litestar.datastructures import ResponseHeader
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig

from cloudrouter import __version__
from cloudrouter.providers.base import Clock, Provider
from cloudrouter.providers.registry import load_provider
from cloudrouter.server.api import (
    browsing,
    doors,
    errors,
    images,
    machines,
    observing,
    packagecache,
    server,
    sidecars,
    ssh,
    streams,
    volumes,
)
from cloudrouter.server.api.state import Services
from cloudrouter.server.gateway.gateway import Gateway
from cloudrouter.server.guests.browserchannels import BrowserChannels
from cloudrouter.server.guests.connections import Guests
from cloudrouter.server.loops.deadlines import Deadlines
from cloudrouter.server.loops.reconcile import Reconcile
from cloudrouter.server.services import packaging
from cloudrouter.server.services.apps import Apps
from cloudrouter.server.services.browsing import Browsing
from cloudrouter.server.services.cdpkeys import CdpKeys
from cloudrouter.server.services.context import Context
from cloudrouter.server.services.doctor import Doctor
from cloudrouter.server.services.doors import Doors
from cloudrouter.server.services.events import EventLog
from cloudrouter.server.services.images import ImageService
from cloudrouter.server.services.inspection import Inspection
from cloudrouter.server.services.machines import Machines
from cloudrouter.server.services.packagecache import PackageCache
from cloudrouter.server.services.provisioning import Provisioning
from cloudrouter.server.services.readying import Readying
from cloudrouter.server.services.sidecars import SidecarService
from cloudrouter.server.services.ssh import SshService
from cloudrouter.server.services.stats import Stats
from cloudrouter.server.services.status import ServerStatus
from cloudrouter.server.services.traffic import Traffic
from cloudrouter.server.services.uninstall import Uninstall
from cloudrouter.server.services.volumes import Volumes
from cloudrouter.server.settings import Settings
from cloudrouter.server.ssh.door import SshDoor
from cloudrouter.server.store.database import open_database
from cloudrouter.server.store.events import EventStore
from cloudrouter.server.store.machines import MachineStore
from cloudrouter.server.store.sessions import SessionStore
from cloudrouter.wire import routes

log = structlog.get_logger("app")

EMBEDDED_PROVIDERS = ("docker", "memory")


def router_id(state_dir: str) -> str:
    """This router's random id, made once and kept in its state folder."""
    path = f"{state_dir}/router-id"
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        made = secrets.token_hex(8)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(made + "\n")
        return made


@asynccontextmanager
async def open_router(
    settings: Settings,
    *,
    make_providers: Callable[[str], Mapping[str, Provider]] | None = None,
    clock: Clock = time.time,
) -> AsyncIterator[tuple[Services, Litestar]]:
    """A working router for as long as the context lasts; at its end machines go on, connections close."""
    async with AsyncExitStack() as stack:
        engine = await open_database(settings.database_path)
        stack.push_async_callback(engine.dispose)
        store, event_store = MachineStore(engine), EventStore(engine)
        await store.load()
        await event_store.trim()
        events = EventLog(event_store, clock)
        events.start()
        stack.push_async_callback(events.aclose)
        identity = router_id(settings.state_dir)
        made = dict(make_providers(identity)) if make_providers else _embedded_providers(settings, identity, clock)
        for provider in made.values():
            stack.push_async_callback(provider.aclose)
        guests = Guests(made)
        stack.push_async_callback(guests.aclose)
        packages = PackageCache(settings)
        stack.push_async_callback(packages.aclose)
        context = Context(settings, identity, clock, store, events, made, guests, packages)
        provisioning = Provisioning(context)
        stack.push_async_callback(provisioning.aclose)
        readying = Readying()
        stack.push_async_callback(readying.aclose)
        services = _services(context, provisioning, readying, event_store, SessionStore(engine))
        await services.doors.load()
        stack.push_async_callback(services.doors.aclose)
        stack.push_async_callback(services.channels.aclose)
        gateway = Gateway(settings, services.doors, services.cdp_keys, guests, services.traffic)
        gateway.begin()
        stack.push_async_callback(gateway.aclose)
        ssh_door = SshDoor(settings, services.ssh.open)
        ssh_door.begin()
        stack.push_async_callback(ssh_door.aclose)
        loops = (
            Reconcile(context, services.machines, provisioning).run,
            Deadlines(context, services.machines, services.traffic).run,
            services.sidecars.run,
        )
        packaging.resume(context)
        for loop in loops:
            stack.push_async_callback(_end_task, asyncio.create_task(_forever(loop), name=loop.__qualname__))
        yield services, _litestar(services, settings)


def _embedded_providers(settings: Settings, identity: str, clock: Clock) -> dict[str, Provider]:
    names = dict.fromkeys((*EMBEDDED_PROVIDERS, settings.default_provider))
    return {
        name: load_provider(name)(router_id=identity, clock=clock, config=settings.provider_options.get(name))
        for name in names
    }


def _services(
    context: Context,
    provisioning: Provisioning,
    readying: Readying,
    event_store: EventStore,
    sessions: SessionStore,
) -> Services:
    machines = Machines(context, provisioning, readying)
    doors = Doors(context, machines, sessions)
    beside = SidecarService(context)
    traffic, channels = Traffic(context.clock), BrowserChannels(context.guests)
    return Services(
        machines=machines,
        doors=doors,
        apps=Apps(context, machines, doors, beside),
        sidecars=beside,
        images=ImageService(context, readying),
        volumes=Volumes(context),
        doctor=Doctor(context),
        status=ServerStatus(context, doors, started_at=context.clock()),
        guests=context.guests,
        ssh=SshService(context, machines, traffic),
        traffic=traffic,
        channels=channels,
        browsing=Browsing(context, machines, channels, traffic),
        cdp_keys=CdpKeys(context, machines, doors, sessions),
        event_store=event_store,
        events=context.events,
        stats=Stats(context),
        inspection=Inspection(context, doors, event_store),
        uninstall=Uninstall(context),
        packages=context.packages,
        clock=context.clock,
        features={name: provider.features() for name, provider in context.providers.items()},
    )


def _litestar(services: Services, settings: Settings) -> Litestar:
    async def provide_services() -> Services:
        return services

    async def provide_owner() -> str:
        return settings.owner

    return Litestar(
        route_handlers=[
            *machines.HANDLERS,
            *browsing.HANDLERS,
            *doors.HANDLERS,
            *observing.HANDLERS,
            *packagecache.HANDLERS,
            *server.HANDLERS,
            *sidecars.HANDLERS,
            *ssh.HANDLERS,
            *images.HANDLERS,
            *streams.HANDLERS,
            *volumes.HANDLERS,
        ],
        dependencies={"services": Provide(provide_services), "owner": Provide(provide_owner)},
        exception_handlers=errors.HANDLERS,
        response_headers=[ResponseHeader(name=routes.VERSION_HEADER, value=__version__)],
        openapi_config=OpenAPIConfig(title="CloudRouter", version=__version__),
        logging_config=None,
        debug=False,
    )


async def _forever(loop: Callable[[], Awaitable[Any]]) -> None:
    """A loop that meets a defect says so and goes on; it must not end while the router lives."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("loop met a defect", loop=getattr(loop, "__qualname__", str(loop)))
            await asyncio.sleep(1.0)


async def _end_task(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
