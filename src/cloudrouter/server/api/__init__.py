"""HTTP and WebSocket in, service calls out; nothing is decided here."""

from __future__ import annotations
