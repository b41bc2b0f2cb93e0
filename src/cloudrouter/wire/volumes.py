"""The requests about volumes, as the API takes them, and the shape of a volume in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class CreateVolume:
    """Body of `POST /v1/volumes`. What is None is chosen by the router."""

    name: str
    provider: Optional[str] = None


@dataclass(frozen=True)
class VolumeUse:
    """One machine that has a volume, running or not."""

    id: str
    name: str
    state: str
    path: str
    read_only: bool


@dataclass(frozen=True)
class Volume:
    """A volume as `GET /v1/volumes/{name}` shows it: a disk that outlives machines."""

    name: str
    provider: str
    size_bytes: Optional[int]
    """What its files take, measured when the answer was made; None where that was not asked for."""
    created_at: Optional[str]
    """RFC 3339 UTC; None where the provider does not know."""
    machines: list[VolumeUse]
    """Who has it; while there are some it is not removed."""


@dataclass(frozen=True)
class VolumeList:
    """`{"volumes": [...]}`."""

    volumes: list[Volume]
