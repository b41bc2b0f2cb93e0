"""The errors a provider may raise; a provider raises nothing else, and vendor exceptions are chained as causes."""

from __future__ import annotations

from cloudrouter.wire.errors import (
    AuthFailed,
    CloudRouterError,
    Conflict,
    InvalidSpec,
    NoCapacity,
    NotConfigured,
    NotFound,
    NotRunning,
    ProviderBug,
    QuotaExceeded,
    RateLimited,
    Unreachable,
    Unsupported,
)

__all__ = [
    "AuthFailed",
    "Conflict",
    "InvalidSpec",
    "NoCapacity",
    "NotConfigured",
    "NotFound",
    "NotRunning",
    "ProviderBug",
    "QuotaExceeded",
    "RateLimited",
    "Unreachable",
    "Unsupported",
    "provider_errors",
]

provider_errors: tuple[type[CloudRouterError], ...] = (
    NotConfigured,
    AuthFailed,
    Unreachable,
    RateLimited,
    NoCapacity,
    QuotaExceeded,
    InvalidSpec,
    Unsupported,
    NotFound,
    NotRunning,
    Conflict,
    ProviderBug,
)
"""The whole family, for tests that check a provider stays inside it."""
