"""The router's log: one JSON line an event, in a file that rotates."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from typing import Any

import structlog

MAX_BYTES = 5 * 1024 * 1024
KEEP_FILES = 3


def configure_logs(path: str, *, foreground: bool) -> None:
    """Write to the file; in the foreground also, readably, to stderr."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handlers: list[logging.Handler] = [_file_handler(path, shared)]
    if foreground:
        console = logging.StreamHandler(sys.stderr)
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        console.setFormatter(
            structlog.stdlib.ProcessorFormatter(processors=_render(renderer), foreign_pre_chain=shared)
        )
        handlers.append(console)
    logging.basicConfig(handlers=handlers, level=logging.INFO, force=True)
    for noisy in (
        "uvicorn.access",
        "uvicorn.error",
        "httpx",
        "websockets",
        "websockets.client",
        "aiosqlite",
        "alembic",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _file_handler(path: str, shared: list[Any]) -> logging.Handler:
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=MAX_BYTES, backupCount=KEEP_FILES, encoding="utf-8", errors="backslashreplace"
    )
    os.chmod(path, 0o600)
    rendering = _render(structlog.processors.JSONRenderer())
    rendering.insert(-1, structlog.processors.format_exc_info)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=rendering, foreign_pre_chain=shared))
    return handler


def _render(renderer: Any) -> list[Any]:
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
