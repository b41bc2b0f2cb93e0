"""`/v1/package-cache`: what it holds and what it saved."""

from __future__ import annotations

from typing import Any

from litestar import get, post

from cloudrouter.server.api.state import Asked
from cloudrouter.wire import routes


@get(routes.PACKAGE_CACHE, summary="Show the package cache")
async def show_package_cache(services: Asked) -> dict[str, Any]:
    """pid, folder, entries, bytes, bound_bytes, and what was counted: hits, misses, saved_bytes, ..."""
    return await services.packages.status()


@post(f"{routes.PACKAGE_CACHE}/clear", summary="Empty the package cache", status_code=200)
async def clear_package_cache(services: Asked) -> dict[str, Any]:
    """Forget every package; `{entries, bytes}` that there were."""
    return await services.packages.clear()


@post(f"{routes.PACKAGE_CACHE}/verify", summary="Check the package cache", status_code=200)
async def verify_package_cache(services: Asked) -> dict[str, Any]:
    """Read every package again and forget damaged ones; `{checked, damaged}`."""
    return await services.packages.verify()


HANDLERS = [show_package_cache, clear_package_cache, verify_package_cache]
