"""Finds providers by name: ours in the table below, third parties' by the entry-point group `cloudrouter.providers`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from cloudrouter.providers.base import Clock, Provider
from cloudrouter.providers.errors import NotConfigured, ProviderBug

GROUP = "cloudrouter.providers"


class ProviderFactory(Protocol):
    """What a name stands for: called once per router, does no I/O."""

    def __call__(self, *, router_id: str, clock: Clock, config: Mapping[str, Any] | None = None) -> Provider:
        """The provider of one router; raises NotConfigured when the config is refused."""


@dataclass(frozen=True)
class Entry:
    """Where a provider lives and what it needs; nothing is imported before somebody asks."""

    path: str
    """`module:name` of the factory."""
    summary: str
    extra: str = ""
    """The extra of our distribution that brings what it needs; empty when the base install has it."""


BUILT_IN: Mapping[str, Entry] = {
    "docker": Entry("cloudrouter.providers.docker:DockerProvider", "Containers on a Docker or Podman engine."),
    "memory": Entry("cloudrouter.providers.memory:MemoryProvider", "Local processes without any walls, for tests."),
}


def known_providers() -> dict[str, Entry]:
    """Every provider by name, in order; ours win over third parties of the same name."""
    found = {point.name: Entry(point.value, _summary(point)) for point in entry_points(group=GROUP)}
    return dict(sorted((found | dict(BUILT_IN)).items()))


def load_provider(name: str) -> ProviderFactory:
    """The factory of that name. NotConfigured when there is none, or when what it needs is not installed."""
    known = known_providers()
    entry = known.get(name)
    if entry is None:
        raise NotConfigured(
            f"There is no provider {name!r}.",
            fix=f"Choose one of: {', '.join(known)}; or install the package that brings it.",
        )
    module, _, attribute = entry.path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise NotConfigured(f"The provider {name} cannot be loaded: {error}.", fix=_remedy(entry)) from error
    except Exception as error:
        raise ProviderBug(f"The provider {name} broke while it was loaded: {type(error).__name__}: {error}.") from error
    if not callable(factory):
        raise ProviderBug(f"The provider {name} is not callable at {entry.path}.")
    return factory  # type: ignore[no-any-return]


def _remedy(entry: Entry) -> str:
    if entry.extra:
        return f"pip install 'cloudrouter[{entry.extra}]'"
    if entry.path.startswith("cloudrouter."):
        return "The installation is incomplete: pip install --force-reinstall cloudrouter"
    return f"Install what {entry.path.partition(':')[0]} needs."


def _summary(point: EntryPoint) -> str:
    return f"From the package {point.dist.name}." if point.dist else "From an unknown package."
