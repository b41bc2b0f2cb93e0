"""CloudRouter: machines for coding agents. The names here are the SDK; everything loads on first use."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["Client", "CloudRouterError", "Machine", "Result", "__version__"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.client.machines import Client, Machine, Result
    from cloudrouter.wire.errors import CloudRouterError

_HOMES = {
    "Client": "cloudrouter.client.machines",
    "Machine": "cloudrouter.client.machines",
    "Result": "cloudrouter.client.machines",
    "CloudRouterError": "cloudrouter.wire.errors",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        message = f"module 'cloudrouter' has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    return getattr(importlib.import_module(home), name)
