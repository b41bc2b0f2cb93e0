"""Every failure leaves the API as the wire's error body with its HTTP status."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException, ValidationException

from cloudrouter.wire.errors import CloudRouterError, Internal, NotFound, UsageError

log = structlog.get_logger("api")


def known(_request: Request[Any, Any, Any], error: CloudRouterError) -> Response[dict[str, Any]]:
    """One of ours: as it is."""
    return Response({"error": error.to_json()}, status_code=error.http_status)


def validation(_request: Request[Any, Any, Any], error: ValidationException) -> Response[dict[str, Any]]:
    """A body of the wrong shape: names the fields."""
    extra = error.extra if isinstance(error.extra, list) else []
    faults = "; ".join(f"{one.get('key', 'body')}: {one.get('message', '')}" for one in extra) or error.detail
    return known(_request, UsageError(f"The request is not right: {faults}."))


def http(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """What the framework itself refuses: unknown path, wrong method."""
    if isinstance(error, NotFoundException):
        missing = NotFound(
            "This router's API has no such path.",
            fix="Where a verb says this, the router that runs is of an older checkout: stop it, and a new one starts "
            "by itself. The paths that it has are at /schema.",
            next="cloudrouter server stop",
        )
        return known(_request, missing)
    body = UsageError(error.detail).to_json()
    return Response({"error": body}, status_code=error.status_code)


def unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A defect: logged whole, told briefly."""
    if isinstance(error, (msgspec.DecodeError, RecursionError)):
        return known(request, UsageError(f"The body is not JSON: {error}."))
    log.error("defect", path=request.url.path, exc_info=error)
    body = Internal(
        f"The router met a defect: {type(error).__name__}.",
        fix="Its log has the details.",
        next="cloudrouter server logs",
    )
    return known(request, body)


HANDLERS: dict[Any, Any] = {
    CloudRouterError: known,
    ValidationException: validation,
    HTTPException: http,
    Exception: unforeseen,
}
