"""The router's settings, read once from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudrouter.wire import places


@dataclass(frozen=True)
class Settings:
    """Folders, defaults and bounds; durations in seconds."""

    state_dir: str
    runtime_dir: str
    default_provider: str = "docker"
    default_image: str = "core"
    owner: str = "local"
    """The one owner of an embedded router; teams get more."""
    ready_deadline_s: float = 60.0
    """A machine whose guest does not answer this long after its creation has failed."""
    unconfirmed_grace_s: float = 120.0
    """A provisional start that nobody confirms or uses for this long is removed."""
    orphan_grace_s: float = 60.0
    """Provider objects that the book does not know are removed after this long."""
    reconcile_every_s: float = 15.0
    provider_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def socket_path(self) -> str:
        """Where the API listens."""
        return f"{self.runtime_dir}/{places.SOCKET_NAME}"

    @property
    def database_path(self) -> str:
        """The SQLite file."""
        return f"{self.state_dir}/router.db"

    @property
    def log_path(self) -> str:
        """The router's own log, rotated."""
        return f"{self.state_dir}/logs/router.log"


def from_environment(env: Mapping[str, str], uid: int | None = None) -> Settings:
    """The settings that an environment asks for."""
    state_dir = places.state_dir(env)
    return Settings(
        state_dir=state_dir,
        runtime_dir=places.runtime_dir(env, os.getuid() if uid is None else uid),
        default_provider=env.get("CLOUDROUTER_PROVIDER") or "docker",
        default_image=env.get("CLOUDROUTER_IMAGE") or "core",
        unconfirmed_grace_s=float(env.get("CLOUDROUTER_UNCONFIRMED_GRACE") or 120),
        provider_options={"memory": {"root": f"{state_dir}/memory"}},
    )
