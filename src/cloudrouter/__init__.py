"""CloudRouter: machines for coding agents. The names here are the SDK; everything loads on first use."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = [
    "Ambiguous",
    "AppState",
    "Apps",
    "AsyncApps",
    "AsyncAttachment",
    "AsyncBrowser",
    "AsyncClient",
    "AsyncExecution",
    "AsyncFiles",
    "AsyncForward",
    "AsyncJob",
    "AsyncMachine",
    "AsyncMachines",
    "AsyncPorts",
    "AsyncPty",
    "AsyncPtys",
    "AsyncTunnel",
    "AsyncVolumes",
    "Attachment",
    "AuthFailed",
    "BatchAnswer",
    "Browser",
    "BrowserDown",
    "Cdp",
    "Client",
    "CloudRouterError",
    "CommandFailed",
    "Conflict",
    "Dialog",
    "DialogOpen",
    "Door",
    "Event",
    "Execution",
    "FailedStep",
    "Files",
    "Forward",
    "Internal",
    "InvalidSpec",
    "Job",
    "Machine",
    "Machines",
    "MadeFile",
    "NoCapacity",
    "NotAField",
    "NotConfigured",
    "NotFound",
    "NotRunning",
    "Output",
    "Port",
    "Ports",
    "ProviderBug",
    "Pty",
    "PtySession",
    "Ptys",
    "QuotaExceeded",
    "RateLimited",
    "Result",
    "Snapshot",
    "StaleRef",
    "StepAnswer",
    "StepFailed",
    "TabGone",
    "TimedOut",
    "TransferFailed",
    "Tunnel",
    "Unreachable",
    "Unsupported",
    "Usage",
    "UsageError",
    "Volume",
    "Volumes",
    "__version__",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.client.aio.apps import AsyncApps
    from cloudrouter.client.aio.attaching import AsyncAttachment
    from cloudrouter.client.aio.browser import AsyncBrowser
    from cloudrouter.client.aio.client import AsyncClient
    from cloudrouter.client.aio.execution import AsyncExecution
    from cloudrouter.client.aio.files import AsyncFiles
    from cloudrouter.client.aio.jobs import AsyncJob
    from cloudrouter.client.aio.machines import AsyncMachine, AsyncMachines
    from cloudrouter.client.aio.ports import AsyncForward, AsyncPorts, AsyncTunnel
    from cloudrouter.client.aio.ptys import AsyncPty, AsyncPtys
    from cloudrouter.client.aio.volumes import AsyncVolumes
    from cloudrouter.client.apps import Apps
    from cloudrouter.client.attaching import Attachment
    from cloudrouter.client.browser import Browser
    from cloudrouter.client.execution import Execution, Output
    from cloudrouter.client.files import Files
    from cloudrouter.client.jobs import Job
    from cloudrouter.client.machines import Client, Machine, Machines
    from cloudrouter.client.ports import Forward, Ports, Tunnel
    from cloudrouter.client.ptys import Pty, Ptys, PtySession
    from cloudrouter.client.results import CommandFailed, Result
    from cloudrouter.client.stepping import Snapshot
    from cloudrouter.client.volumes import Volumes
    from cloudrouter.wire.apps import AppState, Port
    from cloudrouter.wire.browserapi import BatchAnswer, Cdp, Dialog, FailedStep, MadeFile, StepAnswer
    from cloudrouter.wire.doors import Door
    from cloudrouter.wire.errors import (
        Ambiguous,
        AuthFailed,
        BrowserDown,
        CloudRouterError,
        Conflict,
        DialogOpen,
        Internal,
        InvalidSpec,
        NoCapacity,
        NotAField,
        NotConfigured,
        NotFound,
        NotRunning,
        ProviderBug,
        QuotaExceeded,
        RateLimited,
        StaleRef,
        StepFailed,
        TabGone,
        TimedOut,
        TransferFailed,
        Unreachable,
        Unsupported,
        UsageError,
    )
    from cloudrouter.wire.machines import Event, Usage
    from cloudrouter.wire.volumes import Volume

_ROOMS = {
    "client.aio.apps": "AsyncApps",
    "client.aio.attaching": "AsyncAttachment",
    "client.aio.browser": "AsyncBrowser",
    "client.aio.client": "AsyncClient",
    "client.aio.execution": "AsyncExecution",
    "client.aio.files": "AsyncFiles",
    "client.aio.jobs": "AsyncJob",
    "client.aio.machines": "AsyncMachine AsyncMachines",
    "client.aio.ports": "AsyncForward AsyncPorts AsyncTunnel",
    "client.aio.ptys": "AsyncPty AsyncPtys",
    "client.aio.volumes": "AsyncVolumes",
    "client.apps": "Apps",
    "client.attaching": "Attachment",
    "client.browser": "Browser",
    "client.execution": "Execution Output",
    "client.files": "Files",
    "client.jobs": "Job",
    "client.machines": "Client Machine Machines",
    "client.ports": "Forward Ports Tunnel",
    "client.ptys": "Pty Ptys PtySession",
    "client.results": "CommandFailed Result",
    "client.stepping": "Snapshot",
    "client.volumes": "Volumes",
    "wire.apps": "AppState Port",
    "wire.browserapi": "BatchAnswer Cdp Dialog FailedStep MadeFile StepAnswer",
    "wire.doors": "Door",
    "wire.errors": "Ambiguous AuthFailed BrowserDown CloudRouterError Conflict DialogOpen Internal InvalidSpec "
    "NoCapacity NotAField NotConfigured NotFound NotRunning ProviderBug QuotaExceeded RateLimited "
    "StaleRef StepFailed TabGone TimedOut TransferFailed Unreachable Unsupported UsageError",
    "wire.machines": "Event Usage",
    "wire.volumes": "Volume",
}
_HOMES = {name: f"cloudrouter.{room}" for room, names in _ROOMS.items() for name in names.split()}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        message = f"module 'cloudrouter' has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
